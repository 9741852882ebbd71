"""Features added, retyped and removed in a copy of the dbt project, as docs/features.md says, and built by dbt."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from dbt_common.exceptions import CompilationError

from tests.conftest import TestServer
from tests.integration.crm_history import END, FIRST_LOAD, generate
from tests.integration.dbt_project.dbt_runs import FEATURES_AND_TASKS, DbtRuns, copy_project, warehouse_for_a_module
from tests.integration.dbt_project.dbt_world import register_companies
from warehouse.connection import Warehouse

pytestmark = pytest.mark.xdist_group("features_by_the_docs")

PAGE = Path(__file__).parents[3] / "docs" / "features.md"
MATRIX = "churn_feature_matrix"
SELECTED = ("run", "--select", *FEATURES_AND_TASKS, "--exclude", "path:models/staging")


class Added(NamedTuple):
    """A feature: the line of the mart that it is written above, its expression, its YAML, and the same told apart."""

    mart: str
    above: str
    sql: str
    yaml: str
    expected: str


def _of_the_docs(section: str) -> list[str]:
    """The page's examples of code under a heading."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^ {8}.*\n(?:^ {8}.*\n|^\n(?= {8}))*)", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in blocks]


def _yaml(name: str, label: str, unit: str, family: str) -> str:
    return (
        f"- name: {name}\n  description: {label}.\n  data_type: integer\n"
        f"  config: {{meta: {{feature: {{label: {label}, unit: {unit}, family: {family}, kind: number,"
        " basis: event_times}}}\n"
    )


SQL_OF_THE_DOCS, YAML_OF_THE_DOCS = _of_the_docs("Add a feature")
FEATURES = {
    "refunds_30d": Added(
        "payment_features",
        "{{ count_where(in_window('days_since_refund', 90)) }} as refunds_90d,",
        SQL_OF_THE_DOCS,
        YAML_OF_THE_DOCS,
        "(select count(*) from intermediate.int_payments__as_known as record"
        " where {same} and kind = 'refund' and days_since_paid <= 30)",
    ),
    "tickets_opened_14d": Added(
        "ticket_features",
        "{{ count_where(in_window('days_since_opened', 30)) }} as tickets_opened_30d,",
        "{{ count_where(in_window('days_since_opened', 14)) }} as tickets_opened_14d,",
        _yaml("tickets_opened_14d", "Tickets opened in the last 14 days", "tickets", "tickets"),
        "(select count(*) from intermediate.int_tickets__as_known as record where {same} and days_since_opened <= 14)",
    ),
    "active_days_14d": Added(
        "activity_features",
        "{{ count_where(in_window('days_since_occurred', 30)) }} as active_days_30d,",
        "{{ count_where(in_window('days_since_occurred', 14)) }} as active_days_14d,",
        _yaml("active_days_14d", "Active days in the last 14 days", "days", "activity"),
        "(select count(distinct days_since_occurred) from intermediate.int_events__as_known as record"
        " where {same} and days_since_occurred <= 14)",
    ),
    "weeks_as_customer": Added(
        "customer_features",
        "present_customers.days_since_created as tenure_days,",
        "present_customers.days_since_created / 7 as weeks_as_customer,",
        _yaml("weeks_as_customer", "Weeks as a customer", "weeks", "customer"),
        "mart.tenure_days / 7",
    ),
}
SAME = (
    "record.company_id = mart.company_id and record.customer_id = mart.customer_id"
    " and record.as_of_date = mart.as_of_date"
)


