"""A small simulated world for the tests of ml_assets: customers, monthly dates, and a hazard we know."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from ml_assets.task import Feature, PredictionTask

TRAINED_AT = datetime(2026, 1, 1, tzinfo=UTC)
HORIZON_DAYS = 30

CHURN = PredictionTask(name="churn", entity="customer", rule_feature="days_since_last_payment")

FEATURES = (
    Feature("days_since_last_payment", "Days since the last payment", "days", "payments", "number"),
    Feature("revenue_90d", "Revenue in the last 90 days", "company currency", "payments", "number"),
    Feature("failed_payments_90d", "Failed payments in the last 90 days", "payments", "payments", "number"),
    Feature("open_tickets", "Tickets that are open", "tickets", "tickets", "number"),
    Feature("tenure_days", "Days since the customer signed up", "days", "customer", "number"),
    Feature("usage_change", "Change of activity against the month before", "", "activity", "number"),
    Feature("plan", "Plan", "", "customer", "category"),
    Feature("country", "Country", "", "customer", "category"),
    Feature("is_late_payer", "Has paid late before", "", "payments", "flag"),
    Feature("noise_1", "Noise one", "", "noise", "number"),
    Feature("noise_2", "Noise two", "", "noise", "number"),
)


def month_starts(count: int, last: date = date(2025, 12, 1)) -> list[date]:
    """The first days of `count` months up to the last one."""
    number = last.year * 12 + last.month - 1
    return [date(month // 12, month % 12 + 1, 1) for month in range(number - count + 1, number + 1)]


def simulate(
    customers: int = 1200,
    months: int = 20,
    *,
    rate: float = 0.04,
    signal: float = 1.0,
    seed: int = 1,
    company: int = 1,
) -> pd.DataFrame:
    """One row per customer and month until the customer leaves; `true_probability` is the hazard.

    `signal` 0 makes the outcome independent of every feature.
    """
    random = np.random.default_rng(seed)
    plan = random.choice(["basic", "plus", "pro"], customers, p=[0.5, 0.3, 0.2])
    country = random.choice(["DE", "FR", "US", "BR"], customers)
    tenure = random.integers(10, 900, customers).astype(float)
    care = random.normal(size=customers)
    alive = np.ones(customers, dtype=bool)
    parts = []
    for day in month_starts(months):
        failed = random.poisson(0.4, customers).astype(float)
        tickets = random.poisson(0.6, customers).astype(float)
        usage = random.normal(0, 0.3, customers)
        since = np.where(failed > 0, 30 + random.exponential(25, customers), random.uniform(1, 30, customers))
        hazard = (
            0.5 * failed
            + 0.6 * (tickets > 1)
            - 1.2 * usage
            + 0.012 * (since - 25)
            - 0.5 * np.log1p(tenure / 100)
            + 0.8 * (plan == "basic") * (tickets > 0)
            + 0.4 * care
        )
        log_odds = np.log(rate / (1 - rate)) - 0.4 * signal + signal * (hazard - hazard.mean())
        probability = 1 / (1 + np.exp(-log_odds))
        churned = random.random(customers) < probability
        frame = pd.DataFrame(
            {
                "company_id": company,
                "entity_id": [f"c{number:05d}" for number in range(customers)],
                "as_of_date": day,
                "days_since_last_payment": np.round(since),
                "revenue_90d": random.gamma(2, 100, customers).round(2),
                "failed_payments_90d": failed,
                "open_tickets": tickets,
                "tenure_days": tenure,
                "usage_change": np.where(random.random(customers) < 0.1, np.nan, usage),
                "plan": np.where(random.random(customers) < 0.1, None, plan),
                "country": country,
                "is_late_payer": pd.array(random.random(customers) < 0.2, dtype="boolean"),
                "noise_1": random.normal(size=customers),
                "noise_2": random.normal(size=customers),
                "outcome": churned,
                "true_probability": probability,
            }
        )
        parts.append(frame[alive])
        alive &= ~churned
        tenure = tenure + 30
    return pd.concat(parts, ignore_index=True)
