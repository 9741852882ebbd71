"""The scoreboard of known truth: what publishes, beside the best that is possible, on the same rows.

    python -m benchmarks.known_truth

The demo's simulator knows each customer's true probability of churn and what made it. Rows: the demo's customers at the
dates that the champion has not learned from. Twice each AUC: by what happened, and as expected over all that might
have happened by the true probabilities, which has no luck of the draw in it. BENCH_DEMO_HOME names the home of a
finished `churn demo run` to judge; without it one is run.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import orjson
import pandas as pd
from sklearn.metrics import roc_auc_score

from demo.truth import read_truth
from ml_assets.estimators.base import Estimator
from ml_assets.estimators.rules import BinnedRule
from ml_assets.frames import FloatArray, as_of_dates
from ml_assets.judging.evaluate import calibration_error
from ml_assets.model.calibrate import levelled
from ml_assets.model.level import measure_level
from ml_assets.model.trained import TrainedModel
from ml_assets.scoring.reasons_json import TOP_REASONS
from ml_assets.scoring.rows import build_score_rows
from ml_assets.task import ENTITY_ID
from ml_assets.training.lessons import fingerprint, read_rows
from ml_assets.training.train import repeat
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import task_named
from warehouse.companies.definition import Company
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import labelled_rows, rows_at
from warehouse.prediction.model_log import chosen_model
from warehouse.settings import Settings

ROOT = Path(__file__).parents[1]
CHURN_COMMAND = Path(sys.executable).with_name("churn")
CHURN = task_named("churn")
SAAS, GAP_TO_CLOSE = "brightdesk", 0.90
LARGEST_ERROR, ROWS_FOR_ERROR = 0.02, 5_000
FEWEST_OUTCOMES = 30
DRAWS = 200
RISK_DOUBLES = float(np.log(2))
#: Which features show a driver of the simulator, by what is in their names.
SHOWN_BY = {
    "unsolved_tickets": r"tickets_open$|open_ticket_days|unanswered",
    "slow_tickets": r"slow|resolution|first_response",
    "failed_payments": r"failed|dunning|overdue",
    "late_payments": r"late|overdue",
    "falling_activity": r"against|active_days|event|activity|changes_down|change_down|seats|charge_30d|_7d$",
    "young_tenure": r"tenure|_against_own_year|_365d$",
    "price_rise": r"price|discount|changes_up|change_up|charge_",
    "plan": r"plan|price|seats|charge|revenue",
    "usual_gap": r"between_payments|payments_\d+d$|gap|revenue_\d+d$",
    "recency": r"recency|last_payment|payments_(7|30)d$|revenue_(7|30)d$",
}


@dataclass(frozen=True)
class _Told:
    """What `repeat` asks of an estimator: which candidate to fit, and how."""

    kind: str
    told: Mapping[str, Any]
    is_rule: ClassVar[bool] = False

    def settings(self) -> dict[str, object]:
        return dict(self.told)


@dataclass(frozen=True)
class Judged:
    """One company's rows: outcome, true probability, each model's probability, and how well drivers are named."""

    company: str
    publishes: str
    rows: pd.DataFrame
    probabilities: dict[str, FloatArray]
    drivers: dict[str, tuple[int, int, float]]

    @property
    def outcomes(self) -> FloatArray:
        """1.0 where the customer left within the horizon."""
        return self.rows["churned"].to_numpy(dtype=np.float64)

    @property
    def truth(self) -> FloatArray:
        """The hidden probability."""
        return self.rows["churn_probability"].to_numpy(dtype=np.float64)


def main() -> None:
    """Judge the demo's companies; exits 1 where a promise is not kept."""
    with demo_home() as home, Warehouse.open(Settings(home=home)) as warehouse:
        registry = ModelRegistry(warehouse, home)
        with warehouse.connect() as conn:
            companies = list_companies(conn)
        judged = [_judge(warehouse, registry, home, company, companies) for company in companies]
    kept = _print_ranking(judged)
    kept += _print_calibration(judged)
    _print_drivers(judged)
    if not all(kept):
        raise SystemExit(1)


