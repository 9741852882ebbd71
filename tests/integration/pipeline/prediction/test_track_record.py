"""The track record on a real Postgres: past months as they would have been, each once, and graded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_assets.scoring.rows import build_score_rows
from ml_assets.training.recipe import Recipe
from ml_assets.training.train import train
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.scoring import Scorer
from pipeline.prediction.tasks import TaskBinding, task_named
from pipeline.prediction.track_record import replaying
from pipeline.prediction.track_record.grading import describe_record, grade_record
from pipeline.prediction.track_record.replaying import Replayer
from pipeline.prediction.training import Trainer
from tests.unit.ml_assets.ml_world import FEATURES, simulate
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow
from warehouse.prediction.feature_store import labelled_rows
from warehouse.prediction.track_record import read_record_grades, replayed_months
from warehouse.publication.publish import publish_staged_scores
from warehouse.relations import Relation
from warehouse.roles import Role

pytestmark = pytest.mark.xdist_group("mlflow")

CHURN = task_named("churn")
BINDING = replace(CHURN, task=replace(CHURN.task, candidates=("logistic", "lightgbm")))
VERSION = "sql1.set1"
HORIZON = 30
LOADED = date(2025, 9, 1)
"""The company's first day in the warehouse; what came before it came with its first load."""
WORLD = simulate(500, 14, rate=0.08).assign(feature_version=VERSION)
MONTHS = sorted(WORLD["as_of_date"].unique())
LIVED = [month for month in MONTHS if month >= LOADED][:3]
TODAY = MONTHS[-1]
CORRECTED = set(WORLD["entity_id"].unique()[:60])
"""Whose outcome is told wrong at first, and corrected a month later."""


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 6, tzinfo=UTC)


def _on(company: Company, day: date) -> Company:
    return company.model_copy(update={"clock_at": _at(day)})


def _label_versions() -> pd.DataFrame:
    """What a warehouse that ran on the first of each month has recorded: v1 when mature, v2 where it was corrected."""
    first = WORLD[["entity_id", "as_of_date", "outcome"]].copy()
    mature = first["as_of_date"] + timedelta(days=HORIZON)
    recorded = [next((m for m in MONTHS if m >= max(day, LOADED)), None) for day in mature]
    first = first.assign(recorded=recorded).dropna(subset="recorded")
    first["label_version"] = 1
    wrong = first["entity_id"].isin(CORRECTED)
    second = first[wrong].assign(label_version=2)
    second["recorded"] = [next((m for m in MONTHS if m > day), None) for day in second["recorded"]]
    first.loc[wrong, "outcome"] = ~first.loc[wrong, "outcome"]
    versions = pd.concat([first, second.dropna(subset="recorded")])
    return versions.assign(known_at=[pd.Timestamp(_at(day)) for day in versions["recorded"]])


VERSIONS = _label_versions()


