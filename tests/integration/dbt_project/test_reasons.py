"""The words of a reason are the same in SQL, by the project's macro, as in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jinja2
import psycopg
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from ml_assets.scoring.reasons import Reason
from pipeline.prediction.tasks import TASKS, task_named
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, warehouse_for_a_module

NOUN = task_named("churn").task.outcome_noun
LABELS = (
    "Days since the last payment",
    "Tickets open now",
    "High or urgent tickets opened in the last 90 days",
    "Payments late in the last 90 days",
    "Price falls in the last year",
    "NPS answers in the last year",
    "Average payment of the last year",
    "Silence against the usual days between payments",
    "Share of tickets of high priority",
    "Longest time to resolve a ticket in business hours",
    "What most tickets are about",
    "Plan",
    "Status",
    "Churn analysis",
    "Open",
    "In the last year: days",
    "Événements des 30 derniers jours",
    "Days In The Last Year",
)
UNITS = (
    "days",
    "tickets",
    "payments",
    "answers",
    "falls",
    "événements",
    "EUR",
    "share",
    "share per week",
    "shares",
    "times",
    "days late",
    "business hours",
    "customer's currency",
    "1 to 5",
    "s",
    "",
)
PREPOSITIONS = ["added", "against", "as", "for", "in", "now", "of", "open", "overdue", "since", "until", "with"]
WORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=9)
PARTS_OF_LABELS = WORDS | st.sampled_from(UNITS[:6]) | st.sampled_from([*PREPOSITIONS, "Now", "Open", "offer"])
NUMBERS = (
    st.integers(-3, 1500).map(float)
    | st.integers(-200_000, 200_000).map(lambda thousandths: thousandths / 1000)
    | st.integers(-9999, 9999).map(lambda small: small / 1e6)
    | st.floats(-3e38, 3e38, allow_subnormal=False)
    | st.sampled_from([0.0, -0.0, 1.0, 0.5, 0.005, 0.015, 0.00145, 9.995, 9.996, 12.25, 12.35, 99.95, 99.96, 100.5])
)
VALUES = st.none() | NUMBERS | st.booleans() | st.sampled_from(["pro", "", "100%", 'say "hi"', "für Ωmega"])
REASONS = st.builds(
    Reason,
    feature=st.sampled_from(["days", "days", "days", "other"]),
    label=st.sampled_from(LABELS) | st.lists(PARTS_OF_LABELS, min_size=1, max_size=6).map(" ".join),
    value=VALUES,
    usual=VALUES,
    unit=st.sampled_from(UNITS) | WORDS,
    family=st.just("tickets"),
    contribution=st.sampled_from([0.25, -0.25, 0.0]),
    published_text=st.sampled_from([None, None, None, "In older words (raises the risk)"]),
)


def named(label: str, unit: str, value: Any, usual: Any = None, contribution: float = 0.5) -> Reason:
    return Reason("days", label, value, usual, unit, "tickets", contribution)


CASES = [
    named("Tickets open now", "tickets", 1.0, 0.0),
    named("Tickets open now", "tickets", -0.0, 0.0),
    named("Tickets open now", "tickets", None, 0.0),
    named("Days as a customer", "days", 1234567.0, 1e22),
    named("Average payment of the last year", "EUR", 1250.55, 118.49),
    named("Average payment of the last year", "EUR", 118.2, 118.4),
    named("Monthly price", "customer's currency", 10.0),
    named("Relative change", "share per week", -0.255, 0.001),
    named("Share of revenue refunded", "share", 12.5, -0.001),
    named("Plan", "name", "pro", "basic"),
    named("Pays late", "yes or no", True, False),
    named("Change", "", 0.000123, -0.00001),
    named("Longest business hours", "business hours", 3.0),
    *(named(f"Total {preposition} payments", "payments", 3.0) for preposition in PREPOSITIONS),
    *(named(f"Total {preposition.title()} payments", "payments", 3.0) for preposition in PREPOSITIONS),
]


@pytest.fixture(scope="module")
def connection(postgres: TestServer, template_database: str) -> Iterator[psycopg.Connection[Any]]:
    with warehouse_for_a_module(postgres, template_database) as warehouse, warehouse.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def query() -> bytes:
    macros: Any = jinja2.Template((PROJECT / "macros" / "reasons.sql").read_text()).module
    return f"""
        select {macros.reason_fact("reason.body")}, {macros.reason_effect("reason.body", NOUN)}
        from published
        cross join lateral jsonb_array_elements(published.reasons) with ordinality as reason (body, place)
        order by reason.place
    """.encode()


def test_what_a_task_s_reasons_raise_is_called_the_same_in_python_in_dbt_and_on_the_dashboard() -> None:
    nouns = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["outcome_nouns"]
    assert nouns == {binding.name: binding.task.outcome_noun for binding in TASKS}
    card = yaml.safe_load((PROJECT.parent / "dashboards" / "customer" / "reasons.yaml").read_text())
    coloured = {each["value"] for each in card["visualization_settings"]["table.column_formatting"]}
    assert coloured == {named("Plan", "", "pro", contribution=part).effect(NOUN) for part in (0.5, -0.5)}


def published(reason: Reason) -> dict[str, Any]:
    """As scoring publishes it, or, where it has a text of its own, as older releases did."""
    parts = {name: getattr(reason, name) for name in ("feature", "label", "value", "unit", "family", "contribution")}
    if reason.published_text is not None:
        return parts | {"text": reason.published_text}
    return parts | {"usual": reason.usual, "direction": reason.direction, "text": reason.sentence(NOUN)}


@settings(max_examples=300)
@example(CASES)
@given(st.lists(REASONS, min_size=1, max_size=40))
def test_any_reason_has_the_same_words_in_sql_as_in_python(
    connection: psycopg.Connection[Any], query: bytes, reasons: list[Reason]
) -> None:
    connection.execute("create temp table if not exists published (reasons jsonb)")
    connection.execute("truncate published")
    connection.execute("insert into published values (%s)", [Jsonb([published(reason) for reason in reasons])])
    # Without parameters, for the macro's SQL holds the operator %.
    assert connection.execute(query).fetchall() == [(reason.fact, reason.effect(NOUN)) for reason in reasons]
