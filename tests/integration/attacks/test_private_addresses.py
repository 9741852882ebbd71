"""A company's CRM is said to be on the warehouse's own machine, beside it, or at a name that comes to mean that."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import CUSTOMERS
from pipeline.connectors.errors import AccessDenied, UnexpectedResponse
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.http_source import Patience
from pipeline.connectors.validation import Reading
from pipeline.reach import OutOfReach, Reach
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm
from warehouse.errors import SettingsError
from warehouse.settings import Settings, load_settings

READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHURN_PRIVATE_SOURCES")


def read(url: str, settings: Settings) -> list[Any]:
    connector = HabariSettings(base_url=url, api_key="file:key")
    source = HabariApi("acme", connector, API_KEY, READING, Reach(settings), Patience(attempts=1))
    try:
        return list(source.read(CUSTOMERS, None, 10))
    finally:
        source.close()


def port_of(stand_in: StandIn) -> int:
    return int(stand_in.url.rsplit(":", 1)[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "127.8.8.8"])  # noqa: S104
def test_this_machine_is_not_asked_under_any_name(host: str, tmp_path: Path) -> None:
    with crm({"customers": []}) as stand_in:
        with pytest.raises(AccessDenied, match="CHURN_PRIVATE_SOURCES"):
            read(f"http://{host}:{port_of(stand_in)}", Settings(home=tmp_path))
        assert stand_in.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "::1", "fe80::1", "fd00::1", "::",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_no_address_that_is_not_on_the_internet_may_be_reached(address: str, tmp_path: Path) -> None:
    with pytest.raises(OutOfReach):
        Reach(Settings(home=tmp_path)).addresses(address, 443)


def test_addresses_on_the_internet_and_those_that_the_operator_allows_may_be(tmp_path: Path) -> None:
    reach = Reach(Settings(home=tmp_path, private_sources="10.1.0.0/16, fd00::/8"))
    for address in (
        "93.184.215.14",
        "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
        "10.1.2.3",
        "fd00::7",
        "::ffff:10.1.2.3",
    ):
        assert reach.addresses(address, 443) == [address]
    for address in ("10.2.0.1", "127.0.0.1"):
        with pytest.raises(OutOfReach):
            reach.addresses(address, 443)


def test_a_host_with_one_address_inside_is_refused_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("93.184.215.14", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(OutOfReach):
        Reach(Settings(home=tmp_path)).addresses("crm.example.com", 443)


def test_a_name_that_changes_after_it_was_looked_at_leads_to_the_first_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, asked = socket.getaddrinfo, []

    def rebound(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host != "rebound.example":
            return real(host, port, *arguments, **named)
        asked.append(host)
        return real("127.0.0.2" if len(asked) == 1 else "127.0.0.1", port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    with crm({"customers": []}) as stand_in:
        with pytest.raises(Exception, match=r"no answer|Connection refused"):
            read(f"http://rebound.example:{port_of(stand_in)}", Settings(home=tmp_path, private_sources="127.0.0.2"))
        assert stand_in.requests == []
    assert asked == ["rebound.example"]


def test_the_demos_own_crm_is_allowed_and_no_other_port_beside_it(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with crm({"customers": []}) as demo, crm({"customers": []}) as other:
        (tmp_path / "demo" / "host").write_text("localhost\n")
        (tmp_path / "demo" / "port").write_text(f"{port_of(demo)}\n")
        assert read(demo.url, Settings(home=tmp_path)) == []
        with pytest.raises(AccessDenied):
            read(other.url, Settings(home=tmp_path))


def test_a_redirect_leads_nowhere(tmp_path: Path) -> None:
    with crm({"customers": []}) as stand_in, crm({"customers": []}) as inside:
        stand_in.misbehave = lambda *_: (
            302,
            {"Location": f"{inside.url}/api/v1/customers"},
            b'{"data": [], "next_cursor": null}',
        )
        with pytest.raises(UnexpectedResponse, match="redirects"):
            read(stand_in.url, Settings(home=tmp_path, private_sources="127.0.0.1"))
        assert inside.requests == []


def test_a_network_that_is_none_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_PRIVATE_SOURCES", "10.0.0.0/8, intranet")
    with pytest.raises(SettingsError, match="CHURN_PRIVATE_SOURCES"):
        load_settings()
