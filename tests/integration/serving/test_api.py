"""What the API answers: the contract's numbers, pages that belong together, the feed, figures, problems."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.integration.conftest import TwoCompanies
from tests.integration.serving.conftest import Asker
from tests.integration.serving.served import Served

pytestmark = pytest.mark.xdist_group("two_companies")

PROBLEM = "application/problem+json"


def test_a_customers_score_is_what_the_contract_says_of_it(
    askers: tuple[Asker, Asker], two_companies: TwoCompanies
) -> None:
    for asker in askers:
        with two_companies.login(asker.company_id) as mine:
            columns = "churn_probability, risk_level, percentile, reasons, horizon_curve, model_version"
            (customer, *expected) = mine.execute(
                f"select customer_id, {columns} from predictions.churn_current order by customer_id limit 1"  # type: ignore[call-overload]
            ).fetchone()
        answer = asker.client.get(f"/v1/customers/{customer}/scores/churn")
        assert answer.status_code == 200
        told = answer.json()["score"]
        names = ("probability", "risk_level", "percentile", "reasons", "horizon_curve", "model_version")
        assert [told[name] for name in names] == expected
        with two_companies.login(asker.company_id) as mine:
            decided = mine.execute(
                "select action, is_control, net_value, value_segment from predictions.decisions_current"
                " where customer_id = %s",
                [customer],
            ).fetchone()
        decision = answer.json()["decision"]
        assert tuple(decision[name] for name in ("action", "is_control", "net_value", "value_segment")) == decided
        assert asker.client.get(f"/v1/customers/{customer}/scores/support").json()["decision"] is None
        grades = answer.json()["grading_record"]
        assert [(grade["is_replayed"], grade["outcomes"]) for grade in grades] == [(False, 2), (True, 1)]
        scores = asker.client.get(f"/v1/customers/{customer}/scores").json()["scores"]
        assert scores.keys() == {"churn", "support"}
        history = asker.client.get(f"/v1/customers/{customer}/scores/churn/history").json()["scores"]
        assert [score["probability"] for score in history] == [0.25, 0.6]


@pytest.mark.parametrize("sort", ["-probability", "probability", "customer_id"])
def test_pages_hold_every_score_of_the_set_once(
    askers: tuple[Asker, Asker], two_companies: TwoCompanies, sort: str
) -> None:
    asker = askers[0]
    seen, cursor, pages = [], None, 0
    while True:
        asked = {"limit": "2", "sort": sort} | ({"cursor": cursor} if cursor else {})
        page = asker.client.get("/v1/scores/churn", params=asked).json()
        seen += [score["customer_id"] for score in page["scores"]]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            break
    assert (sorted(seen), pages) == (asker.customers, 2)


def test_filters_leave_out_what_is_not_asked_for(askers: tuple[Asker, Asker]) -> None:
    client = askers[0].client
    for asked, scores in (
        ({"risk_level": "high"}, 3),
        ({"risk_level": "low"}, 0),
        ({"min_probability": "0.25"}, 3),
        ({"min_probability": "0.26"}, 0),
        ({"max_probability": "0.24"}, 0),
        ({"evidence_level": "rule"}, 0),
    ):
        assert len(client.get("/v1/scores/churn", params=asked).json()["scores"]) == scores, asked


def test_a_cursor_is_good_for_its_question_alone_and_nothing_of_it_is_trusted(askers: tuple[Asker, Asker]) -> None:
    client = askers[0].client
    cursor = client.get("/v1/scores/churn", params={"limit": 1}).json()["next_cursor"]
    for asked in (
        {"cursor": cursor, "sort": "probability"},
        {"cursor": cursor, "risk_level": "high"},
        {"cursor": cursor[:-4]},
        {"cursor": "e30"},
        {"cursor": "***"},
        {"cursor": "é"},
    ):
        answer = client.get("/v1/scores/churn", params=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM), asked
    assert client.get("/v1/scores/support", params={"cursor": cursor}).status_code == 400
    # The cursor of one company leads another nowhere but to its own rows.
    theirs = askers[1].client.get("/v1/scores/churn", params={"cursor": cursor, "limit": 1})
    assert theirs.status_code in {200, 410}


def test_the_feed_over_http_ends_with_what_sql_ends_with(
    askers: tuple[Asker, Asker], two_companies: TwoCompanies
) -> None:
    for asker in askers:
        cursor, changes = 0, []
        while True:
            page = asker.client.get("/v1/changes/churn", params={"since": cursor, "limit": 2}).json()
            changes += page["changes"]
            cursor = page["next_cursor"]
            if not page["has_more"]:
                break
        with two_companies.login(asker.company_id) as mine:
            expected = mine.execute(
                "select change_id, customer_id, churn_probability from predictions.churn_changes order by 1"
            ).fetchall()
        assert [(row["change_id"], row["customer_id"], row["probability"]) for row in changes] == expected
        assert asker.client.get("/v1/changes/churn", params={"since": cursor}).json() == {
            "changes": [],
            "next_cursor": cursor,
            "has_more": False,
        }


def test_the_feed_streams_and_goes_on_from_the_last_event(askers: tuple[Asker, Asker]) -> None:
    def events(last: int | None, count: int) -> list[int]:
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        ids = []
        with askers[0].client.stream("GET", "/v1/changes/churn/stream", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    ids.append(int(line.removeprefix("id: ")))
                if line.startswith("data: "):
                    assert json.loads(line.removeprefix("data: "))["change_id"] == ids[-1]
                    if len(ids) == count:
                        return ids
        return ids

    everything = events(None, 6)
    assert events(everything[3], 2) == everything[4:]


def test_metrics_come_with_their_definitions(askers: tuple[Asker, Asker]) -> None:
    client = askers[0].client
    metrics = client.get("/v1/metrics").json()["metrics"]
    assert len(metrics) == 15
    assert all(metric["definition"] and metric["population"] for metric in metrics)
    for metric in metrics:
        series = client.get(f"/v1/metrics/{metric['name']}").json()
        assert series["metric"] == metric
        assert series["points"], metric["name"]
        last = series["points"][-1]
        assert last["dimensions"].keys() == set(metric["dimensions"])
        narrowed = client.get(f"/v1/metrics/{metric['name']}", params={"from": last["period"]}).json()["points"]
        assert {point["period"] for point in narrowed} == {last["period"]}
    assert client.get("/v1/metrics/nonsense").status_code == 404


def test_the_health_of_a_model_has_its_record_its_history_and_its_drift(askers: tuple[Asker, Asker]) -> None:
    told = askers[0].client.get("/v1/models/churn").json()
    assert told["published"]["scores"] == 3
    assert {event["event"] for event in told["events"]} >= {"first", "rolled_back"}
    assert [row["feature"] for row in told["drift"]] == ["seats"]
    assert len(told["grading_record"]) == 2


def test_every_refusal_is_a_problem(askers: tuple[Asker, Asker], served: Served) -> None:
    client = askers[0].client
    nobody = served.client()
    answers = {
        "no-such-page": (client.get("/nonsense"), 404),
        "no-such-method": (client.delete("/v1/tasks"), 405),
        "no-key": (nobody.get("/v1/tasks"), 401),
        "no-task": (client.get("/v1/scores/nonsense"), 404),
        "no-customer": (client.get("/v1/customers/nobody/scores/churn"), 404),
        "not-a-number": (client.get("/v1/scores/churn", params={"limit": "many"}), 422),
        "nul": (client.get("/v1/customers/%00/scores/churn"), 422),
        "not-json": (client.post("/v1/customers/x/scores/churn/score", content=b"{", headers=JSON), 400),
        "not-an-object": (client.post("/v1/customers/x/scores/churn/score", json=[1]), 422),
        "stranger-in-body": (client.post("/v1/customers/x/scores/churn/score", json={"sql": "x"}), 422),
        "megabyte": (client.post("/v1/customers/x/scores/churn/score", content=b"x" * 2**20, headers=JSON), 413),
        "megabyte-in-pieces": (
            client.post("/v1/customers/x/scores/churn/score", content=(b"x" * 1024 for _ in range(1024))),
            413,
        ),
    }
    for name, (answer, status) in answers.items():
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), (name, answer.text)
        assert answer.json()["status"] == status
        assert answer.headers["X-Request-ID"]
    nobody.close()


JSON = {"Content-Type": "application/json"}


def test_a_client_that_holds_an_answer_gets_304_and_a_large_one_is_compressed(askers: tuple[Asker, Asker]) -> None:
    client = askers[0].client
    answer = client.get("/v1/scores/churn")
    assert answer.headers["Content-Encoding"] == "gzip"
    tag = answer.headers["ETag"]
    again = client.get("/v1/scores/churn", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert client.get("/v1/scores/churn", headers={"If-None-Match": 'W/"other"'}).status_code == 200
    plain = client.get("/v1/scores/churn", headers={"Accept-Encoding": "identity"})
    assert ("Content-Encoding" in plain.headers, plain.json()) == (False, answer.json())
    named = client.get("/v1/tasks", headers={"X-Request-ID": "mine-1"})
    assert (named.headers["X-Request-ID"], named.headers["API-Version"]) == ("mine-1", "1")
    assert client.get("/v1/tasks", headers={"X-Request-ID": "two words"}).headers["X-Request-ID"] != "two words"


def test_health_needs_no_key_and_tells_nothing(served: Served) -> None:
    for path in ("/health/live", "/health/ready"):
        assert httpx.get(f"{served.address}{path}", trust_env=False).json() == {"status": "ok"}
