"""How near the models come to the best that is possible: the demo's hidden hazard, on the same rows.

The simulator knows each customer's true probability of churn. Its AUC on the rows that the models were judged on is
the ceiling; the best single column is the floor. Run with `python -m benchmarks.known_truth`.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import roc_auc_score

from warehouse.connection import Warehouse
from warehouse.settings import Settings

CHURN = Path(sys.executable).with_name("churn")
COMPANIES = ("brightdesk", "marketlane")
ROW = "{:<12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>18}"


@dataclass(frozen=True)
class Standing:
    """AUCs of one company's candidates and of the hidden hazard, on the same rows."""

    company: str
    rows: int
    aucs: dict[str, float]
    hidden: float

    def closed(self, candidate: str) -> float:
        """Share of the way from the one-column rule to the hidden hazard that a candidate has come."""
        return (self.aucs[candidate] - self.aucs["rule"]) / (self.hidden - self.aucs["rule"])


def main() -> None:
    """Run the demo in a folder of its own and print a line per company with a model of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        subprocess.run(
            [str(CHURN), "demo", "run"],
            env={**os.environ, "CHURN_HOME": str(home)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with Warehouse.open(Settings(home=home)) as warehouse:
            standings = [_standing(warehouse, home, company) for company in COMPANIES]
    print("AUC on the last mature dates; the hidden hazard is the best that is possible")
    print(ROW.format("company", "rows", "rule", "logistic", "xgboost", "hidden", "gap closed (best)"))
    for standing in standings:
        best = max(("xgboost", "logistic"), key=lambda name: standing.aucs[name])
        figures = (standing.aucs["rule"], standing.aucs["logistic"], standing.aucs["xgboost"], standing.hidden)
        print(
            ROW.format(
                standing.company, standing.rows, *(f"{value:.3f}" for value in figures), f"{standing.closed(best):.0%}"
            )
        )


def _standing(warehouse: Warehouse, home: Path, company: str) -> Standing:
    aucs = dict(
        _ask(
            warehouse,
            "select candidate, value from ml.evaluations inner join ops.companies using (company_id)"
            " where slug = %s and metric = 'auc'",
            company,
        )
    )
    labels = pd.DataFrame(
        _ask(
            warehouse,
            "select label.customer_id, label.as_of_date, label.is_churned"
            " from features.churn_labels as label"
            " inner join ops.companies as company using (company_id)"
            " inner join ml.training_runs as run using (company_id)"
            " where company.slug = %s and label.is_mature and label.is_churned is not null"
            " and run.decision -> 'split' -> 'test' ? label.as_of_date::text",
            company,
        ),
        columns=["customer_id", "as_of_date", "is_churned"],
    )
    truth = pd.read_parquet(home / "demo" / "truth" / f"{company}.parquet")
    truth["as_of_date"] = pd.to_datetime(truth["as_of_date"]).dt.date
    rows = labels.merge(truth, on=["customer_id", "as_of_date"])
    hidden = float(roc_auc_score(rows["is_churned"].astype(bool), rows["churn_probability"]))
    return Standing(company, len(rows), aucs, hidden)


def _ask(warehouse: Warehouse, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with warehouse.connect() as conn:
        return conn.execute(query, parameters).fetchall()  # type: ignore[call-overload]


if __name__ == "__main__":
    main()
