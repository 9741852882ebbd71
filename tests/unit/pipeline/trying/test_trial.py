"""A file as people bring it, tried from end to end: read, freed of leaks, judged, scored."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from pipeline.trying import reading
from pipeline.trying.errors import TooFewOutcomes, TrialError, UnknownColumn, UnreadableTable
from pipeline.trying.scores_file import scores_frame, write_scores
from pipeline.trying.trial import Trial, TrialSettings, try_file
from tests.unit.pipeline.trying.customers_table import NEWEST, customers_table

ROOT = Path(__file__).resolve().parents[4]
DATA = next((place / "shared" / "data" for place in ROOT.parents if (place / "shared" / "data").is_dir()), None)


def tried(file: Path, outcome: str = "churn", *, keep_all: bool = False, **settings: object) -> Trial:
    return try_file(file, TrialSettings(outcome, **settings), lambda _: not keep_all)  # type: ignore[arg-type]


def written(frame: pd.DataFrame, file: Path) -> Path:
    frame.to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """A plain table of 600 customers, of twenty of whom nothing is known."""
    table = customers_table()
    table.loc[:19, "churn"] = None
    return tried(written(table, tmp_path_factory.mktemp("trial") / "customers.csv"))


def test_the_figures_are_scikit_learns_on_the_scores_that_are_exported(trial: Trial, tmp_path: Path) -> None:
    write_scores(trial, tmp_path / "scores.csv")
    exported = pd.read_csv(tmp_path / "scores.csv").dropna(subset=["churn"])
    outcomes, probabilities = exported["churn"].eq("Yes").to_numpy(float), exported["probability"].to_numpy()

    metrics = trial.validation.best.metrics

    assert metrics["auc"] == pytest.approx(roc_auc_score(outcomes, probabilities), rel=1e-9)
    assert metrics["log_loss"] == pytest.approx(log_loss(outcomes, probabilities), rel=1e-9)
    assert metrics["average_precision"] == pytest.approx(average_precision_score(outcomes, probabilities), rel=1e-9)


def test_every_row_is_scored_within_its_range_and_in_the_files_order(trial: Trial) -> None:
    scores = scores_frame(trial)

    assert len(scores) == trial.read.in_file == 600
    assert scores["row"].tolist() == list(range(1, 601))
    assert scores["customer_id"].tolist() == customers_table()["customer_id"].tolist()
    assert scores["fold"].isna().sum() == 20
    assert (scores["probability_low"] <= scores["probability"]).all()
    assert (scores["probability"] <= scores["probability_high"]).all()
    assert scores["reason_1"].str.contains(r"\((?:raises|lowers) the risk\)$").all()


def test_reasons_add_up_to_the_score(trial: Trial) -> None:
    known, best = trial.is_known, trial.validation.best
    baselines = best.log_odds - trial.scored.contributions[known].sum(axis=1)
    folds = trial.validation.rows.folds

    for fold in np.unique(folds):
        assert np.ptp(baselines[folds == fold]) == pytest.approx(0, abs=1e-9)


FORMATS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "customers.csv": lambda table, file: table.to_csv(file, index=False),
    "customers.csv.gz": lambda table, file: (
        file.write_bytes(gzip.compress(table.to_csv(index=False).encode())) and None
    ),
    "customers.tsv": lambda table, file: table.to_csv(file, index=False, sep="\t"),
    "customers.xlsx": lambda table, file: table.to_excel(file, index=False),
    "customers.parquet": lambda table, file: table.to_parquet(file, index=False),
    "customers.jsonl": lambda table, file: table.to_json(file, orient="records", lines=True),
    "kunden.csv": lambda table, file: table.assign(monthly_fee=table["monthly_fee"].map("{:.2f}".format)).to_csv(
        file, index=False, sep=";", decimal=",", encoding="cp1252"
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_one_table_in_any_format_is_one_result(name: str, trial: Trial, tmp_path: Path) -> None:
    table = customers_table()
    table.loc[:19, "churn"] = None
    FORMATS[name](table, tmp_path / name)

    other = tried(tmp_path / name)

    assert other.customer == "customer_id"
    assert other.scored.probability == pytest.approx(trial.scored.probability, abs=1e-9)


def as_people_bring_it(table: pd.DataFrame) -> pd.DataFrame:
    """With an e-mail, a remark, dates day first, a decimal comma, a date of leaving, and words of another language."""
    has_left = table["churn"].eq("Yes")
    days = pd.Series(np.arange(len(table)) % 300)
    return table.assign(
        monthly_fee=table["monthly_fee"].map(lambda fee: f"{fee:.2f}".replace(".", ",")),
        email=[f"k{number}@example.org" for number in range(len(table))],
        remark=[
            f"Kunde Müller rief am {number}. an und war mit der Rechnung nicht zufrieden"
            for number in range(len(table))
        ],
        since=[(NEWEST - pd.Timedelta(days=30 * int(months))).strftime("%d.%m.%Y") for months in table["tenure"]],
        left_on=(NEWEST - pd.to_timedelta(days, unit="D")).dt.strftime("%d.%m.%Y").where(has_left, ""),
        country="AT",
        churn=np.where(has_left, "gekündigt", "aktiv"),
    )


def test_a_file_as_people_bring_it_is_understood(tmp_path: Path) -> None:
    table = as_people_bring_it(customers_table())
    table.to_csv(tmp_path / "kunden.csv", sep=";", index=False, encoding="cp1252")

    with pytest.raises(TrialError, match="--value"):
        tried(tmp_path / "kunden.csv")
    trial = tried(tmp_path / "kunden.csv", values=("gekündigt",))

    assert {each.column for each in trial.typed.left_out} == {"email", "remark", "left_on", "country"}
    assert [each.feature.label for each in trial.suspicions] == ["left_on"]
    kinds = {feature.label: feature.kind for feature in trial.typed.features}
    assert kinds["monthly_fee"] == kinds["since"] == "number"
    assert trial.validation.is_told_from_chance
    assert (trial.validation.best.metrics["auc"] or 0) < 0.95


def test_a_leak_that_a_person_keeps_is_kept_and_told(tmp_path: Path) -> None:
    table = customers_table(300)
    table["left_score"] = table["churn"].eq("Yes") * 5 + np.arange(300) % 3

    kept = tried(written(table, tmp_path / "a.csv"), keep=("left_score",))
    asked = tried(tmp_path / "a.csv", keep_all=True)

    for trial in (kept, asked):
        assert [each.feature.label for each in trial.kept_suspicions] == ["left_score"]
        assert (trial.validation.best.metrics["auc"] or 0) > 0.99


def test_a_customer_with_several_rows_stands_in_one_fold(tmp_path: Path) -> None:
    table = customers_table(600)
    table["customer_id"] = [f"C{number // 3}" for number in range(600)]

    trial = tried(written(table, tmp_path / "a.csv"))

    folds = pd.Series(trial.validation.rows.folds).groupby(trial.validation.rows.customers).nunique()
    assert trial.customers == 200
    assert (folds == 1).all()


def test_noise_has_the_share_of_all_for_a_score_and_no_reasons(tmp_path: Path) -> None:
    table = customers_table(400)
    table["churn"] = np.random.default_rng(1).choice(["Yes", "No"], 400, p=[0.3, 0.7])

    trial = tried(written(table, tmp_path / "a.csv"))

    scores = scores_frame(trial)
    assert not trial.validation.is_told_from_chance
    assert scores["probability"].nunique() == 1
    assert scores["probability"].iloc[0] == pytest.approx(table["churn"].eq("Yes").mean())
    assert scores["reason_1"].eq("").all()


def test_errors_say_what_helps(tmp_path: Path) -> None:
    file = written(customers_table(300), tmp_path / "customers.csv")

    with pytest.raises(UnknownColumn, match="near it: churn"):
        tried(file, "churned")
    with pytest.raises(UnreadableTable, match=r"near it: customers\.csv"):
        tried(tmp_path / "customer.csv")
    with pytest.raises(UnreadableTable, match="is a folder"):
        tried(tmp_path)
    with pytest.raises(TrialError, match="no column is left"):
        tried(file, drop=("tenure", "contract", "monthly_fee", "paperless"))
    with pytest.raises(TrialError, match="--id or --outcome is wrong"):
        tried(file, customer="churn")
    with pytest.raises(TrialError, match="to be kept and to be dropped"):
        tried(file, keep=("tenure",), drop=("tenure",))
    (tmp_path / "customers.sav").write_text("x")
    with pytest.raises(UnreadableTable, match="tells no format"):
        tried(tmp_path / "customers.sav")


@pytest.mark.parametrize("rows", [2, 40])
def test_too_few_outcomes_say_what_can_be_said(rows: int, tmp_path: Path) -> None:
    table = customers_table(rows)
    table["churn"] = ["Yes", *["No"] * (rows - 1)]

    with pytest.raises(TooFewOutcomes, match=rf"Of {rows} customers 1 has the outcome.*between .*%"):
        tried(written(table, tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["customers.csv", "customers.xlsx"])
def test_the_row_numbers_that_pandas_writes_have_no_name_and_say_nothing(name: str, tmp_path: Path) -> None:
    table = customers_table(300)
    table.to_csv(tmp_path / name) if name.endswith("csv") else table.to_excel(tmp_path / name)

    trial = tried(tmp_path / name)

    assert [(each.column, each.reason) for each in trial.typed.left_out] == [("column 1", "counts the rows")]


def test_lines_that_are_no_rows_are_told_and_many_of_them_refused(tmp_path: Path) -> None:
    text = customers_table(300).to_csv(index=False)
    (tmp_path / "a.csv").write_text(text + "total,300\n")

    trial = tried(tmp_path / "a.csv")

    assert (trial.read.in_file, trial.read.strays) == (300, 1)
    assert "1 line is left out" in trial.read.remarks[0]
    (tmp_path / "b.csv").write_text(text + "total,300\n" * 50)
    with pytest.raises(UnreadableTable, match="50 lines of 350"):
        tried(tmp_path / "b.csv")


def test_of_a_huge_file_rows_are_drawn_from_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ROWS", 500)
    monkeypatch.setattr("pipeline.connectors.file_reading.csv_lines.ROWS_AT_ONCE", 700)
    table = customers_table(6_000)

    read = reading.read_table(written(table, tmp_path / "a.csv"))

    assert (read.in_file, read.table.num_rows) == (6_000, 500)
    assert read.table["customer_id"].to_pylist() == table["customer_id"].iloc[read.numbers - 1].tolist()
    assert np.histogram(read.numbers, bins=4, range=(0, 6_000))[0].min() > 80
    assert "drawn by chance" in read.remarks[0]


@pytest.mark.skipif(DATA is None, reason="the data sets to try on are not here")
def test_the_shops_leak_is_named_and_without_it_the_order_is_as_good_as_a_careful_analysts() -> None:
    assert DATA is not None
    trial = tried(DATA / "online_shoppers" / "sessions.parquet", "Revenue")

    assert [each.feature.label for each in trial.suspicions] == ["PageValues"]
    assert trial.validation.best.metrics["auc"] == pytest.approx(0.785, abs=0.01)


@pytest.mark.skipif(DATA is None, reason="the data sets to try on are not here")
@pytest.mark.parametrize(("table", "leaks"), [("accounts", []), ("subscriptions", ["end_date"])])
def test_data_without_signal_are_not_told_from_chance(table: str, leaks: list[str]) -> None:
    assert DATA is not None
    trial = tried(DATA / "ravenstack" / f"ravenstack_{table}.csv", "churn_flag")

    assert [each.feature.label for each in trial.suspicions] == leaks
    assert not trial.validation.is_told_from_chance
