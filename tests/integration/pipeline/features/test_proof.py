"""The rule of time, column by column, on thousands of generated histories; and that the proof catches who peeks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.prediction.tasks import TASKS
from tests.conftest import TestServer
from tests.integration.crm_changes import change_what_was_known_from
from tests.integration.crm_history import END, FIRST_LOAD, History, generate
from tests.integration.dbt_project.compiled_project import CompiledProject, Rows, moved_columns
from tests.integration.dbt_project.dbt_runs import DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import record_load, register_companies

pytestmark = pytest.mark.xdist_group("feature_proof")

LABELS = "churn_labels"
ALL_LABELS = tuple(binding.relations.labels.name for binding in TASKS)
LEAKING = "leaking_features"
BY_ITSELF = "churn_population"
"""Keeps the rule itself: test_silence_as_time_goes_by.py builds it load by load and once for all, and compares."""
LEAKS = {
    "plan_of_today": "the current state in place of the one that was known",
    "seats_known_too_late": "versions by when they ended, not by when they began",
    "tickets_ever_resolved": "an event that lies ahead",
    "tickets_whenever_known": "when a thing happened, not when it was known",
    "has_churned": "the label",
}
MOMENTS = [
    datetime(year, month, 1, tzinfo=UTC) for year, month in ((2024, 9), (2025, 1), (2025, 4), (2025, 6), (2025, 7))
]
SECOND_LOAD = datetime(2025, 5, 20, 9, tzinfo=UTC)
EXAMPLES = settings(max_examples=60, suppress_health_check=list(HealthCheck))
FEWER = settings(EXAMPLES, max_examples=40)
FEW = settings(EXAMPLES, max_examples=8)


@dataclass
class World:
    """The compiled project in a warehouse with three companies, one of each kind of churn."""

    project: CompiledProject
    connection: psycopg.Connection[Any]
    company_ids: list[int]
    dbt: DbtRuns

    def periods(self) -> list[tuple[int, date]]:
        """The grid as it stands."""
        grid = "select company_id, as_of_date from intermediate.int_as_of_dates order by 1, 2"
        return self.connection.execute(grid).fetchall()

    def build(self, history: History, *relations: str, known_before: datetime | None = None) -> dict[str, Rows]:
        """What these relations hold when everything is built from that history."""
        with self.connection.transaction(force_rollback=True):
            history.add(self.connection, known_before)
            with self.project.built(*relations) as rows:
                return rows


@pytest.fixture(scope="module")
def world(postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dbt")
    with warehouse_for_a_module(postgres, template_database) as warehouse, warehouse.connect() as connection:
        warehouse.write_dbt_profile(folder)
        project = copy_project(folder / "project")
        _plant_leaks(project)
        dbt = DbtRuns(project, folder)
        company_ids = register_companies(connection, now=SECOND_LOAD, first_load=FIRST_LOAD, with_downgrades=True)
        for company_id in company_ids:
            record_load(connection, company_id, END, is_backfill=False)
        connection.commit()
        yield World(CompiledProject(dbt, connection), connection, company_ids, dbt)


def _plant_leaks(project: Path) -> None:
    query = """
        select
            customers.company_id,
            customers.customer_id,
            customers.as_of_date,
            min(current_customers.plan_name) as plan_of_today,
            max(versions.seats) as seats_known_too_late,
            count(distinct tickets.ticket_id) filter (
                where tickets.resolved_date is not null
                and tickets.known_from < customers.as_of_date
                and tickets.known_to >= customers.as_of_date
            )::integer as tickets_ever_resolved,
            count(distinct tickets.ticket_id)
                filter (where tickets.opened_date < customers.as_of_date)::integer as tickets_whenever_known,
            bool_or(labels.is_churned) as has_churned
        from {{ ref('customer_features') }} as customers
        left join {{ ref('stg_crm__customers') }} as current_customers using (company_id, customer_id)
        left join {{ ref('int_customers__intervals') }} as versions
            on customers.company_id = versions.company_id
            and customers.customer_id = versions.customer_id
            and versions.known_to > customers.as_of_date
        left join {{ ref('int_tickets__intervals') }} as tickets
            on customers.company_id = tickets.company_id
            and customers.customer_id = tickets.customer_id
        left join {{ ref('churn_labels') }} as labels
            on customers.company_id = labels.company_id
            and customers.customer_id = labels.customer_id
            and customers.as_of_date = labels.as_of_date
        group by customers.company_id, customers.customer_id, customers.as_of_date
        """
    features = project / "models" / "features"
    config = "{{ config(materialized='table', contract={'enforced': false}) }}\n"
    (features / f"{LEAKING}.sql").write_text(config + dedent(query))
    feature = "{label: Leak, unit: name, family: customer, kind: number, basis: event_times}"
    columns = "".join(
        f"      - {{name: {name}, description: Reads {how}., config: {{meta: {{feature: {feature}}}}}}}\n"
        for name, how in LEAKS.items()
    )
    (features / f"_{LEAKING}.yml").write_text(f"models:\n  - name: {LEAKING}\n    columns:\n{columns}")


def _up_to(rows: Rows, moment: datetime) -> Rows:
    return {key: row for key, row in rows.items() if key[2] <= moment.date()}


def test_no_column_of_any_mart_moves_by_what_becomes_known_later_and_every_planted_leak_is_caught(
    world: World,
) -> None:
    columns = world.project.columns()
    caught: set[str] = set()
    seen: set[tuple[str, str]] = set()

    @EXAMPLES
    @given(seed=st.integers(0, 2**32), customers=st.integers(1, 4), moment=st.sampled_from(MOMENTS))
    def prove(seed: int, customers: int, moment: datetime) -> None:
        history = generate(world.company_ids, customers, seed)
        before = world.build(history, *columns)
        change_what_was_known_from(history, moment)
        after = world.build(history, *columns)
        moved = {
            relation: moved_columns(_up_to(before[relation], moment), _up_to(after[relation], moment))
            for relation in columns
        }
        caught.update(moved.pop(LEAKING))
        assert {relation: names for relation, names in moved.items() if names} == {}
        for relation in columns:
            seen.update((relation, name.split(".")[0]) for name in moved_columns(before[relation], after[relation]))

    prove()

    assert caught == LEAKS.keys()
    # A column that nothing ever moves is not proved by standing still.
    unmoved = {(relation, name) for relation, names in columns.items() for name in names} - seen
    assert {(relation, name) for relation, name in unmoved if not name.endswith("_version")} == set()


def test_dates_built_in_any_order_and_some_of_them_twice_equal_all_at_once(world: World) -> None:
    @FEW
    @given(seed=st.integers(0, 2**32), customers=st.integers(1, 4), data=st.data())
    def prove(seed: int, customers: int, data: st.DataObject) -> None:
        history = generate(world.company_ids, customers, seed)
        with world.connection.transaction(force_rollback=True):
            history.add(world.connection)
            with world.project.built():
                at_once = world.project.snapshot()
                periods = world.periods()
                world.project.clear()
                order = data.draw(st.permutations(periods + periods[::7]))
                width = data.draw(st.sampled_from([1, 4, 20]))
                for begin in range(0, len(order), width):
                    world.project.build(order[begin : begin + width])
                assert world.project.differing_rows(at_once) == {}

    prove()


def test_late_records_move_exactly_the_dates_that_may_know_them_and_kept_up_intervals_equal_new_ones(
    world: World,
) -> None:
    """Built a first time from what was known at a moment; then only touched records and later dates are."""
    moved: set[str] = set()

    @FEW
    @given(seed=st.integers(0, 2**32), customers=st.integers(1, 4), moment=st.sampled_from(MOMENTS[2:]))
    def prove(seed: int, customers: int, moment: datetime) -> None:
        history = generate(world.company_ids, customers, seed)
        change_what_was_known_from(history, moment)
        later = history.split_off(moment)
        with world.connection.transaction(force_rollback=True):
            history.add(world.connection)
            with world.project.built():
                built = set(world.periods())
                before = world.project.snapshot()
                later.add(world.connection)
                world.project.fill("int_as_of_dates")
                world.project.take_in(moment)
                new = [period for period in world.periods() if period not in built or period[1] > moment.date()]
                world.project.build(new)
                moved.update(world.project.differing_rows(before))
                kept_up = world.project.snapshot("kept_up")
                world.project.fill()
                # Labels speak of today's knowledge: int_<task>_labels__periods says which a load moves.
                assert set(world.project.differing_rows(kept_up)) <= set(ALL_LABELS)

    prove()

    assert moved >= {
        "int_customers__intervals",
        "int_tickets__intervals",
        "int_payments__intervals",
        "payment_features",
    }


def test_a_label_moves_by_no_event_after_its_horizon(world: World) -> None:
    statuses: Counter[str] = Counter()

    @FEWER
    @given(seed=st.integers(0, 2**32), customers=st.integers(1, 4), moment=st.sampled_from(MOMENTS[2:]))
    def prove(seed: int, customers: int, moment: datetime) -> None:
        history = generate(world.company_ids, customers, seed)
        # A deleted payment takes back one that was made: a correction of the past, not a later event.
        history.rows["payments"] = [row for row in history.rows["payments"] if not row["is_deleted"]]
        built = []
        for _ in range(2):
            labels = world.build(history, LABELS)[LABELS]
            built.append(
                {key: row for key, row in labels.items() if (moment.date() - key[2]).days >= row["horizon_days"]}
            )
            for entity, rows in history.rows.items():
                history.rows[entity] = [row for row in rows if row["updated_at"] < moment]
        assert moved_columns(*built) == set()
        statuses.update(row["label_status"] for row in built[0].values())

    prove()

    assert set(statuses) >= {"churned", "retained", "left_before"}


@pytest.mark.parametrize("labels", ALL_LABELS)
def test_periods_whose_labels_a_load_moves_are_found_due(world: World, labels: str) -> None:
    """A task's labels are built for these periods only, so none may be missing; most need not be built."""
    model = f"int_{labels}__periods"
    periods = f"intermediate.{model}"
    query = world.dbt.compile("--select", model)[f"model.churn_warehouse.{model}"]
    loads = "select max(load_id) from ops.load_log where known_at = %s group by company_id order by company_id"
    first_loads = [load_id for (load_id,) in world.connection.execute(loads, [SECOND_LOAD])]
    moved: Counter[bool] = Counter()
    due: Counter[bool] = Counter()

    @FEWER
    @given(seed=st.integers(0, 2**32), customers=st.integers(1, 4), is_wild=st.booleans())
    def prove(seed: int, customers: int, is_wild: bool) -> None:
        history = generate(world.company_ids, customers, seed)
        if is_wild:
            change_what_was_known_from(history, SECOND_LOAD)
        before = world.build(history, labels, known_before=SECOND_LOAD)
        with world.connection.transaction(force_rollback=True):
            history.add(world.connection)
            with world.project.built(labels) as after:
                for company_id, load_id in zip(world.company_ids, first_loads, strict=True):
                    world.connection.execute(
                        f"update {periods} set labelled_on = examined_on, labelled_until_load_id = %s"
                        " where company_id = %s",
                        [load_id, company_id],
                    )
                due_periods = set(
                    world.connection.execute(f"select company_id, as_of_date from ({query}) as p where is_due")
                )
        dates = {key[2] for key in before[labels] if key[2] <= SECOND_LOAD.date()}
        for company_id in world.company_ids:
            for day in dates:
                rows = [
                    {key: row for key, row in each[labels].items() if (key[0], key[2]) == (company_id, day)}
                    for each in (before, after)
                ]
                has_moved = rows[0] != rows[1]
                assert not has_moved or (company_id, day) in due_periods, moved_columns(*rows)
                moved[has_moved] += 1
                due[(company_id, day) in due_periods] += 1

    prove()

    assert moved[True] > 0
    assert due[False] > 0


