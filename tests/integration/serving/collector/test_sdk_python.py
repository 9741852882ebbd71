"""The Python package feeds a real collector: offline, killed in between, and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from churn_events import Client, Stats, new_anonymous_id
from churn_events.client import _message_id, _pause_seconds

from tests.integration.serving.collector.collector_process import free_port
from tests.integration.serving.collector.conftest import Shop

SDK = Path(__file__).parents[4] / "sdk" / "python"
NOWHERE = "http://127.0.0.1:1"
PROGRAM = """
import sys
from churn_events import Client
client = Client(sys.argv[1], sys.argv[2], sys.argv[3], flush_seconds=0.05, batch_events=7)
for number in range(int(sys.argv[4]), 100_000):
    message_id = client.track("Counted", anonymous_id="a1", properties={"number": number})
    print(number, message_id, flush=True)
"""


def waits_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_events_of_every_kind_arrive_as_they_were_tracked(shop: Shop, tmp_path: Path) -> None:
    client = Client(
        shop.collector.url, shop.key, tmp_path / "queue", context={"app": "demo"}, batch_events=2, flush_seconds=0.1
    )
    visitor = new_anonymous_id()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    tracked = client.track(
        "Order Completed",
        anonymous_id=visitor,
        properties={"total": 59.5, "note": "Größe\u2028\\n"},
        context={"page": "/"},
        timestamp=yesterday,
    )
    client.identify("c42", anonymous_id=visitor, traits={"plan": "pro"})
    client.alias("c42", previous_id="old-42")
    assert client.shutdown()
    rows = shop.rows(
        "select message_id, kind, customer_id, anonymous_id, previous_id, properties, context, original_at,"
        " sent_at, occurred_at from raw.tracked_events order by kind desc"
    )
    assert [row[1] for row in rows] == ["track", "identify", "alias"]
    assert rows[0][0] == tracked
    assert rows[0][3:7] == (
        visitor,
        None,
        {"total": 59.5, "note": "Größe\u2028\\n"},
        {"app": "demo", "page": "/"},
    )
    original_at, sent_at, occurred_at = rows[0][7:]
    assert original_at == yesterday
    assert abs(occurred_at - yesterday) < timedelta(seconds=10)
    assert sent_at - original_at > timedelta(hours=23)
    assert rows[1][2:4] == ("c42", visitor)
    assert rows[2][2:5] == ("c42", None, "old-42")


def test_a_killed_program_loses_and_doubles_nothing_that_it_tracked(shop: Shop, tmp_path: Path) -> None:
    told: dict[int, str] = {}
    for _ in range(3):
        first = max(told, default=-1) + 1
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, shop.collector.url, shop.key, str(tmp_path / "queue"), str(first)],
            env={**os.environ, "PYTHONPATH": str(SDK)},
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdout is not None
            for line in program.stdout:
                if not line.endswith("\n"):  # killed within it
                    break
                number, message_id = line.split()
                told[int(number)] = message_id
                if int(number) == first + 60:
                    program.kill()
    client = Client(shop.collector.url, shop.key, tmp_path / "queue")
    assert client.shutdown(30)
    stored = dict(shop.rows("select (properties ->> 'number')::int, message_id from raw.tracked_events"))
    # One that was written and not told of any more may be there, too.
    assert told.items() <= stored.items()
    assert len(shop.rows("select from raw.tracked_events")) <= len(told) + 3


def test_a_time_offline_and_a_killed_collector_lose_nothing(shop: Shop, tmp_path: Path) -> None:
    client = Client(shop.collector.url, shop.key, tmp_path / "queue", flush_seconds=0.05, batch_events=20)
    shop.collector.kill(signal.SIGKILL)
    for number in range(300):
        assert client.track("Counted", user_id="c1", properties={"number": number})
    assert not client.flush(0.5)
    assert client.stats().queued == 300
    shop.collector.start()
    assert client.flush(90)
    assert client.shutdown()
    numbers = [number for (number,) in shop.rows("select (properties ->> 'number')::int from raw.tracked_events")]
    assert sorted(numbers) == list(range(300))
    # Sent at this attempt, and not when it was tracked.
    ((waited,),) = shop.rows("select min(sent_at - original_at) from raw.tracked_events")
    assert waited > timedelta(seconds=0.3)


def test_what_is_rejected_leaves_the_queue_and_is_told(shop: Shop, tmp_path: Path) -> None:
    told: list[tuple[Any, Any]] = []
    key = shop.another_key(consent_categories=["analytics"])
    client = Client(
        shop.collector.url, key, tmp_path / "queue", on_rejected=lambda event, reason: told.append((event, reason))
    )
    client.track("Seen", user_id="c1")
    client.track("Seen", user_id="c2", context={"consent": {"category": "analytics"}})
    client.track("Seen", user_id="c3", properties={"deep": json.loads("[" * 40 + "]" * 40)},
                 context={"consent": {"category": "analytics"}})  # fmt: skip
    assert client.flush()
    assert client.stats() == Stats(queued=0, ok=1, duplicate=0, rejected=2, overflowed=0, discarded=0)
    waits_for(lambda: len(told) == 2)
    assert {event["userId"]: reason.split(":")[0] for event, reason in told} == {
        "c1": "consent",
        "c3": "properties nests deeper than 32 levels",
    }
    client.shutdown()


def test_a_wrong_key_keeps_the_events_until_it_is_mended(shop: Shop, tmp_path: Path) -> None:
    wrong = Client(shop.collector.url, shop.key[:-4] + "0000", tmp_path / "queue", flush_seconds=0.05)
    wrong.track("Seen", user_id="c1")
    assert not wrong.shutdown(1)
    right = Client(shop.collector.url, shop.key, tmp_path / "queue")
    assert right.shutdown(10)
    assert len(shop.rows("select from raw.tracked_events")) == 1


def test_a_full_queue_takes_no_more_and_counts_what_was_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(NOWHERE, "key", tmp_path / "queue", most_events=3)
    taken = [client.track("Seen", user_id="c1") for _ in range(5)]
    assert [message_id is None for message_id in taken] == [False, False, False, True, True]
    assert not client.shutdown(0.1)
    assert "The queue is full" in caplog.text
    again = Client(NOWHERE, "key", tmp_path / "queue", most_bytes=1)
    assert again.track("Seen", user_id="c1") is None
    assert again.stats() == Stats(queued=3, ok=0, duplicate=0, rejected=0, overflowed=3, discarded=0)
    again.shutdown(0)


def test_who_opted_out_is_not_tracked_after_a_restart_either(tmp_path: Path) -> None:
    client = Client(NOWHERE, "key", tmp_path / "queue")
    client.track("Seen", user_id="c1")
    client.opt_out()
    assert client.track("Seen", user_id="c1") is None
    client.shutdown(0)
    again = Client(NOWHERE, "key", tmp_path / "queue")
    assert again.track("Seen", user_id="c1") is None
    again.opt_in()
    assert again.track("Seen", user_id="c1")
    assert again.stats() == Stats(queued=1, ok=0, duplicate=0, rejected=0, overflowed=0, discarded=3)
    again.shutdown(0)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.track("Seen"),
        lambda client: client.track("", user_id="c1"),
        lambda client: client.track("Seen", user_id="x" * 201),
        lambda client: client.track("Seen", user_id=42),
        lambda client: client.track("Seen", user_id="c1", properties={"n": float("nan")}),
        lambda client: client.track("Seen", user_id="c1", properties={"n": object()}),
        lambda client: client.track("Seen", user_id="c1", properties={"n": "\ud800"}),
        lambda client: client.track("Seen", user_id="c1", properties={"n": "x" * 33_000}),
        lambda client: client.track("Seen", user_id="c1", timestamp=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda client: client.identify(""),
        lambda client: client.alias("c1", previous_id=""),
    ],
)
def test_a_call_without_sense_is_refused_at_once(tmp_path: Path, call: Callable[[Client], object]) -> None:
    client = Client(NOWHERE, "key", tmp_path / "queue")
    with pytest.raises(ValueError, match=r"."):
        call(client)
    assert client.stats().queued == 0
    client.shutdown(0)


class Scripted(HTTPServer):
    """Answers each request by the next of its statuses, and notes when it came and what it held."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.came: list[tuple[float, int]] = []
        super().__init__(("127.0.0.1", free_port()), _Scripted)
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Scripted(BaseHTTPRequestHandler):
    server: Scripted

    def do_POST(self) -> None:
        import gzip

        content = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        events = json.loads(content)["batch"]
        self.server.came.append((time.monotonic(), len(events)))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        is_poisoned = any(event["event"] == "poison" for event in events)
        status = 400 if is_poisoned else status
        verdicts = [{"messageId": event["messageId"], "verdict": "ok"} for event in events]
        body = json.dumps({"events": verdicts, "error": "no"} if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_collector_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    server = Scripted((503, {"Retry-After": "2"}), (302, {"Location": "http://127.0.0.1:1/"}), (500, {}))
    client = Client(server.url, "key", tmp_path / "queue", flush_seconds=0.01)
    client.track("Seen", user_id="c1")
    assert client.flush(30)
    assert server.came[1][0] - server.came[0][0] >= 2
    assert len(server.came) == 4
    client.shutdown()
    server.shutdown()
    server.server_close()


def test_one_event_for_which_batches_are_refused_is_found(tmp_path: Path) -> None:
    server = Scripted()
    client = Client(server.url, "key", tmp_path / "queue", flush_seconds=0.05)
    for number in range(40):
        client.track("poison" if number == 23 else "Seen", user_id="c1")
    assert client.flush(30)
    assert client.stats() == Stats(queued=0, ok=39, duplicate=0, rejected=1, overflowed=0, discarded=0)
    client.shutdown()
    server.shutdown()
    server.server_close()


def test_pauses_grow_to_a_minute_and_heed_the_collector() -> None:
    assert all(0.25 <= _pause_seconds(1, 0) <= 0.5 for _ in range(100))
    assert all(30 <= _pause_seconds(50, 0) <= 60 for _ in range(100))
    assert all(120 <= _pause_seconds(1, 120) <= 132 for _ in range(100))


def test_message_ids_are_uuids_of_version_7_in_order() -> None:
    import uuid

    first = _message_id()
    time.sleep(0.003)
    second = _message_id()
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second
