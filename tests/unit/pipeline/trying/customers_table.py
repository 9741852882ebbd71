"""A table of customers as people bring it: what stays or leaves is drawn from tenure, contract and fee."""

from __future__ import annotations

import numpy as np
import pandas as pd

NEWEST = pd.Timestamp("2024-12-31")


def customers_table(rows: int = 600, seed: int = 3) -> pd.DataFrame:
    """A row per customer, typed; `churn` is yes or no, for about a quarter yes."""
    random = np.random.default_rng(seed)
    tenure = random.integers(0, 73, rows)
    contract = random.choice(["Month-to-month", "One year", "Two year"], rows, p=[0.55, 0.21, 0.24])
    fee = np.round(20 + 60 * random.random(rows), 2)
    log_odds = -1.5 - 0.05 * (tenure - 20) + 1.5 * (contract == "Month-to-month") + 0.02 * (fee - 50)
    has_left = random.random(rows) < 1 / (1 + np.exp(-log_odds))
    return pd.DataFrame(
        {
            "customer_id": [f"C-{number:05d}" for number in random.permutation(rows)],
            "tenure": tenure,
            "contract": contract,
            "monthly_fee": fee,
            "paperless": random.choice(["Yes", "No"], rows),
            "churn": np.where(has_left, "Yes", "No"),
        }
    )
