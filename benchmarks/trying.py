"""`churn try` beside a modest LightGBM (200 trees, rate 0.03, 15 leaves) on the same columns and the same folds.

    python -m benchmarks.trying [--rows 10000] [FILE:OUTCOME ...]

On a generated telecom snapshot, and on files of one's own. Seconds are of processor time, of the whole process, so that
a busy machine changes little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ml_assets.frames import FeatureEncoder
from ml_assets.judging.evaluate import evaluate
from pipeline.trying.page import write_page
from pipeline.trying.scores_file import write_scores
from pipeline.trying.trial import Trial, TrialSettings, try_file

PROMISED_SECONDS = 120
"""For 10,000 rows: a minute of two cores."""
MODEST = {"objective": "binary", "learning_rate": 0.03, "num_leaves": 15, "verbosity": -1, "seed": 7, "num_threads": 2}
TREES = 200


def telecom(rows: int) -> pd.DataFrame:
    """Customers of a telephone company; who left follows tenure, contract, line and fee, and chance."""
    random = np.random.default_rng(7)
    tenure = random.integers(0, 73, rows)
    contract = random.choice(["Month-to-month", "One year", "Two year"], rows, p=[0.55, 0.21, 0.24])
    line = random.choice(["DSL", "Fiber optic", "No"], rows, p=[0.34, 0.44, 0.22])
    fee = np.round(20 + 25 * (line != "No") + 25 * (line == "Fiber optic") + random.normal(0, 6, rows).clip(-10, 20), 2)
    log_odds = -0.8 - 0.035 * tenure + 1.4 * (contract == "Month-to-month") - (contract == "Two year")
    log_odds += 0.7 * (line == "Fiber optic") + 0.01 * (fee - 60)
    table = {"customer_id": [f"C-{number:06d}" for number in random.permutation(rows)], "tenure": tenure}
    table |= {"contract": contract, "line": line, "fee": fee, "total": np.round(fee * tenure, 2)}
    table |= {f"option {number}": random.choice(["Yes", "No", "No line"], rows) for number in range(6)}
    table |= {f"figure {number}": random.gamma(2, 3, rows).round(2) for number in range(6)}
    table["churn"] = np.where(random.random(rows) < 1 / (1 + np.exp(-log_odds)), "Yes", "No")
    return pd.DataFrame(table)


def modest(trial: Trial) -> tuple[float, float]:
    """AUC and log loss of the modest LightGBM on the trial's folds."""
    import lightgbm

    rows = trial.validation.rows
    matrix = FeatureEncoder.fit(rows.frame, trial.typed.features).encode(rows.frame)
    places = [place for place, feature in enumerate(trial.typed.features) if feature.kind == "category"]
    probabilities = np.empty(len(rows.outcomes))
    for fold in np.unique(rows.folds):
        seen = rows.folds != fold
        learned = lightgbm.Dataset(matrix[seen], rows.outcomes[seen], categorical_feature=places)
        probabilities[~seen] = lightgbm.train(MODEST, learned, num_boost_round=TREES).predict(matrix[~seen])
    metrics = evaluate(probabilities, rows.outcomes)
    return metrics["auc"] or 0.0, metrics["log_loss"] or 0.0


def measure(file: Path, outcome: str, folder: Path) -> float:
    """Prints a line for the file; the seconds of processor time that it took."""
    begun = time.process_time()
    trial = try_file(file, TrialSettings(outcome), lambda _: True)
    write_scores(trial, folder / "scores.csv")
    write_page(trial, folder / "page.html")
    seconds = time.process_time() - begun
    auc, loss = modest(trial)
    ours = trial.validation.best.metrics
    leaks = ", ".join(each.feature.label for each in trial.suspicions) or "–"
    told = trial.validation.chosen if trial.validation.is_told_from_chance else "not told from chance"
    print(
        f"{file.name:28} {len(trial.typed.frame):7,} {seconds:6.1f} s  AUC {ours['auc']:.3f} ({auc:.3f})  "
        f"log loss {ours['log_loss']:.4f} ({loss:.4f})  {told}; left out: {leaks}"
    )
    return seconds


def main() -> None:
    """Measure the generated snapshot, then the files that were named; exits 1 where the first takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("files", nargs="*", metavar="FILE:OUTCOME")
    arguments = parser.parse_args()
    print("file, rows, processor time, figures (those of the modest LightGBM on the same folds)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        telecom(arguments.rows).to_csv(folder / "telecom.csv", index=False)
        seconds = measure(folder / "telecom.csv", "churn", folder)
        for named in arguments.files:
            file, _, outcome = named.rpartition(":")
            measure(Path(file), outcome, folder)
    if seconds > PROMISED_SECONDS * arguments.rows / 10_000:
        raise SystemExit(f"{seconds:.0f} s, more than {PROMISED_SECONDS} s for 10,000 rows")


if __name__ == "__main__":
    main()
