"""Who may ask what: keys, other companies, allowances, and what the log keeps to itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from foundation.keys import Key, prefix_of
from tests.integration.conftest import TwoCompanies
from tests.integration.serving.conftest import Asker
from tests.integration.serving.served import Served
from warehouse.companies.api_keys import CONNECTIONS, access_by, revoke_key
from warehouse.roles import Role, company_login, company_logins

pytestmark = pytest.mark.xdist_group("two_companies")


def _without_id(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    own = {"x-request-id", "date", "ratelimit"}
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k not in own}


def test_no_key_a_wrong_one_and_one_that_is_over_get_the_same_answer(
    served: Served, askers: tuple[Asker, Asker]
) -> None:
    revoked, expired = served.key(askers[0].slug), served.key(askers[0].slug)
    with served.warehouse.connect() as connection:
        revoke_key(connection, prefix_of(revoked), "tests")
        connection.execute(
            "update ops.api_keys set created_at = now() - interval '2 days', expires_at = now() - interval '1 day'"
            " where key_prefix = %s",
            [prefix_of(expired)],
        )
    wrong = f"{prefix_of(askers[0].key)}_{'0' * 64}"
    shown: list[str | None] = [None, "nonsense", wrong, Key.draw("churn").text, revoked, expired, "x" * 5_000]
    answers = []
    for key in shown:
        with served.client(key) as client:
            answers.append(_without_id(client.get("/v1/tasks")))
    assert [answer for answer in answers if answer != answers[0]] == []
    assert (answers[0][0], answers[0][2]["www-authenticate"]) == (401, "Bearer")
    basic = httpx.get(f"{served.address}/v1/tasks", auth=("churn", askers[0].key), trust_env=False)
    assert _without_id(basic) == answers[0]


@pytest.fixture
def their_customer(served: Served, askers: tuple[Asker, Asker]) -> Iterator[str]:
    """A customer with published scores that the second company has and the first has not."""
    company_id, name = askers[1].company_id, "theirs-alone"
    tables = ("predictions.churn_scores_v1", "predictions.support_scores_v1", "analytics.customer_overview")
    with served.warehouse.connect() as connection:
        for table in tables:
            connection.execute(
                f"insert into {table} select (jsonb_populate_record(rows, %s)).* from {table} as rows"  # type: ignore[call-overload]
                " where company_id = %s and customer_id = %s",
                [Jsonb({"customer_id": name}), company_id, askers[1].customers[0]],
            )
    yield name
    with served.warehouse.connect() as connection:
        for table in tables:
            connection.execute(f"delete from {table} where customer_id = %s", [name])  # type: ignore[call-overload]


def test_anothers_customer_is_answered_as_one_that_nobody_has(askers: tuple[Asker, Asker], their_customer: str) -> None:
    mine, theirs = askers
    other = their_customer
    assert theirs.client.get(f"/v1/customers/{other}/scores/churn").status_code == 200
    for path in ("scores", "scores/churn", "scores/churn/history"):
        known, unknown = (mine.client.get(f"/v1/customers/{name}/{path}") for name in (other, "nobody"))
        assert known.status_code == 404
        assert _without_id(known) == _without_id(unknown)
    known, unknown = (mine.client.post(f"/v1/customers/{name}/scores/churn/score") for name in (other, "nobody"))
    assert known.status_code == 404
    assert _without_id(known) == _without_id(unknown)


def test_another_companys_customer_takes_as_long_as_nobody(askers: tuple[Asker, Asker], their_customer: str) -> None:
    """Medians of a hundred each, by turns: both are one search of an index under the same policy."""
    other = their_customer
    took: dict[str, list[float]] = {other: [], "nobody": []}
    for _ in range(100):
        for name, seconds in took.items():
            began = time.perf_counter()
            askers[0].client.get(f"/v1/customers/{name}/scores/churn")
            seconds.append(time.perf_counter() - began)
    theirs, nobodys = (statistics.median(seconds) for seconds in took.values())
    assert 0.7 < theirs / nobodys < 1.4


def test_a_key_without_the_scope_may_not_score(served: Served, askers: tuple[Asker, Asker]) -> None:
    with served.client(served.key(askers[0].slug, "read")) as client:
        assert client.get("/v1/tasks").status_code == 200
        assert client.post(f"/v1/customers/{askers[0].customers[0]}/scores/churn/score").status_code == 403


def test_a_revoked_key_is_over_with_the_next_request(served: Served, askers: tuple[Asker, Asker]) -> None:
    key = served.key(askers[0].slug)
    with served.client(key) as client:
        assert client.get("/v1/scores/churn").status_code == 200
        with served.warehouse.connect() as connection:
            revoke_key(connection, prefix_of(key), "tests")
            logins = company_logins(connection, askers[0].company_id)
        assert client.get("/v1/scores/churn").status_code == 401
    assert f"company_{askers[0].company_id}_key_{prefix_of(key).rpartition('_')[2]}" not in logins


def test_three_times_the_limit_lets_the_limit_through(served: Served, askers: tuple[Asker, Asker]) -> None:
    limit = 60
    with served.client(served.key(askers[0].slug, per_minute=limit)) as client, ThreadPoolExecutor(8) as threads:
        began = time.monotonic()
        answers = list(threads.map(lambda _: client.get("/v1/tasks"), range(3 * limit)))
        back_since = (time.monotonic() - began) * limit / 60
    let_through = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(let_through) + len(refused) == 3 * limit
    assert limit <= len(let_through) <= limit + back_since + 1
    for answer in answers:
        assert answer.headers["RateLimit-Policy"] == f'"key";q={limit};w=60'
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert {answer.headers["RateLimit"].split(";")[1] for answer in refused} == {"r=0"}
    # The other company's allowance is its own.
    assert askers[1].client.get("/v1/tasks").status_code == 200


def test_the_login_of_a_key_becomes_nobody_else_and_reads_its_own_rows_alone(
    served: Served, askers: tuple[Asker, Asker], two_companies: TwoCompanies
) -> None:
    """What SQL smuggled into a request could do: it runs as this login, whatever it says."""
    mine, theirs = askers
    with served.warehouse.connect(Role.api, autocommit=True) as desk:
        access = access_by(desk, mine.key)
    assert access is not None
    address = make_conninfo(served.warehouse.url("postgresql"), user=access.login, password=access.password)
    with psycopg.connect(address, autocommit=True) as connection:
        for escape in ("reset role", "reset session authorization", "set role none", "set row_security = on"):
            connection.execute(escape)
        for other in (company_login(theirs.company_id, Role.company), "churn_company", "churn_api", "churn_owner"):
            with pytest.raises(psycopg.Error):
                connection.execute(f"set role {other}")  # type: ignore[call-overload]
        for relation in ("predictions.churn_scores", "predictions.churn_changes", "analytics.customer_overview"):
            rows = connection.execute(f"select distinct company_id from {relation}").fetchall()  # type: ignore[call-overload]
            assert rows == [(mine.company_id,)]
        for closed in ("ops.api_keys", "ops.companies", "features.churn_feature_matrix", "raw.customers", "ml.grades"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select from {closed}")  # type: ignore[call-overload]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("create temporary table mine (id int)")
        (limit,) = connection.execute("select rolconnlimit from pg_roles where rolname = current_user").fetchone() or (
            0,
        )
    assert limit == CONNECTIONS


def test_the_desk_reads_keys_and_nothing_else(served: Served) -> None:
    with served.warehouse.connect(Role.api, autocommit=True) as desk:
        for statement in (
            "select from raw.customers",
            "select from predictions.churn_scores_v1",
            "select from analytics.customer_overview",
            "select source_secret from ops.companies",
            "insert into ops.api_keys default values",
            "update ops.api_keys set expires_at = now()",
            "delete from ops.api_use",
        ):
            with pytest.raises(psycopg.Error):
                desk.execute(statement)  # type: ignore[call-overload]


def test_no_key_stands_in_the_log_or_in_the_warehouse(served: Served, askers: tuple[Asker, Asker]) -> None:
    secret = askers[0].key.rpartition("_")[2]
    askers[0].client.get("/v1/tasks")
    askers[0].client.get("/v1/scores/churn", params={"limit": askers[0].key})
    askers[0].client.get(f"/v1/customers/{askers[0].key}/scores/churn")
    askers[0].client.get(f"/{askers[0].key}")
    time.sleep(0.2)
    log = served.log.read_text()
    assert "GET /v1/tasks 200" in log
    assert f"key={prefix_of(askers[0].key)}" in log
    assert secret not in log
    with served.warehouse.connect() as connection:
        rows = connection.execute(
            "select note || encode(digest, 'hex') from ops.api_keys union all"
            " select coalesce(before::text, '') || coalesce(after::text, '') from ops.audit_log"
        ).fetchall()
    assert [row for (row,) in rows if secret in row] == []


def test_a_key_says_when_it_was_last_used(served: Served, askers: tuple[Asker, Asker]) -> None:
    before = datetime.now(UTC)
    askers[0].client.get("/v1/tasks")
    with served.warehouse.connect() as connection:
        (used,) = connection.execute(
            "select used_at from ops.api_use where key_prefix = %s", [prefix_of(askers[0].key)]
        ).fetchone() or (None,)
    assert used is not None
    assert used >= before
