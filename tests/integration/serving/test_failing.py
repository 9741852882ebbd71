"""What happens when something fails: Postgres is killed, clients are slow, sessions are taken."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipeline.companies import parse_definition
from pipeline.prediction.tasks import CONTRACTS
from tests.integration.serving.conftest import Asker
from tests.integration.serving.served import Served, serving
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.migrate import migrate

pytestmark = pytest.mark.xdist_group("two_companies")

DEFINITION = {
    "slug": "acme",
    "name": "Acme",
    "connector": "habari_api",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "churn_kind": "cancellation",
    "horizon_days": 30,
}


def test_a_killed_postgres_is_503_and_comes_back_by_itself(tmp_path: Path) -> None:
    """An embedded server of its own, in the process's own home."""
    server = EmbeddedServer(tmp_path)
    with server.lease(), serving(None, tmp_path) as (address, process, log):
        warehouse = Warehouse(server.url())
        migrate(warehouse, CONTRACTS)
        with warehouse.connect() as connection:
            add_company(connection, parse_definition(DEFINITION), "tests")
        served = Served(warehouse, address, process, log)
        with served.client(served.key("acme")) as client:
            assert client.get("/v1/tasks").json()["tasks"] == []
            postmaster = int((server.data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(postmaster, signal.SIGKILL)
            answers = []
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                answer = client.get("/v1/tasks")
                answers.append(answer.status_code)
                if answer.status_code == 503:
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["Retry-After"]) > 0
                    assert client.get("/health/live").status_code == 200
                elif answers.count(503):
                    break
                time.sleep(0.2)
        assert set(answers) == {200, 503}
        assert answers[-1] == 200
        served.forget_keys()


def _socket(served: Served) -> socket.socket:
    place = urlsplit(served.address)
    return socket.create_connection((place.hostname, place.port), timeout=30)


def test_a_client_that_sends_slowly_is_sent_away_and_holds_up_nobody(
    served: Served, askers: tuple[Asker, Asker]
) -> None:
    head = (
        "POST /v1/customers/x/scores/churn/score HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {askers[0].key}\r\nContent-Length: 1000\r\n\r\n"
    )
    slow = [_socket(served) for _ in range(50)]
    for connection in slow:
        connection.sendall(head.encode() + b'{"attributes"')
    began = time.monotonic()
    assert askers[0].client.get("/v1/tasks").status_code == 200
    assert time.monotonic() - began < 5
    for connection in slow:
        assert b" 408 " in connection.recv(1000)
        connection.close()
    assert time.monotonic() - began < 25


def test_a_client_that_reads_slowly_holds_no_session(served: Served, askers: tuple[Asker, Asker]) -> None:
    asked = f"GET /v1/changes/churn/stream HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {askers[0].key}\r\n\r\n"
    slow = [_socket(served) for _ in range(4)]
    for connection in slow:
        connection.sendall(asked.encode())
    time.sleep(1)
    assert askers[0].client.get("/v1/scores/churn").status_code == 200
    fifth = askers[0].client.get("/v1/changes/churn/stream")
    assert (fifth.status_code, fifth.json()["type"]) == (429, "urn:churn:problem:too-many-streams")
    for connection in slow:
        connection.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with askers[0].client.stream("GET", "/v1/changes/churn/stream") as again:
            if again.status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError("streams that ended still count")


def test_many_requests_at_once_are_answered_or_told_to_come_again(served: Served, askers: tuple[Asker, Asker]) -> None:
    def ask(_: int) -> httpx.Response:
        return askers[0].client.get("/v1/scores/churn")

    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(ask, range(400)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(answer.status_code == 200 for answer in answers) > 200
    bodies = {answer.content for answer in answers if answer.status_code == 200}
    assert len(bodies) == 1
