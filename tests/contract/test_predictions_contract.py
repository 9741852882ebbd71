"""The contract, the JSON Schema of reasons, the database's comments and its catalog say the same, both ways."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from ml_assets.scoring.rows import build_score_rows
from ml_assets.training.train import fit_rule, train
from pipeline.prediction.tasks import CONTRACTS, task_named
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.connection import Warehouse
from warehouse.decisions.publication import CONTRACT as DECISIONS
from warehouse.publication.publish import SCORES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "predictions-contract.md").read_text()
PAGE_OF_DECISIONS = (DOCS / "decisions-contract.md").read_text()
SCHEMA = json.loads((DOCS / "reasons-v1.schema.json").read_text())
CONTRACT = task_named("churn").relations.contract
NO_PART = {contract.sent_v1.name for contract in (*CONTRACTS, DECISIONS)}
ADDED_KEYS = {"usual", "direction"}
"""Keys of a reason that sets of older releases do not have."""

Columns = dict[str, tuple[str, str]]


def documented(page: str = PAGE) -> dict[str, Columns]:
    """Relation to column to (type, meaning), as a page has it."""
    relations: dict[str, Columns] = {}
    for section in page.split("\n### `")[1:]:
        name, body = section.split("`", 1)
        rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", body, re.MULTILINE)
        relations[name] = {column: (type_name, meaning) for column, type_name, meaning in rows}
    return relations


@pytest.fixture
def catalog(warehouse: Warehouse) -> dict[str, Columns]:
    """The same of every relation in the schema, as the database has it."""
    relations: dict[str, Columns] = {}
    with warehouse.connect() as conn:
        for relation, column, type_name, comment in conn.execute(
            "select relname, attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum)"
            " from pg_class inner join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped"
            " where relnamespace = 'predictions'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')"
            " order by relname, attnum"
        ):
            relations.setdefault(relation, {})[column] = (type_name, comment)
    return relations


def test_the_page_lists_every_relation_with_every_column_its_type_and_its_comment(catalog: dict[str, Columns]) -> None:
    promised = {name for name in catalog if name not in NO_PART and not name.startswith("decisions")}
    described = [stable.removeprefix("churn_") for stable in documented()]
    names = [f"{contract.task}_{name}" for contract in CONTRACTS for name in described]
    assert promised == {name for stable in names for name in (stable, f"{stable}_v1")}
    for name, columns in documented().items():
        assert list(catalog[name].items()) == list(columns.items()), name
        assert list(catalog[f"{name}_v1"].items()) == list(columns.items()), name


def test_the_page_of_decisions_lists_every_relation_of_theirs_as_the_database_has_it(
    catalog: dict[str, Columns],
) -> None:
    promised = {name for name in catalog if name not in NO_PART and name.startswith("decisions")}
    described = documented(PAGE_OF_DECISIONS)
    assert promised == {name for stable in described for name in (stable, f"{stable}_v1")}
    for name, columns in described.items():
        assert list(catalog[name].items()) == list(columns.items()), name
        assert list(catalog[f"{name}_v1"].items()) == list(columns.items()), name


def test_every_relation_that_is_read_is_said_on_the_page_to_be_for_something() -> None:
    listed = re.findall(r"^\| `(churn_\w+)` \| [^|]+ \| [^|]+ \|$", PAGE.split("\n## Versions")[0], re.MULTILINE)
    assert set(listed) == set(documented())


def test_the_values_that_the_database_admits_are_those_that_a_meaning_lists(
    warehouse: Warehouse, catalog: dict[str, Columns]
) -> None:
    with warehouse.connect() as conn:
        checks = conn.execute(
            "select conrelid::regclass::text, attname, pg_get_constraintdef(pg_constraint.oid) from pg_constraint"
            " inner join pg_attribute on attrelid = conrelid and attnum = conkey[1]"
            " where connamespace = 'predictions'::regnamespace and contype = 'c' and array_length(conkey, 1) = 1"
        ).fetchall()
    listed = 0
    for relation, column, definition in checks:
        values = re.findall(r"'(\w+)'::text", definition)
        if "ARRAY" not in definition:
            continue
        listed += 1
        meaning = catalog[relation.split(".")[1]][column][1]
        for value in values:
            assert re.search(rf"\b{value}\b", meaning), (relation, column, value)
    of_decisions = 3
    assert listed == 6 * len(CONTRACTS) + of_decisions


def test_the_comment_on_reasons_and_the_schema_name_the_same_keys(catalog: dict[str, Columns]) -> None:
    keys = list(SCHEMA["items"]["properties"])
    assert [key for key in keys if key not in ADDED_KEYS] == SCHEMA["items"]["required"]
    for relation, columns in catalog.items():
        if "reasons" in columns and not relation.startswith("decisions"):
            named = re.search(r"\{(.+?)\}", columns["reasons"][1])
            assert named is not None
            assert named[1].split(", ") == keys, relation


def test_what_is_staged_has_the_published_columns(catalog: dict[str, Columns]) -> None:
    published = {"entity_id": CONTRACT.entity_id, "probability": CONTRACT.probability}
    staged = [published.get(name, name) for name in SCORES.names if name != "task"]
    assert staged == list(catalog["churn_scores_v1"])


def real_reasons() -> list[Any]:
    """Reasons as scoring writes them, of a model and of a rule."""
    model = train(
        simulate(500, 10, rate=0.1), FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=1
    ).model
    rule = fit_rule(
        simulate(40, 3).assign(outcome=False), FEATURES, CHURN, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT
    )
    matrix = simulate(200, 1)
    holes = matrix.assign(tenure_days=np.nan)
    scored = [
        build_score_rows(scorer, frame, CHURN, model_version="v")
        for scorer in (model, rule)
        for frame in (matrix, holes)
    ]
    return [json.loads(text) for text in pd.concat(scored)["reasons"]]


def test_reasons_as_scoring_writes_them_are_valid() -> None:
    reasons = real_reasons()
    assert len(reasons) == 800
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    for each in reasons:
        validator.validate(each)
        assert all(set(reason) == set(SCHEMA["items"]["properties"]) for reason in each)


def test_reasons_of_older_releases_are_valid_still() -> None:
    older = [{key: reason[key] for key in reason if key not in ADDED_KEYS} for reason in real_reasons()[0]]
    jsonschema.validate(older, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        lambda reasons: reasons[0].pop("text"),
        lambda reasons: reasons[0].update(extra=1),
        lambda reasons: reasons[0].update(contribution="0.1"),
        lambda reasons: reasons[0].update(direction="up"),
        lambda reasons: reasons.pop(),
        lambda reasons: reasons.extend(reasons[-1:]),
    ],
    ids=["a key less", "a key more", "a number as text", "no direction", "without other", "other twice"],
)
def test_the_schema_refuses_what_is_no_reason(change: Any) -> None:
    reason = {"label": "a", "value": 1, "unit": "", "family": "x", "contribution": 0.1, "text": "a"}
    reasons = [{"feature": "a"} | reason, {"feature": "other"} | reason]
    jsonschema.validate(reasons, SCHEMA)
    change(reasons)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(reasons, SCHEMA)
