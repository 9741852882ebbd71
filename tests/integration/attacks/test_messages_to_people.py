"""A customer is called @everyone, a link or HTML; a company's channel is said to be on the operator's own network."""

from __future__ import annotations

import json
import re
import socket
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipeline.companies import parse_definition
from pipeline.integrations.notifications import messages
from pipeline.integrations.notifications.alerts import Alert
from pipeline.integrations.notifications.channels import Content, Delivery, Recipient
from pipeline.integrations.notifications.errors import WrongAddress
from pipeline.integrations.notifications.facts import customer_at_risk
from pipeline.integrations.plain_text import plain, without_mentions
from pipeline.reach import Reach
from warehouse.companies.definition import Company
from warehouse.settings import Settings

HOSTILE = [
    "@everyone @here @channel @all",
    "<!channel> <!here|x> <@U12345> <@&1234> <users/all>",
    "[Your bank](https://evil.example/login) <https://evil.example|your bank>",
    "https://evil.example HTTP://EVIL.EXAMPLE www.evil.example ftp://evil.example mailto:a@evil.example",
    "<script>alert(1)</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a>",
    "{{ company.connector_settings }}{% for x in y %}",
    "line\r\nBcc: everybody@evil.example\n\n<h1>x</h1>",
    "\u202egnp.exe \x1b[31mred \u2028x",
]
CHATS = [
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "tgram://123456789:ABCdefghijklmnopqrstuvwxyz123456789/12315544/",
    "mmost://chat.example/3ccdd113474722377935511fc85d3dd4",
    "gchat://workspace/key/token",
    "workflow://host.example/643a8f/abcdef",
    "ntfy://ntfy.example/topic",
]
ELEMENTS = frozenset(("html", "head", "meta", "title", "body", "div", "h1", "h2", "p", "table", "tr", "th", "td"))
ELEMENTS |= {"b", "a", "span", "ul", "li"}
JOINERS = "\u200c\u200d"
LINK = "https://crm.example/c?id={customer_id}"
CONTENT = Content("Subject", "<p>body</p>", "body", "summary")


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHURN_PRIVATE_SOURCES")


def company(name: str) -> Company:
    definition = parse_definition(
        {
            "slug": "acme",
            "name": name,
            "connector": "files",
            "entities": ["customers"],
            "churn_kind": "cancellation",
            "currency": "EUR",
            "notifications": {"owner": name, "customer_link": LINK},
        }
    )
    return Company.model_validate({**definition.model_dump(), "company_id": 1, "is_active": True})


def digest(text: str) -> Content:
    """A message in which everything that others may choose is this text."""
    told = company(text)
    row = {"customer_id": text, "customer_name": text, "plan_name": text, "first_reason": text}
    row |= {"second_reason": None, "third_reason": None, "currency": "EUR"}
    customer = customer_at_risk({**row, "churn_probability": 0.5, "value_at_stake": None}, told)
    alerts = [Alert("high_risk", "key", "", 1, plain(text), customer), Alert("failed_run", "key", plain(text), 1, None)]
    return messages.digest(alerts, told)


class Page(HTMLParser):
    """Elements and addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links |= {str(value) for name, value in attrs if name in {"href", "src"}}
        assert not any(name.startswith("on") for name, _ in attrs)


def addresses(text: str) -> set[str]:
    """What programs make links of, but for the company's own page of the customer."""
    pattern = r"[a-z0-9+.-]+://\S+|\bwww\.\S+|\b(?:mailto|javascript|data):\S+|\]\("
    return {
        each for each in re.findall(pattern, text, re.IGNORECASE) if not each.startswith("https://crm.example/c?id=")
    }


def check(content: Content) -> None:
    page = Page(content.html)
    assert page.elements <= ELEMENTS
    assert all(link.startswith("https://crm.example/c?id=") for link in page.links)
    for text in (content.subject, content.summary, content.text):
        assert addresses(text) == set()
    for text in (content.subject, content.summary):
        assert not any(unicodedata.category(each) in {"Cc", "Cf", "Zl", "Zp"} for each in text if each not in JOINERS)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_holds_no_link_or_element_that_a_customer_chose(text: str) -> None:
    check(digest(text))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@given(
    TEXTS.filter(lambda text: bool(text.strip()))
    | st.lists(st.sampled_from(HOSTILE), min_size=1).map(lambda parts: "".join(parts)[:200])
)
def test_nor_whatever_else_a_customer_is_called(text: str) -> None:
    check(digest(text))