class Lived:
    """A warehouse that is moved on day by day: features, labels and their versions as a run of each day left them."""

    def __init__(self, warehouse: Warehouse, company: Company, home: Path) -> None:
        self.warehouse = warehouse
        self.company = company
        self.home = home
        with warehouse.connect() as conn:
            conn.execute(
                "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
                " days_since_last_payment double precision, revenue_90d double precision,"
                " failed_payments_90d double precision, open_tickets double precision, tenure_days double precision,"
                " usage_change double precision, plan text, country text, is_late_payer boolean,"
                " noise_1 double precision, noise_2 double precision, feature_version text, custom_attributes jsonb);"
                "create table features.churn_labels (company_id int, customer_id text, as_of_date date,"
                " is_mature boolean, is_churned boolean);"
                "create table features.churn_label_versions (company_id int, customer_id text, as_of_date date,"
                " is_churned boolean, label_version int, known_at timestamptz);"
                "grant select on all tables in schema features to churn_ml"
            )

    def go_on(self, after: date | None, day: date) -> None:
        """What dbt builds between two days."""
        since = date(1, 1, 1) if after is None else after
        rows = WORLD[(WORLD["as_of_date"] > since) & (WORLD["as_of_date"] <= day)]
        self._copy(rows.drop(columns=["outcome", "true_probability"]), "churn_feature_matrix")
        known = VERSIONS[(VERSIONS["recorded"] > since) & (VERSIONS["recorded"] <= day)]
        columns = ["entity_id", "as_of_date", "outcome", "label_version", "known_at"]
        self._copy(known[columns].rename(columns={"outcome": "is_churned"}), "churn_label_versions")
        with self.warehouse.connect() as conn:
            conn.execute(
                "truncate features.churn_labels; insert into features.churn_labels"
                " select distinct on (customer_id, as_of_date) company_id, customer_id, as_of_date, true, is_churned"
                " from features.churn_label_versions order by customer_id, as_of_date, label_version desc"
            )

    def _copy(self, rows: pd.DataFrame, table: str) -> None:
        rows = rows.rename(columns={"entity_id": "customer_id"}).assign(company_id=np.int32(self.company.company_id))
        if "label_version" in rows:
            rows = rows.assign(label_version=rows["label_version"].astype(np.int32))
        arrow = pa.Table.from_pandas(rows, preserve_index=False)
        if "known_at" in rows:
            place = arrow.schema.get_field_index("known_at")
            arrow = arrow.set_column(place, "known_at", arrow["known_at"].cast(pa.timestamp("us", "UTC")))
        with self.warehouse.connect() as conn, conn.cursor() as cursor:
            copy_arrow(cursor, arrow, Relation("features", table))

    def trainer(self, binding: TaskBinding = BINDING) -> Trainer:
        return Trainer(binding, self.warehouse, self.registry, FEATURES, Clock(None), 1)

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.warehouse, self.home)

    def replayer(self, binding: TaskBinding = BINDING) -> Replayer:
        return Replayer(binding, self.warehouse, self.trainer(binding), FEATURES, Clock(None), 1)

    def publish(self, day: date) -> None:
        """A first training on that day, and its scores."""
        company = _on(self.company, day)
        with self.warehouse.connect() as conn:
            conn.execute("delete from ml.promotions; delete from ml.evaluations; delete from ml.training_runs")
        self.registry.forget("churn-acme")
        assert self.trainer().train(company, "always").status == "promoted"
        scorer = Scorer(BINDING, self.warehouse, self.registry, FEATURES, Clock(None))
        assert scorer.stage(company).rows > 0
        with self.warehouse.connect(Role.ml) as conn:
            conn.execute(
                "insert into ml.publication_gates (company_id, task, as_of_date, staged_at, checked_at, is_passed,"
                " checks) select %s, 'churn', %s, max(staged_at), now(), true, '[]' from ml.staged_scores",
                [company.company_id, day],
            )
        with self.warehouse.connect(Role.publisher, autocommit=True) as conn:
            publish_staged_scores(conn, BINDING.relations.contract, company.company_id, day, _at(day))


