"""Which features may look ahead is read from lineage and SQL, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.development.rule_of_time import columns_that_read, find_peeks, models_that_know_by_date


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("select customer_id, seats, cancelled_at - now() as leaves_in from stg", {"seats", "leaves_in"}),
        (
            "select a.seats, s.cancelled_at as gone from known as a join stg as s on s.customer_id = a.customer_id",
            {"gone"},
        ),
        (
            "with later as (select customer_id, count(*) as future from stg where opened_at > now() group by 1),"
            " figures as (select known.*, later.future, later.future * 2 as twice from known"
            " left join later on known.customer_id = later.customer_id)"
            " select customer_id, as_of_date, seats, future, twice as doubled from figures",
            {"future", "doubled"},
        ),
        (
            "with figures as (select known.*, f.* from known left join lateral ("
            "select count(*) as tickets, max(opened_at) as last_at from stg where stg.customer_id = known.customer_id"
            ") as f on true) select customer_id, seats, tickets, last_at, last_at is null as has_none from figures",
            {"tickets", "last_at", "has_none"},
        ),
        (
            "select seats, (select max(s.paid_at) from stg s where s.customer_id = k.customer_id) as paid from known k",
            {"paid"},
        ),
        (
            "select seats, exists (select from stg where stg.customer_id = k.customer_id) as is_there from known k",
            {"is_there"},
        ),
        (
            "select k.seats, k.plan from known k where exists (select 1 from stg where stg.customer_id = k.customer_id"
            " and stg.cancelled_at is null)",
            {"seats", "plan"},
        ),
        (
            "with figures as (select known.*, f.* from known left join lateral (select count(*) as tickets,"
            " (select min(stg.gone_at) from stg where stg.customer_id = known.customer_id) as leaves_at"
            " from tickets where tickets.customer_id = known.customer_id) as f on true)"
            " select seats, tickets, leaves_at, count(*) over (partition by plan) as peers from figures",
            {"leaves_at"},
        ),
        (
            "with later as (select * from stg), figures as (select known.*, later.gone_at from known"
            " inner join later on known.customer_id = later.customer_id)"
            " select seats, count(*) over (partition by plan) as peers from figures",
            {"peers"},
        ),
        ("select seats from known", set()),
        (
            "with later as (select * from stg), figures as (select known.*, later.cancelled_at from known"
            " left join later on known.customer_id = later.customer_id),"
            " wider as (select *, cancelled_at - now() as leaves_in, seats * 2 as twice from figures)"
            " select customer_id, leaves_in, twice, row_number() over (order by leaves_in) as place from wider",
            {"leaves_in", "place"},
        ),
        ("with later as (select * from stg) select cancelled_at from later", {"cancelled_at"}),
        ("select * from stg", {"*"}),
        ("select k.seats from known k join stg on stg.customer_id = k.customer_id", set()),
        (
            "with both_kinds as (select customer_id, amount from known union all select customer_id, amount from stg)"
            " select customer_id, sum(amount) as total, count(*) as rows_seen from both_kinds group by 1",
            {"total", "rows_seen"},
        ),
        (
            "with later as (select customer_id from stg where opened_at > now())"
            " select k.seats, later.customer_id is not null as has_later from known k"
            " left join later on later.customer_id = k.customer_id",
            {"has_later"},
        ),
        (
            "select k.seats, k.plan from known k left join stg on stg.customer_id = k.customer_id"
            " where stg.customer_id is null",
            {"seats", "plan"},
        ),
    ],
)
def test_columns_that_rest_on_a_relation_are_named(query: str, columns: set[str]) -> None:
    assert columns_that_read(query, "stg") == columns


def _node(name: str, parents: list[str], *, knows: bool = False, features: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "package_name": "ours",
        "original_file_path": f"models/{name}.sql",
        "depends_on": {"nodes": parents},
        "config": {"meta": {"knows_by_date": True} if knows else {}},
        "columns": {feature: {"meta": {"feature": {"label": feature}}} for feature in features},
    }


def manifest(mart_reads: list[str]) -> dict[str, Any]:
    source = {"resource_type": "source", "name": "tickets", "source_name": "crm", "columns": {}}
    settings = {"resource_type": "source", "name": "companies", "source_name": "ops", "columns": {}}
    return {
        "sources": {"source.ours.crm.tickets": source, "source.ours.ops.companies": settings},
        "nodes": {
            "model.ours.stg": _node("stg", ["source.ours.crm.tickets"]),
            "model.ours.int_as_known": _node("int_as_known", ["model.ours.stg"], knows=True),
            "model.ours.clocks": _node("clocks", ["source.ours.ops.companies"]),
            "model.ours.int_later": _node("int_later", ["model.ours.stg", "model.ours.int_as_known"]),
            "model.ours.mart": _node("mart", mart_reads, features=("good", "bad")),
            "model.ours.other_mart": _node("other_mart", ["model.ours.mart"], features=("rest",)),
        },
    }


@pytest.mark.parametrize(
    ("mart_reads", "through"),
    [
        (["model.ours.int_as_known", "model.ours.clocks"], None),
        (["model.ours.int_as_known", "model.ours.stg"], "stg"),
        (["model.ours.int_as_known", "model.ours.int_later"], "int_later"),
        (["model.ours.int_as_known", "source.ours.crm.tickets"], "tickets"),
    ],
)
def test_every_way_to_the_records_leads_through_a_model_that_knows_by_date(
    mart_reads: list[str], through: str | None, tmp_path: Path
) -> None:
    (tmp_path / "ours" / "models").mkdir(parents=True)
    (tmp_path / "ours" / "models" / "mart.sql").write_text(
        f"select k.customer_id, k.x as good, l.y as bad from int_as_known k left join {through or 'clocks'} l on true"
    )
    peeks = find_peeks(manifest(mart_reads), tmp_path)
    assert [(peek.mart, peek.features, peek.relation) for peek in peeks] == (
        [("mart", ("bad",), through)] if through else []
    )


def test_a_mart_that_cannot_be_read_counts_as_a_whole(tmp_path: Path) -> None:
    (peek,) = find_peeks(manifest(["model.ours.stg"]), tmp_path)
    assert peek.features == ("good", "bad")


def test_a_model_that_knows_by_date_says_so() -> None:
    assert models_that_know_by_date(manifest([])) == {"int_as_known"}
