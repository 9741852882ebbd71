"""What a collector answers, and what stands in the warehouse afterwards."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from serving.collector.limits import BATCH_EVENTS, BODY_BYTES
from tests.integration.serving.collector.conftest import Shop, viewed
from warehouse.companies.definition import Company
from warehouse.companies.write_keys import create_write_key, revoke_write_key


def test_an_event_lands_with_all_its_times(shop: Shop) -> None:
    device = datetime(2020, 1, 1, 12, tzinfo=UTC)
    event = viewed(
        1,
        userId="c1",
        properties={"price": 9.5, "name": "Tee\u00df", "n": 2**70},
        context={"page": {"url": "https://x"}},
        timestamp=device.isoformat(),
        originalTimestamp=device.isoformat(),
        sentAt=(device + timedelta(minutes=5)).isoformat(),
    )
    before = datetime.now(UTC)
    assert shop.send(event) == [{"messageId": "m1", "verdict": "ok"}]
    (row,) = shop.rows(
        "select company_id, source, kind, name, anonymous_id, customer_id, properties, context, stated_at, original_at,"
        " sent_at, received_at, occurred_at, known_at from raw.tracked_events"
    )
    assert row[:6] == (shop.company.company_id, "web", "track", "Product Viewed", "a1", "c1")
    assert row[6:8] == (event["properties"], event["context"])
    stated_at, original_at, sent_at, received_at, occurred_at, known_at = row[8:]
    assert (stated_at, original_at, sent_at) == (device, device, device + timedelta(minutes=5))
    assert before <= received_at <= known_at <= datetime.now(UTC)
    assert received_at - occurred_at == timedelta(minutes=5)


def test_identify_and_alias_have_doors_of_their_own(shop: Shop) -> None:
    identify = {"messageId": "i1", "userId": "c1", "anonymousId": "a1", "traits": {"plan": "pro"}}
    alias = {"messageId": "x1", "userId": "c1", "previousId": "a0"}
    track = {"messageId": "t1", "event": "Clicked", "userId": "c1"}
    for kind, event in (("identify", identify), ("alias", alias), ("track", track)):
        answer = shop.collector.post(f"/v1/{kind}", event, shop.key)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "ok")
    wrong = shop.collector.post("/v1/track", {"messageId": "t2"}, shop.key)
    assert (wrong.status_code, wrong.json()) == (
        422,
        {"messageId": "t2", "verdict": "rejected", "reason": "event is missing"},
    )
    assert shop.rows("select kind, previous_id, properties from raw.tracked_events order by kind") == [
        ("alias", "a0", None),
        ("identify", None, {"plan": "pro"}),
        ("track", None, None),
    ]


def test_each_event_has_its_verdict_and_the_counts_add_up(shop: Shop) -> None:
    assert shop.send(viewed(1), viewed(1), {"messageId": "m2", "type": "track"}, "text", viewed(3)) == [
        {"messageId": "m1", "verdict": "ok"},
        {"messageId": "m1", "verdict": "duplicate"},
        {"messageId": "m2", "verdict": "rejected", "reason": "event is missing"},
        {"messageId": None, "verdict": "rejected", "reason": "the event is no object"},
        {"messageId": "m3", "verdict": "ok"},
    ]
    assert [verdict["verdict"] for verdict in shop.send(viewed(3), viewed(1))] == ["duplicate", "duplicate"]
    assert shop.counts() == (7, 2, 3, 2, 0)
    rejected = shop.rows("select entity, record_id, reason, payload, load_id from raw.rejected_records order by 2")
    assert rejected == [
        ("tracked_events", "m2", "event is missing", {"messageId": "m2", "type": "track"}, None),
        ("tracked_events", None, "the event is no object", "text", None),
    ]
    metrics = shop.collector.metrics()
    assert 'churn_collector_events_total{company="acme",outcome="duplicate"} 3.0' in metrics


def test_an_id_counts_once_in_a_company_however_late_it_comes_again(shop: Shop) -> None:
    shop.send(viewed(1))
    with shop.warehouse.connect() as conn:
        conn.execute("update raw.tracked_events set received_at = received_at - interval '400 days'")
    assert shop.send(viewed(1, event="Other"))[0]["verdict"] == "duplicate"
    assert shop.rows("select name from raw.tracked_events") == [("Product Viewed",)]


def test_another_companys_key_brings_events_of_that_company(shop: Shop, add_company: Callable[..., Company]) -> None:
    other = add_company("other")
    with shop.warehouse.connect() as conn:
        key = create_write_key(conn, "other", "web", actor="tests").text
    assert [verdict["verdict"] for verdict in shop.send(viewed(1)) + shop.send(viewed(1), key=key)] == ["ok", "ok"]
    assert shop.rows("select company_id from raw.tracked_events order by 1") == sorted(
        [(shop.company.company_id,), (other.company_id,)]
    )


def test_a_key_is_taken_by_bearer_basic_and_body_and_no_other_is(shop: Shop) -> None:
    basic = base64.b64encode(f"{shop.key}:".encode()).decode()
    post = shop.collector.post
    assert post("/v1/batch", {"batch": [viewed(1)]}, headers={"Authorization": f"Basic {basic}"}).status_code == 200
    beacon = json.dumps({"batch": [viewed(2)], "writeKey": shop.key}).encode()
    assert post("/v1/batch", beacon, headers={"Content-Type": "text/plain"}).status_code == 200
    prefix = shop.key.rpartition("_")[0]
    for wrong in (None, "x", f"{prefix}_{'0' * 64}", shop.key + "0", "ключ", "k" * 10_000, "Basic"):
        headers = {"Authorization": f"Bearer {wrong}".encode()} if wrong else {}
        assert post("/v1/batch", {"batch": [viewed(3)]}, headers=headers).status_code == 401
    assert post("/v1/batch", {"batch": [viewed(3)]}, headers={"Authorization": "Basic %%%"}).status_code == 401
    assert shop.counts()[0] == 2


def test_a_revoked_key_and_a_disabled_company_are_not_taken(shop: Shop) -> None:
    key = shop.another_key()
    with shop.warehouse.connect() as conn:
        revoke_write_key(conn, key.rpartition("_")[0], actor="tests")
    assert shop.collector.post("/v1/batch", {"batch": [viewed(1)]}, key).status_code == 401
    shop.send(viewed(2))
    with shop.warehouse.connect() as conn:
        conn.execute("update ops.companies set is_active = false")
    # The key is remembered for some seconds; the company is looked at in each transaction.
    assert shop.send(viewed(3))[0]["verdict"] == "rejected"
    assert shop.rows("select message_id from raw.tracked_events") == [("m2",)]


def test_pages_of_allowed_origins_alone_may_use_a_key(shop: Shop) -> None:
    key = shop.another_key(origins=["https://shop.example"])
    url = f"{shop.collector.url}/v1/batch"

    def preflight(origin: str) -> httpx.Response:
        return httpx.options(url, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})

    allowed = preflight("https://shop.example")
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "authorization" in allowed.headers["Access-Control-Allow-Headers"]
    assert preflight("https://evil.example").status_code == 403

    def post(origin: str, used: str) -> httpx.Response:
        return shop.collector.post("/v1/batch", {"batch": [viewed(origin)]}, used, headers={"Origin": origin})

    answer = post("https://shop.example", key)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://shop.example")
    for origin in ("https://evil.example", "http://shop.example", "https://shop.example:8443", "null"):
        refused = post(origin, key)
        assert (refused.status_code, refused.headers.get("Access-Control-Allow-Origin")) == (403, None)
    # A key of programs.
    assert post("https://shop.example", shop.key).status_code == 403
    assert shop.counts()[0] == 1


def test_events_without_consent_are_counted_and_kept_nowhere(shop: Shop) -> None:
    key = shop.another_key(consent_categories=["analytics"])
    consenting = viewed(1, context={"consent": {"category": "analytics"}})
    others = [
        viewed(2, context={"consent": {"category": "marketing"}}),
        viewed(3),
        viewed(4, context={"consent": {"category": ["analytics"]}}),
        {"messageId": "m5", "secret": "of a person"},
    ]
    verdicts = shop.send(consenting, *others, key=key)
    assert [verdict["verdict"] for verdict in verdicts] == ["ok", *["rejected"] * 4]
    assert all(verdict["reason"].startswith("consent") for verdict in verdicts[1:])
    assert shop.counts() == (5, 1, 0, 0, 4)
    assert shop.rows("select message_id from raw.tracked_events") == [("m1",)]
    assert shop.rows("select * from raw.rejected_records") == []
    assert shop.collector.post("/v1/batch", {"batch": others}, key).status_code == 422


def test_gzip_is_taken_and_a_bomb_is_not(shop: Shop) -> None:
    def send(packed: bytes, encoding: str = "gzip") -> int:
        headers = {"Content-Encoding": encoding}
        return shop.collector.post("/v1/batch", packed, shop.key, headers=headers).status_code

    body = json.dumps({"batch": [viewed(1)]}).encode()
    assert send(gzip.compress(body)) == 200
    assert send(gzip.compress(b" " * (BODY_BYTES + 1))) == 413
    assert send(gzip.compress(b" " * 400_000_000, compresslevel=9)) == 413
    assert send(gzip.compress(body)[:-9]) == 400
    assert send(gzip.compress(body) + b"more") == 400
    assert send(b"no gzip") == 400
    assert send(body, "br") == 415
    assert shop.counts()[0] == 1


def test_a_request_that_is_too_large_or_no_json_is_refused_as_a_whole(shop: Shop) -> None:
    def send(content: Any) -> int:
        return shop.collector.post("/v1/batch", content, shop.key).status_code

    assert send({"batch": [viewed(number) for number in range(BATCH_EVENTS + 1)]}) == 413
    assert send(b'{"batch": [' + b" " * BODY_BYTES + b"]}") == 413
    streamed = httpx.post(
        f"{shop.collector.url}/v1/batch",
        content=(b" " * 65_536 for _ in range(20)),
        headers={"Authorization": f"Bearer {shop.key}"},
    )
    assert streamed.status_code == 413
    for wrong in (b"", b"{", b"[]", b'{"batch": 1}', b'{"batch": [], "other": 1}', b"\xff\xfe{", b"NaN", b"[" * 5000):
        assert send(wrong) == 400
    assert send({"batch": []}) == 200
    assert shop.counts()[0] == 0


HOSTILE = [
    (b'{"type":"track","messageId":"h","event":"\\u0000","userId":"c"}', "event holds a character"),
    (b'{"type":"track","messageId":"h","event":"\\ud800","userId":"c"}', "event holds a character"),
    (b'{"type":"track","messageId":"\\u0000","event":"e","userId":"c"}', "messageId holds a character"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"p":"a\\u0000"}}', "NUL"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"a\\u0000":1}}', "NUL"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"p":"\\udc00"}}', "half of a character"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"p":1e999}}', "too large"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"p":' + b"9" * 5000 + b"}}", "too large"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":' + b'{"p":' * 40 + b"1" + b"}" * 41,
     "nests deeper"),
    (b'{"type":"track","messageId":"h400","event":"e","userId":"c","properties":' + b'{"p":' * 400 + b"1" + b"}" * 401,
     "nests deeper"),
    (b'{"type":"track","messageId":"h","event":"e","userId":42}', "userId is no text"),
    (b'{"type":"track","messageId":"h","event":"e","userId":""}', "userId is no text, or empty"),
    (b'{"type":"track","messageId":7,"event":"e","userId":"c"}', "messageId is no text"),
    (b'{"type":"track","event":"e","userId":"c"}', "messageId is missing"),
    (b'{"type":"page","messageId":"h","userId":"c"}', "type is none of"),
    (b'{"type":["track"],"messageId":"h","userId":"c"}', "type is none of"),
    (b'{"type":"track","messageId":"h","event":"e"}', "userId or anonymousId is missing"),
    (b'{"type":"identify","messageId":"h","anonymousId":"a"}', "userId is missing"),
    (b'{"type":"alias","messageId":"h","userId":"c"}', "previousId is missing"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":[1]}', "properties is no object"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","context":"x"}', "context is no object"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","traits":{}}', "traits belong to identify"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","propertys":{}}', "no field 'propertys'"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","timestamp":"0000-01-01T00:00:00Z"}', "is no time"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","timestamp":"2026-01-01T00:00:00"}', "time zone"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","timestamp":1767225600}', "is no time"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","timestamp":"0001-01-01T00:00:00+14:00"}', "calendar"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","timestamp":"1969-12-31T00:00:00Z"}', "before 1970"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","originalTimestamp":"0001-01-01T00:00:00Z",'
     b'"sentAt":"9999-12-31T00:00:00Z"}', "before 1970"),
    (b'{"type":"track","messageId":"h","event":"e","userId":"c","properties":{"p":"' + b"x" * 33_000 + b'"}}', "bytes"),
    (b'{"type":"track","messageId":"' + b"h" * 201 + b'","event":"e","userId":"c"}', "200 characters"),
    (b"null", "no object"),
    (b"[[]]", "no object"),
]  # fmt: skip


@pytest.fixture
def hostile_verdicts(shop: Shop) -> list[dict[str, Any]]:
    body = b'{"batch":[' + b",".join(event for event, _ in HOSTILE) + b"," + json.dumps(viewed("good")).encode() + b"]}"
    answer = shop.collector.post("/v1/batch", body, shop.key)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["events"])


def test_hostile_events_are_rejected_one_by_one_and_kept_with_the_reason(
    shop: Shop, hostile_verdicts: list[dict[str, Any]]
) -> None:
    *hostile, good = hostile_verdicts
    for (event, reason), verdict in zip(HOSTILE, hostile, strict=True):
        assert verdict["verdict"] == "rejected", event[:200]
        assert reason in verdict["reason"], event[:200]
    assert good == {"messageId": "mgood", "verdict": "ok"}
    assert shop.counts() == (len(HOSTILE) + 1, 1, 0, len(HOSTILE), 0)
    assert len(shop.rows("select from raw.rejected_records")) == len(HOSTILE)


def test_a_time_to_come_is_no_later_than_the_arrival(shop: Shop) -> None:
    far = "9999-12-31T23:59:59.999999Z"
    assert shop.send(viewed(1, timestamp=far), viewed(2, originalTimestamp=far, sentAt="2020-01-01T00:00:00Z"))
    assert shop.rows("select occurred_at = received_at from raw.tracked_events") == [(True,), (True,)]


def test_who_sends_too_fast_is_told_when_to_come_again(shop: Shop) -> None:
    key = shop.another_key(events_per_second=10)
    batch = {"batch": [viewed(number) for number in range(400)]}
    assert shop.collector.post("/v1/batch", batch, key).status_code == 200
    answer = shop.collector.post("/v1/batch", batch, key)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 40
    assert {event["verdict"] for event in answer.json()["events"]} == {"retry"}


def test_a_stop_commits_what_was_taken_and_the_log_names_no_event_and_no_key(shop: Shop) -> None:
    shop.send(viewed("secretmark", event="secretmark", properties={"p": "secretmark"}))
    shop.collector.post("/v1/batch", b'{"secretmark"', shop.key)
    started = time.monotonic()
    assert shop.collector.kill(signal.SIGTERM) == 0
    assert time.monotonic() - started < 15
    log = shop.collector.log.read_text()
    assert "secretmark" not in log
    assert shop.key not in log
    assert len(shop.rows("select from raw.tracked_events")) == 1