@pytest.fixture
def lived(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Lived:
    return Lived(warehouse, add_company("acme", clock_at=_at(TODAY)), tmp_path)


@pytest.fixture
def grown(lived: Lived) -> Lived:
    """The whole history at once, as after a first load; nothing was ever published."""
    lived.go_on(None, TODAY)
    return lived


def _rows(warehouse: Warehouse, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with warehouse.connect() as conn:
        return conn.execute(query, values).fetchall()  # type: ignore[call-overload, no-any-return]


DIFFERENCE = """
    with published as (
        select as_of_date, customer_id as entity_id, churn_probability as probability, risk_level, reasons
        from predictions.churn_scores
    ),
    replayed as (
        select as_of_date, entity_id, probability, risk_level, reasons from ml.track_record
        where as_of_date in (select as_of_date from published)
    )
    (select * from published except all select * from replayed)
    union all
    (select * from replayed except all select * from published)
"""


def test_a_replayed_month_is_what_a_first_training_on_that_day_published(lived: Lived) -> None:
    before = None
    for month in LIVED:
        lived.go_on(before, month)
        lived.publish(month)
        before = month
    lived.go_on(before, TODAY)

    replayer = lived.replayer()
    history = replayer.history(lived.company, {})
    for month in LIVED:
        replayer.replay_month(history, month, history.decide_rung(month, BINDING.task), VERSION)
    assert _rows(lived.warehouse, DIFFERENCE) == []
    counts = _rows(lived.warehouse, "select as_of_date, count(*) from ml.track_record group by 1 order by 1")
    assert counts == [(month, int((WORLD["as_of_date"] == month).sum())) for month in LIVED]
    # It is the knowledge of the day that makes it so: with today's labels the months would be others.
    today = replace(history, own=replace(history.own, labels_since={lived.company.company_id: _at(TODAY)}))
    replayer.replay_month(today, LIVED[0], today.decide_rung(LIVED[0], BINDING.task), VERSION)
    assert _rows(lived.warehouse, DIFFERENCE) != []


def test_a_month_by_a_recipe_is_what_a_run_of_that_day_by_the_same_recipe_says(lived: Lived) -> None:
    month = LIVED[1]
    lived.go_on(None, month)
    place = (lived.warehouse, BINDING.relations, [lived.company.company_id], [feature.name for feature in FEATURES])
    then = labelled_rows(*place).to_pandas()
    lived.go_on(month, TODAY)

    lived.replayer().replay(lived.company, seconds=None)
    with lived.warehouse.connect() as conn:
        months = {each.as_of_date: each for each in replayed_months(conn, lived.company.company_id, "churn")}
    assert months[month].recipe_of < month
    opening = months[months[month].recipe_of]
    assert opening.recipe is not None
    result = train(
        then,
        FEATURES,
        BINDING.task,
        horizon_days=HORIZON,
        trained_at=_at(month),
        threads=1,
        recipe=Recipe.from_record(opening.recipe),
    )
    frame = WORLD[WORLD["as_of_date"] == month].assign(company_id=lived.company.company_id)
    scores = build_score_rows(result.model, frame, BINDING.task, model_version="v1")
    expected = list(zip(scores["entity_id"], scores["probability"], scores["risk_level"], strict=True))
    replayed = _rows(
        lived.warehouse,
        "select entity_id, probability, risk_level from ml.track_record where as_of_date = %s order by entity_id",
        month,
    )
    assert replayed == sorted(expected)


def test_each_month_is_replayed_once_and_none_that_was_published(grown: Lived) -> None:
    grown.publish(LIVED[2])
    done = grown.replayer().replay(grown.company, seconds=None)
    first = MONTHS[1]  # The first at which an outcome was known.
    expected = [month for month in MONTHS if first <= month < TODAY and month != LIVED[2]]
    months = _rows(grown.warehouse, "select as_of_date, count(*) from ml.track_record group by 1 order by 1")
    assert [month for month, _ in months] == expected
    assert (done.months, done.waiting, done.scores) == (len(expected), 0, sum(count for _, count in months))
    assert grown.replayer().replay(grown.company, seconds=None).months == 0
    assert all(count == int((WORLD["as_of_date"] == month).sum()) for month, count in months)


def test_a_run_does_what_its_time_allows_and_the_next_goes_on(grown: Lived) -> None:
    replayer = grown.replayer()
    assert replayer.replay(grown.company, seconds=0).months == 0
    left = None
    while left != 0:
        done = replayer.replay(grown.company, seconds=0.001, newest=4)
        assert done.months == 1
        assert left is None or done.waiting == left - 1
        left = done.waiting
    # The four newest, and the month that they start from.
    months = [month for (month,) in _rows(grown.warehouse, "select as_of_date from ml.track_record_months order by 1")]
    assert months[1:] == MONTHS[-5:-1]
    assert {month for (month,) in _rows(grown.warehouse, "select recipe_of from ml.track_record_months")} == {months[0]}
    whole = _rows(grown.warehouse, "select * from ml.track_record order by as_of_date, entity_id")
    with grown.warehouse.connect() as conn:
        conn.execute("delete from ml.track_record_months")
    replayer.replay(grown.company, seconds=None, newest=4)
    assert _rows(grown.warehouse, "select * from ml.track_record order by as_of_date, entity_id") == whole


def test_who_is_stopped_in_a_month_leaves_nothing_of_it(grown: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = replaying.chunks_at

    def stopped(*arguments: Any, **named: Any) -> Iterator[pa.Table]:
        yield from chunks(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(replaying, "chunks_at", stopped)
    with pytest.raises(KeyboardInterrupt):
        grown.replayer().replay(grown.company, seconds=None)
    assert _rows(grown.warehouse, "select from ml.track_record_months") == []
    assert _rows(grown.warehouse, "select from ml.track_record") == []


def test_months_of_other_features_are_replayed_again_and_those_of_other_settings_are_forgotten(grown: Lived) -> None:
    replayer = grown.replayer()
    first = replayer.replay(grown.company, seconds=None, newest=2).months
    grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY))
    with grown.warehouse.connect() as conn:
        conn.execute("update features.churn_feature_matrix set feature_version = 'sql2.set1'")
    assert replayer.replay(grown.company, seconds=None, newest=2).months == first
    versions = _rows(grown.warehouse, "select distinct feature_version, labels_since from ml.track_record_months")
    assert versions == [("sql2.set1", _at(LOADED))]

    settings = {**grown.company.tasks["churn"], "horizon_days": 60}
    changed = grown.company.model_copy(update={"tasks": {"churn": settings}})
    with grown.warehouse.connect() as conn:
        conn.execute("update ops.company_tasks set updated_at = created_at + interval '1 day' where task = 'churn'")
    assert replayer.replay(changed, seconds=None, newest=1).months > 0
    kept = _rows(grown.warehouse, "select distinct label_settings, labels_since from ml.track_record_months")
    # What the labels of other settings had said by then is no knowledge of these.
    assert kept == [(settings, _at(TODAY))]
    assert _rows(grown.warehouse, "select from ml.track_record_grades") == []


def test_the_record_is_graded_by_what_came_and_again_when_that_is_corrected(grown: Lived) -> None:
    assert grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY)).months == 0
    grown.replayer().replay(grown.company, seconds=None)
    with grown.warehouse.connect() as conn:
        conn.execute("delete from ml.track_record_months where as_of_date < %s", [MONTHS[-6]])
    graded = grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY))
    assert graded.months == 5
    with grown.warehouse.connect(Role.ml) as conn:
        whole, *by_month = read_record_grades(conn, grown.company.company_id, "churn")
    assert whole.as_of_month is None
    assert whole.scores == sum(month.scores for month in by_month)
    assert (whole.first_month, whole.last_month) == (MONTHS[-6], MONTHS[-2])
    assert whole.outcomes == sum(month.outcomes for month in by_month)
    sentence = describe_record(whole, BINDING, HORIZON)
    assert sentence.startswith("Replayed, Jul 2025 to Nov 2025: of the customers that would have been put at high risk")
    assert f"of 100 who left, {100 * (whole.named_share or 0):.0f} " in sentence

    month = by_month[0]
    with grown.warehouse.connect() as conn:
        conn.execute("update features.churn_labels set is_churned = true where as_of_date = %s", [month.as_of_month])
    grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY))
    with grown.warehouse.connect(Role.ml) as conn:
        corrected = read_record_grades(conn, grown.company.company_id, "churn")[1]
    assert (corrected.outcomes, corrected.kept) == (month.scores, 1.0)

    with grown.warehouse.connect() as conn:
        conn.execute("delete from features.churn_labels where as_of_date = %s", [month.as_of_month])
    assert grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY)).months == 4


def test_nothing_replayed_is_published_or_graded_as_published(grown: Lived) -> None:
    grown.replayer().replay(grown.company, seconds=None, newest=2)
    grade_record(grown.warehouse, BINDING, grown.company, _at(TODAY))
    for relation in ("predictions.churn_scores", "predictions.churn_changes", "predictions.churn_publications"):
        assert _rows(grown.warehouse, f"select from {relation}") == []
    for relation in ("ml.score_grades", "ml.grades", "ml.staged_scores", "ml.training_runs", "ml.promotions"):
        assert _rows(grown.warehouse, f"select from {relation}") == []
    assert _rows(grown.warehouse, "select distinct is_replayed from ml.track_record") == [(True,)]