def test_features_rest_on_as_known_models_and_on_neither_labels_nor_predictions(world: World) -> None:
    manifest = world.dbt.manifest()
    nodes = manifest["nodes"] | manifest["sources"]
    marts = {f"model.churn_warehouse.{relation}" for relation in world.project.columns()}
    # Who is in a task's matrix is a matter of the rule too.
    marts |= {name for name, node in nodes.items() if node["name"].endswith("_population")}

    def above(name: str) -> set[str]:
        parents = set(nodes[name].get("depends_on", {}).get("nodes", []))
        return parents.union(*(above(parent) for parent in parents))

    def obeys(name: str) -> bool:
        """Whether all that it has of raw tables came by the rule of time, in it or in what it reads."""
        if not any(nodes[other]["schema"] == "raw" for other in above(name) | {name}):
            return True
        if nodes[name]["name"].endswith("_as_known") or name in marts or "as_of_dates" in name:
            return True
        parents = nodes[name].get("depends_on", {}).get("nodes", [])
        return nodes[name]["name"].startswith("int_") and bool(parents) and all(obeys(parent) for parent in parents)

    peeking = {
        (nodes[mart]["name"], nodes[name]["name"])
        for mart in marts
        for name in above(mart)
        if "label" in nodes[name]["name"] or nodes[name]["schema"] in {"ml", "predictions", "analytics"}
    }
    reading_past_the_rule = {
        (nodes[mart]["name"], nodes[parent]["name"])
        for mart in marts
        for parent in nodes[mart]["depends_on"]["nodes"]
        if not obeys(parent)
    }
    assert {mart for mart, _ in peeking} == {LEAKING}
    assert {mart for mart, _ in reading_past_the_rule} == {LEAKING, BY_ITSELF}