@contextmanager
def demo_home() -> Iterator[Path]:
    if named := os.environ.get("BENCH_DEMO_HOME"):
        yield Path(named.split(":")[0])
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        run_churn(home, "demo", "run")
        yield home


def run_churn(home: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHURN_")}
    told = {**environment, "CHURN_HOME": str(home)}
    done = subprocess.run(
        [str(CHURN_COMMAND), *arguments], cwd=ROOT, env=told, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"churn {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def _judge(
    warehouse: Warehouse, registry: ModelRegistry, home: Path, company: Company, companies: list[Company]
) -> Judged:
    """The champion that publishes, and the rule and the baseline trained as its training's record says."""
    with warehouse.connect() as conn:
        name = chosen_model(conn, company.company_id, CHURN.name)
    champion = registry.champion(name) if name else None
    if name is None or champion is None:
        raise SystemExit(f"{company.slug} has no champion in {home}: `churn demo run` did not finish there")
    model, version = champion
    record = registry.report(version)
    test, learned = record["split"].get("test") or [], _learned_from(warehouse, company, companies, model)
    frame = _unseen(warehouse, company, model, test)
    if model.level is not None:
        model, learned = _as_of(model, record["split"], learned, date.fromisoformat(test[0]))
    truth = read_truth(home / "demo", company.slug).to_pandas()
    truth["as_of_date"] = pd.to_datetime(truth["as_of_date"]).dt.date
    frame["as_of_date"] = pd.to_datetime(frame["as_of_date"]).dt.date
    rows = frame.merge(truth.rename(columns={"customer_id": ENTITY_ID}), on=[ENTITY_ID, "as_of_date"])
    probabilities = {"champion": model.score(rows, explain=False).probability, "hidden": rows["churn_probability"]}
    for label, candidate in (("rule", BinnedRule.kind), ("baseline", "logistic")):
        if model.rung == "rule":
            probabilities[label] = probabilities["champion"]
            continue
        settings = record["decision"]["settings"].get("rule" if label == "rule" else candidate, {})
        stand_in = replace(model, estimator=cast(Estimator, _Told(candidate, settings)))
        again = repeat(stand_in, record["split"], learned, CHURN.task)
        probabilities[label] = again.score(rows, explain=False).probability
    publishes = f"{model.estimator.kind} ({model.rung})"
    plain = {name: np.asarray(values, dtype=np.float64) for name, values in probabilities.items()}
    return Judged(company.slug, publishes, rows, plain, _named_drivers(model, rows))


def _as_of(
    model: TrainedModel, split: dict[str, Any], learned: pd.DataFrame, first: date
) -> tuple[TrainedModel, pd.DataFrame]:
    """The champion as its settings would have published it on the first test date, and the rows known by then."""
    assert model.level is not None
    horizon = np.timedelta64(model.facts.horizon_days, "D")
    known = learned[as_of_dates(learned) + horizon <= np.datetime64(first)].reset_index(drop=True)
    rows = read_rows(known, CHURN.task)
    seen = fingerprint(rows.frame, model.encoder.features, CHURN.task)
    facts = replace(model.facts, last_seen_date=str(rows.dates.max()), fingerprint=seen)
    again = repeat(replace(model, facts=facts), split, known, CHURN.task)
    margins = again.estimator.margins(again.encoder.encode(rows.frame))
    line = levelled(again.calibrator, margins, rows.outcomes)
    level = measure_level(margins, rows.outcomes, rows.dates, line, facts.horizon_days)
    return replace(again, level=replace(level, is_applied=model.level.is_applied)), known


def _unseen(warehouse: Warehouse, company: Company, model: TrainedModel, test: list[str]) -> pd.DataFrame:
    """The company's feature rows at the test dates and later ones; a rule without test dates: those it did not see."""
    names, attributes = _names(model, company)
    after = date.fromisoformat(test[0]) if test else date.fromisoformat(str(model.facts.last_seen_date))
    with warehouse.connect() as conn:
        days = conn.execute(
            "select distinct as_of_date from features.churn_feature_matrix"
            " where company_id = %s and as_of_date >= %s and extract(day from as_of_date) = 1 order by 1",
            [company.company_id, after],
        ).fetchall()
    chosen = [day for (day,) in days if test or day > after]
    place = (warehouse, CHURN.relations, company.company_id)
    parts: list[pd.DataFrame] = [rows_at(*place, day, names, attributes).to_pandas() for day in chosen]
    return pd.concat(parts)


def _learned_from(
    warehouse: Warehouse, company: Company, companies: list[Company], model: TrainedModel
) -> pd.DataFrame:
    names, attributes = _names(model, company)
    sharing = [company]
    if model.rung == "pooled_model":
        means = CHURN.settings_of(company).meaning()
        sharing = [
            sharer for sharer in companies if sharer.shares_training and CHURN.settings_of(sharer).meaning() == means
        ]
    ids = [sharer.company_id for sharer in sharing]
    frame: pd.DataFrame = labelled_rows(warehouse, CHURN.relations, ids, names, attributes).to_pandas()
    return frame


def _names(model: TrainedModel, company: Company) -> tuple[list[str], Any]:
    features = [feature.name for feature in model.encoder.features]
    own = [f"attribute_{attribute.name}" for attribute in company.custom_attributes]
    return [name for name in features if name not in own], company.custom_attributes if set(own) & set(features) else ()


def _named_drivers(model: TrainedModel, rows: pd.DataFrame) -> dict[str, tuple[int, int, float]]:
    """By driver: how often it doubled a customer's hazard at least, how often a top reason shows it, and by chance.

    Doubled: against the company's mean contribution of the driver. A reason counts where it raises the risk. By chance:
    the share of all rows among whose top reasons it stands.
    """
    scored = build_score_rows(model, rows, CHURN.task, model_version="")
    raising = [
        [reason["feature"] for reason in orjson.loads(text)[:TOP_REASONS] if reason["contribution"] > 0]
        for text in scored["reasons"]
    ]
    drivers = {}
    for driver, pattern in SHOWN_BY.items():
        if (column := f"contribution_{driver}") not in rows:
            continue
        matches = re.compile(pattern).search
        is_named = np.array([any(matches(feature) for feature in features) for features in raising])
        is_true = (rows[column] - rows[column].mean()).to_numpy() >= RISK_DOUBLES
        if is_true.any():
            drivers[driver] = (int(is_true.sum()), int((is_named & is_true).sum()), float(is_named.mean()))
    return drivers


def expected_auc(truth: FloatArray, scores: FloatArray) -> float:
    """AUC where each row counts as left with its true probability, and as stayed with the rest."""
    return float(
        roc_auc_score(
            np.repeat([1.0, 0.0], len(truth)), np.tile(scores, 2), sample_weight=np.concatenate([truth, 1 - truth])
        )
    )


def closed_share(aucs: Mapping[str, float]) -> float:
    """Share of the way from the rule to the hidden hazard that the champion has come."""
    return (aucs["champion"] - aucs["rule"]) / (aucs["hidden"] - aucs["rule"])


def _aucs(judgement: Judged) -> dict[str, float]:
    return {name: float(roc_auc_score(judgement.outcomes, scores)) for name, scores in judgement.probabilities.items()}


def _closed_interval(judgement: Judged) -> tuple[float, float]:
    """95 percent interval of the share closed by what happened, customers drawn again."""
    _, member = np.unique(judgement.rows[ENTITY_ID], return_inverse=True)
    random, shares = np.random.default_rng(7), []
    for _ in range(DRAWS):
        weight = np.bincount(random.integers(0, member.max() + 1, member.max() + 1), minlength=member.max() + 1)[member]
        aucs = {
            name: float(roc_auc_score(judgement.outcomes, scores, sample_weight=weight))
            for name, scores in judgement.probabilities.items()
        }
        shares.append(closed_share(aucs))
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def _print_ranking(judged: list[Judged]) -> list[bool]:
    print("AUC at dates that the champion has not learned from; hidden: the best that is possible")
    line = "{:<12} {:<10} {:>7} {:>8} {:>7} {:>9} {:>9} {:>7} {:>11}"
    print(line.format("company", "", "rows", "outcomes", "rule", "baseline", "champion", "hidden", "gap closed"))
    kept = []
    for judgement in judged:
        expected = {name: expected_auc(judgement.truth, scores) for name, scores in judgement.probabilities.items()}
        standings = [("expected", expected)]
        if judgement.outcomes.sum() >= FEWEST_OUTCOMES:
            standings.insert(0, ("happened", _aucs(judgement)))
        for label, aucs in standings:
            figures = [f"{aucs[name]:.3f}" for name in ("rule", "baseline", "champion", "hidden")]
            counts = [f"{len(judgement.rows):,}", f"{judgement.outcomes.sum():.0f}"]
            print(line.format(judgement.company, label, *counts, *figures, f"{closed_share(aucs):.0%}"))
        print(f"    {judgement.company} publishes with {judgement.publishes}")
        if judgement.company == SAAS:
            low, high = _closed_interval(judgement)
            print(f"    gap closed by what happened: 95 % between {low:.0%} and {high:.0%} (customers drawn again)")
            kept.append(_promise("gap closed, as expected", closed_share(expected), GAP_TO_CLOSE, at_least=True))
        if "(rule)" not in judgement.publishes:
            better = expected["champion"] - expected["rule"]
            kept.append(_promise(f"{judgement.company}: champion beats the rule by", better, 0.0, at_least=True))
    return kept


def _print_calibration(judged: list[Judged]) -> list[bool]:
    print("Expected calibration error of what is published, ten bins of equal mass")
    line = "{:<12} {:>7} {:>7} {:>7} {:>7} {:>14} {:>17}"
    print(line.format("company", "rows", "mean", "truth", "left", "against truth", "against outcomes"))
    kept = []
    for judgement in judged:
        published = judgement.probabilities["champion"]
        truth = calibration_error(published, judgement.truth)
        outcomes = calibration_error(published, judgement.outcomes)
        means = [f"{values.mean():.3f}" for values in (published, judgement.truth, judgement.outcomes)]
        rows = len(judgement.rows)
        print(line.format(judgement.company, f"{rows:,}", *means, f"{truth:.4f}", f"{outcomes:.4f}"))
        if rows >= ROWS_FOR_ERROR:
            kept.append(_promise(f"{judgement.company}: against outcomes", outcomes, LARGEST_ERROR))
    return kept


def _print_drivers(judged: list[Judged]) -> None:
    print(f"True drivers (they doubled the hazard at least) among the top {TOP_REASONS} reasons that raise the risk")
    print(f"{'company':<12} {'driver':<18} {'true':>7} {'found':>7} {'share':>7} {'by chance':>10}")
    for judgement in judged:
        for driver, (true, named, chance) in judgement.drivers.items():
            print(f"{judgement.company:<12} {driver:<18} {true:>7,} {named:>7,} {named / true:>7.0%} {chance:>10.0%}")
        total = sum(true for true, _, _ in judgement.drivers.values())
        named = sum(named for _, named, _ in judgement.drivers.values())
        chance = sum(true * share for true, _, share in judgement.drivers.values())
        if total:
            line = f"{total:>7,} {named:>7,} {named / total:>7.0%} {chance / total:>10.0%}"
            print(f"{judgement.company:<12} {'all':<18} {line}")


def _promise(name: str, value: float, promised: float, *, at_least: bool = False) -> bool:
    kept = value >= promised if at_least else value <= promised
    bound = "at least" if at_least else "at most"
    print(f"    {name:38} {value:7.3f}   (promised: {bound} {promised:g}){'' if kept else '   MISSED'}", flush=True)
    return kept


if __name__ == "__main__":
    main()
