"""The operator's proxy asks for a company: what a company may not reach by itself it may not reach through that one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import CUSTOMERS
from pipeline.connectors.errors import AccessDenied, SourceTooSlow, SourceUnreachable
from pipeline.connectors.habari_api import HabariApi, HabariSettings, Patience
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from pipeline.integrations.notifications.channels import Content, Delivery, Recipient
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY
from warehouse.settings import Settings

READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))
PAGE = b'{"data": [], "next_cursor": null}'
INSIDE = ["127.0.0.1", "localhost", "127.1", "0x7f.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]"]


class Proxy:
    """Keeps the first line of each request, and gives the same answer to all; none at all while it is `silent`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        self._server = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            asked = line.recv(65536).split(b"\r\n")[0].decode()
            if not asked:
                line.close()
                continue
            self.asked.append(asked)
            if self.silent:
                self._held.append(line)
                continue
            line.sendall(self.head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
            line.close()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        for closing in (self._server, *self._held):
            closing.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name in ("CHURN_PRIVATE_SOURCES", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = Proxy()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.address)
    yield proxy
    proxy.close()


def read(url: str, operators: Settings, limit: TimeLimit | None = None) -> list[Any]:
    settings = HabariSettings(base_url=url, api_key="file:key")
    source = HabariApi("acme", settings, API_KEY, READING, Reach(operators), Patience(attempts=1), limit)
    try:
        return list(source.read(CUSTOMERS, None, 10))
    finally:
        source.close()


def deliver(address: str, home: Path, monkeypatch: pytest.MonkeyPatch, company: str | None) -> Delivery:
    monkeypatch.setenv("CHURN_SOURCE_ACME__CHANNEL", address)
    content = Content(subject="Report", html="<p>text</p>", text="text", summary="text")
    return Recipient("env:CHURN_SOURCE_ACME__CHANNEL", Settings(home=home), company).send(content)


def test_a_crm_is_asked_through_the_operators_proxy(proxy: Proxy, tmp_path: Path) -> None:
    assert read("http://crm.invalid", Settings(home=tmp_path)) == []
    with pytest.raises(SourceUnreachable):
        read("https://crm.invalid:8443", Settings(home=tmp_path))
    assert [line.split("?")[0] for line in proxy.asked] == [
        "GET http://crm.invalid/api/v1/customers",
        "CONNECT crm.invalid:8443 HTTP/1.0",
    ]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", INSIDE)
def test_a_proxy_is_not_asked_for_what_no_company_may_reach(
    scheme: str, host: str, proxy: Proxy, tmp_path: Path
) -> None:
    with pytest.raises(AccessDenied, match="CHURN_PRIVATE_SOURCES"):
        read(f"{scheme}://{host}", Settings(home=tmp_path))
    assert proxy.asked == []


def test_what_the_operator_allows_is_asked_for_and_what_goes_past_the_proxy_is_looked_at(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read("http://10.0.0.1", Settings(home=tmp_path, private_sources="10.0.0.0/8")) == []
    assert len(proxy.asked) == 1
    monkeypatch.setenv("NO_PROXY", "10.0.0.1")
    with pytest.raises(AccessDenied):
        read("http://10.0.0.1", Settings(home=tmp_path))
    assert len(proxy.asked) == 1


def test_a_proxy_that_never_answers_is_cut_in_time(proxy: Proxy, tmp_path: Path) -> None:
    proxy.silent = True
    with pytest.raises(SourceTooSlow, match="a request took longer than 1 s"):
        read("http://crm.invalid", Settings(home=tmp_path), TimeLimit("acme", "crm", request=1))


@pytest.mark.parametrize("kind", ["json", "jsons", "mmost", "mmosts"])
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "localhost"])
def test_nor_for_what_a_companys_channel_may_not_reach(
    kind: str, host: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = deliver(f"{kind}://{host}/3ccdd113474722377935511fc85d3dd4", tmp_path, monkeypatch, "acme")
    assert (told.outcome, "is not on the internet" in (told.error or "")) == ("failed", True)
    assert not any(host in line for line in proxy.asked)


def test_a_channel_that_redirects_inside_leads_no_further(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.head = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\n"
    deliver("json://hook.invalid/x", tmp_path, monkeypatch, "acme")
    assert [line.split()[1] for line in proxy.asked] == ["http://hook.invalid/x"]


def test_the_operators_own_channel_goes_where_it_was_told_to(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deliver("json://10.0.0.1/x", tmp_path, monkeypatch, None).outcome == "sent"
    assert proxy.asked == ["POST http://10.0.0.1/x HTTP/1.1"]