@given(st.text(max_size=60))
def test_plain_text_is_one_visible_line_and_stays_as_it_is(text: str) -> None:
    line = plain(text)
    assert plain(line) == line
    assert "\n" not in line
    assert addresses(line) == set()


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("text", HOSTILE)
def test_no_chat_is_told_to_call_everybody(text: str, chat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def post(*arguments: Any, **options: Any) -> requests.Response:
        sent.append(json.dumps(json.loads(options["data"]), ensure_ascii=False))
        answer = requests.Response()
        answer.status_code, answer._content = 200, b'{"ok": true}'
        return answer

    for name in ("post", "request"):
        monkeypatch.setattr(requests, name, post)
    monkeypatch.setenv("CHURN_SOURCE_ACME__CHAT", chat)
    Recipient("env:CHURN_SOURCE_ACME__CHAT", Settings(), "acme").send(digest(text))
    (message,) = sent
    assert not re.search(r"@(everyone|here|channel|all|U1)|<!|<@|<users/", message)
    assert "evil.example" not in message or addresses(message) & {"evil.example"} == set()


@given(st.text())
def test_what_speaks_to_people_is_broken_and_nothing_else_is_changed(text: str) -> None:
    broken = without_mentions(text)
    assert broken.replace("\u200b", "") == text.replace("\u200b", "")
    assert not re.search(r"[@<][^\u200b]", broken)


@contextmanager
def listening() -> Iterator[SimpleNamespace]:
    """A service on this machine, and what it was asked."""
    asked: list[str] = []

    class Inside(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Inside)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield SimpleNamespace(port=server.server_address[1], asked=asked)
    finally:
        server.shutdown()
        server.server_close()


def deliver(address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, of: str | None = "acme") -> Delivery:
    monkeypatch.setenv("CHURN_SOURCE_ACME__CHANNEL", address)
    return Recipient("env:CHURN_SOURCE_ACME__CHANNEL", settings, of).send(CONTENT)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8", "0.0.0.0"])  # noqa: S104
@pytest.mark.parametrize("kind", ["json", "xml", "form", "mmost"])
def test_a_companys_channel_does_not_reach_this_machine(
    kind: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as inside:
        address = f"{kind}://{host}:{inside.port}/3ccdd113474722377935511fc85d3dd4"
        delivery = deliver(address, Settings(home=tmp_path), monkeypatch)
        assert inside.asked == []
    assert delivery.outcome == "failed"
    assert "is not on the internet" in (delivery.error or "")
    assert "CHURN_PRIVATE_SOURCES" in (delivery.error or "")


def test_nor_by_mail_and_the_cloud_is_not_asked_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("mailto://a:b@169.254.169.254?to=a@b.example&from=c@d.example", "json://169.254.169.254/latest"):
        delivery = deliver(address, Settings(home=tmp_path), monkeypatch)
        assert (delivery.outcome, "169.254.169.254" in (delivery.error or "")) == ("failed", True)


def test_what_the_operator_allows_and_the_operators_own_channel_are_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as inside:
        address = f"json://127.0.0.1:{inside.port}/hook"
        allowed = Settings(home=tmp_path, private_sources="127.0.0.0/8")
        assert deliver(address, allowed, monkeypatch).outcome == "sent"
        assert deliver(address, Settings(home=tmp_path), monkeypatch, of=None).outcome == "sent"
        assert inside.asked == ["/hook", "/hook"]


def test_a_redirect_leads_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def elsewhere(host: Any, *arguments: Any, **named: Any) -> Any:
        return real("127.0.0.2" if host == "hook.example" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    with listening() as inside:

        class Outside(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.1:{inside.port}/")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.2", 0), Outside)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            settings = Settings(home=tmp_path, private_sources="127.0.0.2")
            delivery = deliver(f"json://hook.example:{server.server_address[1]}/x", settings, monkeypatch)
        finally:
            server.shutdown()
            server.server_close()
        assert inside.asked == []
    assert delivery.outcome == "failed"


def test_an_unseen_connection_within_the_fence_is_refused_and_one_outside_it_is_not(tmp_path: Path) -> None:
    with listening() as inside:
        place = ("127.0.0.1", inside.port)
        with Reach(Settings(home=tmp_path)).fence() as refusals:
            with pytest.raises(PermissionError):
                socket.create_connection(place)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, pytest.raises(PermissionError):
                datagrams.sendto(b"x", place)
            with socket.socket(socket.AF_UNIX) as local, pytest.raises(PermissionError):
                local.connect("/run/docker.sock")
        assert len(refusals) == 3
        socket.create_connection(place).close()


@pytest.mark.parametrize("address", ["syslog://", "rsyslog://127.0.0.1", "xmpp://a:b@host.example", "dbus://"])
def test_a_channel_that_cannot_be_looked_at_is_none_for_a_company(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_SOURCE_ACME__CHANNEL", address)
    with pytest.raises(WrongAddress):
        Recipient("env:CHURN_SOURCE_ACME__CHANNEL", Settings(), "acme")


def test_a_template_which_would_be_sent_may_not_be_a_file_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_SOURCE_ACME__CHANNEL", f"{CHATS[1]}?Template=/srv/churn/postgres.secrets")
    with pytest.raises(WrongAddress, match="template"):
        Recipient("env:CHURN_SOURCE_ACME__CHANNEL", Settings(), "acme")
