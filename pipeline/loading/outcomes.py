"""The churn that a company's sample shows, by the company's own definition, and how many outcomes that makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from ml_assets.training.ladder import OutcomeCounts
from pipeline.loading.sample import EntitySample
from pipeline.prediction.tasks import ChurnSettings


@dataclass(frozen=True)
class ChurnCheck:
    """Churners by month ("2025-03") and the outcomes that models would learn from.

    scale: by what the outcomes were multiplied, from the records read to the source's own count; 1 where all was read.
    """

    by_month: tuple[tuple[str, int], ...]
    outcomes: OutcomeCounts
    scale: float


def churn_check(churn: ChurnSettings, samples: Mapping[str, EntitySample], now: datetime) -> ChurnCheck | None:
    """The churn in the samples by entity; None where the records that tell of it could not be read, or none came."""
    told_by = "payments" if churn.kind == "inactivity" else "customers"
    sample = samples.get(told_by)
    if sample is None or not sample.table.num_rows:
        return None
    # Of a part of the records, oldest changes first, nothing is known after the last of them.
    until = pd.Timestamp(now if sample.is_complete else min(sample.until or now, now))
    horizon = pd.Timedelta(days=churn.horizon_days)
    if churn.kind == "inactivity":
        spells = _silences(sample.table, pd.Timedelta(days=churn.inactivity_days or 0), until)
    elif churn.kind == "downgrade":
        spells = _downgrades(sample.table, churn.downgrade_share or 1.0, until)
    else:
        spells = _cancellations(sample.table, until)
    counted = _outcomes(spells, horizon, until)
    scale = 1.0
    if not sample.is_complete and sample.total and sample.received:
        scale = sample.total / sample.received
        counted = OutcomeCounts(*(round(value * scale) for value in vars(counted).values()))
    months = spells["churned_at"].dropna().dt.strftime("%Y-%m").value_counts().sort_index()
    return ChurnCheck(tuple((str(month), int(count)) for month, count in months.items()), counted, scale)


def _newest(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas().sort_values("updated_at", kind="stable")
    frame = frame.drop_duplicates("customer_id", keep="last")
    return frame[~frame["is_deleted"].fillna(False) & ~frame["is_test"].fillna(False)]


def _cancellations(table: pa.Table, until: pd.Timestamp) -> pd.DataFrame:
    """One row per customer: active from `begins_at`, left at `churned_at` (NaT: not known to have left)."""
    newest = _newest(table)
    left = pd.to_datetime(newest["cancelled_at"], utc=True).where(lambda moments: moments < until)
    return pd.DataFrame(
        {
            "customer_id": newest["customer_id"],
            "begins_at": pd.to_datetime(newest["created_at"], utc=True),
            "ends_at": left,
            "quiet_from": left,
            "churned_at": left,
        }
    )


def _silences(table: pa.Table, inactivity: pd.Timedelta, until: pd.Timestamp) -> pd.DataFrame:
    """One row per successful charge: silent from it until the next; churned once silent for `inactivity`."""
    frame = table.to_pandas()
    paid = pd.to_datetime(frame["paid_at"], utc=True)
    charges = frame.assign(paid_at=paid)[(frame["kind"] == "charge") & paid.notna() & (paid < until)]
    charges = charges[~charges["is_deleted"].fillna(False)].sort_values(["customer_id", "paid_at"])
    following = charges.groupby("customer_id")["paid_at"].shift(-1)
    silent_at = charges["paid_at"] + inactivity
    return pd.DataFrame(
        {
            "customer_id": charges["customer_id"],
            "begins_at": charges["paid_at"],
            "ends_at": silent_at,
            "quiet_from": charges["paid_at"],
            "quiet_until": following,
            "churned_at": silent_at.where((following.isna() & (silent_at < until)) | (following > silent_at)),
        }
    )


def _downgrades(table: pa.Table, share: float, until: pd.Timestamp) -> pd.DataFrame:
    """One row per customer and price drop, or per customer without one. A price of before needs a version of before."""
    frame = table.to_pandas().sort_values(["customer_id", "updated_at"])
    price = pd.to_numeric(frame["monthly_price"])
    before = price.groupby(frame["customer_id"]).shift(1)
    dropped = pd.to_datetime(frame["updated_at"], utc=True).where((before > 0) & (price <= before * (1 - share)))
    first_drop = dropped.where(dropped < until).groupby(frame["customer_id"]).min()
    newest = _newest(table).set_index("customer_id")
    left = first_drop.reindex(newest.index)
    begins = pd.to_datetime(newest["created_at"], utc=True)
    return pd.DataFrame(
        {"begins_at": begins, "ends_at": left, "quiet_from": left, "churned_at": left}, index=newest.index
    ).reset_index()


def _outcomes(spells: pd.DataFrame, horizon: pd.Timedelta, until: pd.Timestamp) -> OutcomeCounts:
    """Customers with and without an outcome on the monthly grid, as training counts them.

    A customer counts with the first of a month on which it was active and whose horizon has passed; the outcome
    is there when it left within the horizon of such a day.
    """
    first_day = _month_start(spells["begins_at"], months_later=1)
    still_active = spells["ends_at"].isna() | (first_day <= spells["ends_at"])
    has_row = still_active & (first_day + horizon <= until)
    if "quiet_until" in spells:  # A day after a charge with nothing paid for one horizon.
        end = spells["quiet_until"].fillna(until)
        has_outcome = has_row & (first_day + horizon <= end)
    else:  # The last day before leaving.
        last_day = _month_start(spells["churned_at"])
        is_mature = last_day + horizon <= until
        has_outcome = is_mature & (last_day > spells["begins_at"]) & (spells["churned_at"] < last_day + horizon)
    by_customer = pd.DataFrame({"row": has_row | has_outcome, "outcome": has_outcome}).groupby(spells["customer_id"])
    seen = by_customer.max()
    entities, outcomes = int(seen["row"].sum()), int(seen["outcome"].sum())
    return OutcomeCounts(rows=int(has_row.sum()), entities=entities, outcomes=outcomes, survivors=entities - outcomes)


def _month_start(moments: pd.Series, months_later: int = 0) -> pd.Series:
    """00:00 UTC on the first of each moment's month, or of a later one."""
    plain: Any = pd.to_datetime(moments, utc=True).dt.tz_localize(None)
    months = plain.dt.to_period("M").dt.to_timestamp() + pd.DateOffset(months=months_later)
    starts: pd.Series = months.dt.tz_localize(UTC)
    return starts