@pytest.fixture(scope="module")
def warehouse(postgres: TestServer, template_database: str) -> Iterator[Warehouse]:
    with warehouse_for_a_module(postgres, template_database) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def dbt(warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> DbtRuns:
    """Two companies with 20 customers each, all of their features built."""
    folder = tmp_path_factory.mktemp("dbt")
    warehouse.write_dbt_profile(folder)
    with warehouse.connect() as connection:
        company_ids = register_companies(connection, now=END, first_load=FIRST_LOAD)
        generate(company_ids, customers=20, seed=13).write(connection, known_before=END)
        connection.commit()
    runs = DbtRuns(copy_project(folder / "project"), folder)
    runs.run("build", "--select", *FEATURES_AND_TASKS, "--exclude-resource-type", "test", "unit_test")
    return runs


@pytest.fixture
def project(dbt: DbtRuns) -> Iterator[Path]:
    """The project's folder; its files are as before when the test ends, whatever it did to them."""
    texts = {path: path.read_text() for path in dbt.project.rglob("*") if path.suffix in {".sql", ".yml"}}
    yield dbt.project
    for path, text in texts.items():
        if path.read_text() != text:
            path.write_text(text)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has {text.count(old)} times: {old}"
    path.write_text(text.replace(old, new))


def _columns(warehouse: Warehouse, relation: str, schema: str = "features") -> dict[str, str]:
    """The columns of a relation with their types."""
    with warehouse.connect() as connection:
        return dict(
            connection.execute(
                "select column_name, data_type from information_schema.columns"
                " where table_schema = %s and table_name = %s",
                [schema, relation],
            ).fetchall()
        )


def _rows(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query).fetchall()


def test_a_feature_is_added_to_each_mart_and_removed_by_the_steps_of_the_docs(
    warehouse: Warehouse, dbt: DbtRuns, project: Path
) -> None:
    before = {relation: _columns(warehouse, relation) for relation in (MATRIX, *(it.mart for it in FEATURES.values()))}
    marts = project / "models" / "features"
    texts = {path: path.read_text() for path in marts.iterdir()}
    assert "refunds_30d" in SQL_OF_THE_DOCS
    for added in FEATURES.values():
        _edit(marts / f"{added.mart}.sql", added.above, f"{added.sql}\n{added.above}")
        with (marts / f"_{added.mart}.yml").open("a") as opened:
            opened.write(textwrap.indent(added.yaml, " " * 6) + "\n")

    dbt.parse()
    dbt.run(*SELECTED)

    for name, added in FEATURES.items():
        assert _columns(warehouse, added.mart).keys() - before[added.mart].keys() == {name}
        for relation in (added.mart, MATRIX):
            expected = added.expected.format(same=SAME)
            values = _rows(
                warehouse,
                f"select count(*), count(*) filter (where mart.{name} is distinct from {expected}), sum(mart.{name})"
                f" from features.{relation} as mart",
            )
            assert values[0][0]
            assert values[0][1] == 0, name
            assert values[0][2], name
    catalogue = "select distinct feature from features.feature_catalogue"
    assert _columns(warehouse, MATRIX).keys() - before[MATRIX].keys() == FEATURES.keys()
    assert FEATURES.keys() <= {name for (name,) in _rows(warehouse, catalogue)}

    for path, text in texts.items():
        path.write_text(text)
    dbt.parse()
    dbt.run(*SELECTED)

    assert {relation: _columns(warehouse, relation) for relation in before} == before
    assert not FEATURES.keys() & {name for (name,) in _rows(warehouse, catalogue)}


def test_a_column_whose_type_changes_is_changed_in_the_table_and_built_again(
    warehouse: Warehouse, dbt: DbtRuns, project: Path
) -> None:
    """Half a seat more, in all rows of the mart and the matrix; and back, where halves cannot be kept."""
    marts = project / "models" / "features"
    texts = {path: path.read_text() for path in (marts / "customer_features.sql", marts / "_customer_features.yml")}
    query = "select company_id, customer_id, as_of_date, seats::float from features.{} where seats is not null"
    seats = {relation: dict(_by_key(warehouse, query.format(relation))) for relation in ("customer_features", MATRIX)}
    assert all(seats.values())
    plain, halved = "        present_customers.seats,\n", "        present_customers.seats + 0.5::float as seats,\n"
    _edit(marts / "customer_features.sql", plain, halved)
    described = "description: Seats as known at the date.\n        data_type: "
    _edit(marts / "_customer_features.yml", f"{described}integer", f"{described}double precision")

    dbt.parse()
    dbt.run(*SELECTED)

    for relation, before in seats.items():
        assert _columns(warehouse, relation)["seats"] == "double precision"
        after = dict(_by_key(warehouse, query.format(relation)))
        assert after == {key: value + 0.5 for key, value in before.items()}

    for path, text in texts.items():
        path.write_text(text)
    dbt.parse()
    dbt.run(*SELECTED)

    for relation, before in seats.items():
        assert _columns(warehouse, relation)["seats"] == "integer"
        assert dict(_by_key(warehouse, query.format(relation))) == before


def _by_key(warehouse: Warehouse, query: str) -> Iterator[tuple[tuple[object, ...], float]]:
    for *key, value in _rows(warehouse, query):
        assert isinstance(value, float)
        yield tuple(key), value


def test_intervals_too_take_on_another_type_and_the_views_on_them_are_made_again(
    warehouse: Warehouse, dbt: DbtRuns, project: Path
) -> None:
    models = project / "models" / "intermediate"
    _edit(
        models / "int_payments__intervals.sql",
        "        versions_in_force.failed_attempts,",
        "        versions_in_force.failed_attempts + 0.25::float as failed_attempts,",
    )
    total = "select sum(failed_attempts)::float, count(failed_attempts)::int from intermediate.int_payments__intervals"
    ((before, attempts),) = _rows(warehouse, total)

    dbt.parse()
    dbt.run(*SELECTED)

    for relation in ("int_payments__intervals", "int_payments__as_known"):
        assert _columns(warehouse, relation, "intermediate")["failed_attempts"] == "double precision"
    assert isinstance(before, float)
    assert isinstance(attempts, int)
    assert _rows(warehouse, total) == [(before + attempts / 4, attempts)]


def test_a_history_takes_on_a_type_that_all_of_it_fits_and_fails_with_another(
    warehouse: Warehouse, dbt: DbtRuns, project: Path
) -> None:
    """What labels said is never built again: nothing of it may be lost."""
    versions = _rows(warehouse, "select * from features.churn_label_versions order by 1, 2, 3, 5")
    assert versions
    sql, yaml = project / "macros" / "tasks.sql", project / "models" / "tasks" / "churn" / "_churn_label_versions.yml"
    version = ",\n        labels_and_versions.label_version,"
    _edit(sql, f"labels_and_versions.label_status{version}", f"1 as label_status{version}")
    status = re.compile(r"(name: label_status\n(?:.*\n)*?\s+data_type: )text")
    yaml.write_text(status.sub(r"\g<1>integer", yaml.read_text(), count=1))

    dbt.parse()
    with pytest.raises(AssertionError, match="invalid input syntax for type integer"):
        dbt.run("run", "--select", "churn_label_versions")

    assert _rows(warehouse, "select * from features.churn_label_versions order by 1, 2, 3, 5") == versions


def test_a_basis_that_is_mistyped_ends_the_build_before_it_begins(dbt: DbtRuns, project: Path) -> None:
    yaml = project / "models" / "features" / "_ticket_features.yml"
    yaml.write_text(yaml.read_text().replace("basis: attributes", "basis: attribute", 1))
    message = "basis is 'attribute'; use one of event_times, attributes"

    dbt.parse()
    with pytest.raises(CompilationError, match=message):
        dbt.run("run", "--select", "ticket_features")
