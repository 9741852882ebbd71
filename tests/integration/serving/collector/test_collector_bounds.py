"""However much is sent, a collector holds so much in memory and no more, and keeps what it answered for."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from serving.collector import limits, reading
from serving.collector.figures import Figures
from serving.collector.keys import Keys, key_in_headers
from serving.collector.refusals import Refusal
from serving.collector.token_bucket import TokenBucket
from serving.collector.writer import Writer
from tests.integration.serving.collector.conftest import Shop, viewed
from warehouse.companies.definition import Company
from warehouse.companies.write_keys import create_write_key
from warehouse.connection import Warehouse
from warehouse.landing.tracked import Arrival, Dropped
from warehouse.settings import Settings

PADDING = "x" * 500
GROWTH_BYTES = 200 * 2**20


def test_a_writer_that_is_held_up_keeps_what_it_answered_for_in_bounded_memory(shop: Shop) -> None:
    assert shop.collector.process is not None
    process = psutil.Process(shop.collector.process.pid)
    shop.send(viewed("first"))
    before = process.memory_info().rss
    batches = [
        json.dumps({"batch": [viewed(f"{number}-{place}", properties={"p": PADDING}) for place in range(500)]}).encode()
        for number in range(60)
    ]

    def send(number: int) -> httpx.Response:
        return shop.collector.post("/v1/batch", batches[number], shop.key)

    with shop.warehouse.connect() as conn, ThreadPoolExecutor(len(batches)) as pool:
        conn.execute(
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"load {shop.company.company_id} tracked_events"]
        )
        waiting = [pool.submit(send, number) for number in range(len(batches))]
        time.sleep(2)
        assert process.memory_info().rss - before < GROWTH_BYTES
        conn.rollback()
        answers = [answer.result() for answer in waiting]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert {event["verdict"] for answer in refused for event in answer.json()["events"]} == {"retry"}
    acknowledged = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    assert len(acknowledged) + len(refused) == len(batches)
    kept = {message_id for (message_id,) in shop.rows("select message_id from raw.tracked_events")}
    assert {f"m{number}-{place}" for number in acknowledged for place in range(500)} <= kept
    shop.collector.wait_until_ready()
    assert shop.send(viewed("last"))[0]["verdict"] == "ok"


def test_a_sender_that_dawdles_is_let_go(shop: Shop) -> None:
    with socket.create_connection(("127.0.0.1", shop.collector.port), timeout=30) as connection:
        head = (
            f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shop.key}\r\nContent-Length: 100\r\n\r\n{{"
        )
        connection.sendall(head.encode())
        begun = time.monotonic()
        assert b" 408 " in connection.recv(4096)
    assert time.monotonic() - begun < limits.BODY_SECONDS + 5
    assert shop.send(viewed(1))[0]["verdict"] == "ok"


def test_who_guesses_keys_is_told_to_wait_and_known_keys_go_on(
    warehouse: Warehouse, add_company: Callable[..., Company]
) -> None:
    add_company("acme")
    with warehouse.connect() as conn:
        known = create_write_key(conn, "acme", "web", actor="tests").text
    now = 0.0
    keys = Keys(warehouse, clock=lambda: now)

    async def status(key: str) -> int:
        try:
            await keys.rights(key, None)
        except Refusal as refusal:
            return refusal.status
        return 200

    async def guess() -> list[int]:
        guesses = [f"cwk_{number:012x}_{'0' * 64}" for number in range(limits.UNKNOWN_KEYS_PER_SECOND + 9)]
        return [await status(known), *[await status(key) for key in guesses], await status(known)]

    try:
        statuses = asyncio.run(guess())
        assert statuses == [200, *[401] * (limits.UNKNOWN_KEYS_PER_SECOND - 1), *[429] * 10, 200]
        # What is known is looked up again, however many guess.
        now = limits.KEY_SECONDS - 0.01
        assert asyncio.run(status(known)) == 200
    finally:
        keys.close()


@pytest.mark.parametrize(("events", "size"), [(500, 1), (1, limits.WAITING_BYTES // 40)])
def test_events_that_wait_are_bounded_in_number_and_bytes(tmp_path: Path, events: int, size: int) -> None:
    async def fill() -> list[int]:
        nowhere = Warehouse("postgresql://nobody@127.0.0.1:1/nowhere")
        # Not started: nothing is taken out of it.
        writer = Writer(nowhere, Settings(home=tmp_path), Figures())
        writer._is_ready = True
        arrivals = [Arrival(1, "web", Dropped(None, ""))] * events
        waiting = [asyncio.ensure_future(writer.submit(arrivals, size)) for _ in range(60)]
        await asyncio.sleep(0)
        refused = [task.exception() for task in waiting if task.done()]
        for task in waiting:
            task.cancel()
        return [refusal.status for refusal in refused if isinstance(refusal, Refusal)]

    assert asyncio.run(fill()) == [503] * 20


def test_bodies_that_are_read_share_one_room() -> None:
    bodies = reading.Bodies()
    with bodies.reading() as first:
        first._hold(limits.BODIES_BYTES)
        with bodies.reading() as second, pytest.raises(Refusal) as refused:
            second._hold(1)
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
    with bodies.reading() as third:
        third._hold(limits.BODIES_BYTES)


def test_a_pace_allows_a_burst_and_then_so_many_a_second() -> None:
    bucket = TokenBucket(per_second=10, burst=20, now=0)
    assert [bucket.take(15, now=0), bucket.take(15, now=0), bucket.take(15, now=0.5), bucket.take(15, now=1)] == [
        *(0, 1, 1),
        0,
    ]
    assert bucket.take(20, now=1.0) == 2


@pytest.mark.parametrize("header", ["Basic =", "Basic /w==", "Basic %"])
def test_authorization_that_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        key_in_headers({"authorization": header})
    assert refused.value.status == 401
