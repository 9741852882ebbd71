"""The churn that a company's sample shows, by the company's own definition, and how many outcomes that makes.

The definition is that of dbt_project/models/tasks/churn, which needs a warehouse; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import pyarrow as pa

from ml_assets.training.ladder import OutcomeCounts
from pipeline.loading.sample import EntitySample
from pipeline.prediction.tasks import ChurnSettings

HISTORY_MONTHS = 36
"""`history_months` of dbt_project.yml: how far back the monthly grid goes."""


@dataclass(frozen=True)
class ChurnCheck:
    """Churners by month ("2025-03", UTC) and the outcomes that models would learn from.

    by_month holds all who are known to have churned, those too of whom no date of the grid can say so yet.

    scale: by what the outcomes were multiplied, from the records read to the source's own count; 1 where all was read.
    """

    by_month: tuple[tuple[str, int], ...]
    outcomes: OutcomeCounts
    scale: float


@dataclass(frozen=True)
class _Records:
    """What tells of churn. charges: where it is a silence. price_spells: where it is a downgrade."""

    versions: pd.DataFrame
    leavings: pd.DataFrame
    charges: pd.DataFrame | None = None
    price_spells: pd.DataFrame | None = None


def churn_check(churn: ChurnSettings, samples: Mapping[str, EntitySample], now: datetime) -> ChurnCheck | None:
    """The churn in the samples by entity; None where the records that tell of it could not be read, or none came.

    Equal to what the warehouse counts, where each version was loaded as it was made. A version that a load brings late
    is late there, which a source does not tell. Nor does it count a lower price up to its first load, when it knew no
    price: before it is there, the check shows the downgrades that it would have counted.
    """
    told_by = "payments" if churn.kind == "inactivity" else "customers"
    sample = samples.get(told_by)
    if sample is None or not sample.table.num_rows:
        return None
    # Of a part of the records, oldest changes first, nothing is known after the last of them.
    until = pd.Timestamp(now if sample.is_complete else min(sample.until or now, now))
    horizon = pd.Timedelta(days=churn.horizon_days)
    records = _records(churn, sample, samples.get("customers"))
    labels = [_labels(churn, records, day, day + horizon) for day in _monthly_grid(records.versions, horizon, until)]
    counted = _outcomes(labels)
    scale = 1.0
    if not sample.is_complete and sample.total and sample.received:
        scale = sample.total / sample.received
        counted = OutcomeCounts(*(round(value * scale) for value in vars(counted).values()))
    moments = _churn_moments(churn, records, until)
    months = moments.dt.strftime("%Y-%m").value_counts().sort_index()
    return ChurnCheck(tuple((str(month), int(count)) for month, count in months.items()), counted, scale)


def _records(churn: ChurnSettings, sample: EntitySample, customers: EntitySample | None) -> _Records:
    if churn.kind == "inactivity":
        charges = _charges(sample.table)
        # Of a part of the customers it cannot be told who is missing: whoever has paid counts as there.
        all_are_read = customers is not None and customers.is_complete and customers.table.num_rows
        versions = _versions(customers.table) if customers is not None and all_are_read else _payers(charges)
        return _Records(versions, _leavings(versions), charges=charges)
    versions = _versions(sample.table)
    return _Records(
        versions, _leavings(versions), price_spells=_price_spells(versions) if churn.kind == "downgrade" else None
    )


def _versions(table: pa.Table) -> pd.DataFrame:
    """All versions of the customers in order, each in force after `known_from` up to `known_to`, inclusive.

    The first reaches back to the customer's creation (known_from NaT), the last has no end (known_to NaT). deleted_at:
    when the customer was deleted for good, or NaT.
    """
    frame: pd.DataFrame = table.to_pandas().sort_values(["customer_id", "updated_at"], kind="stable")
    frame = frame.drop_duplicates(["customer_id", "updated_at"], keep="last").reset_index(drop=True)
    for name in ("created_at", "cancelled_at", "updated_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    for name in ("is_deleted", "is_test"):
        frame[name] = frame[name].eq(True)
    frame["monthly_price"] = pd.to_numeric(frame["monthly_price"])
    frame["currency"] = frame["currency"].str.upper().fillna("") if frame["currency"].notna().any() else ""
    by_customer = frame.groupby("customer_id")
    frame["known_from"] = frame["updated_at"].where(by_customer.cumcount() > 0)
    frame["known_to"] = by_customer["updated_at"].shift(-1)
    newest = frame.drop_duplicates("customer_id", keep="last").set_index("customer_id")
    frame["deleted_at"] = frame["customer_id"].map(newest["updated_at"].where(newest["is_deleted"]))
    return frame


def _payers(charges: pd.DataFrame) -> pd.DataFrame:
    """A version for each who has paid, who is there from the first charge on."""
    first = charges.groupby("customer_id")["paid_at"].min().rename("created_at").reset_index()
    never = pd.Series(pd.NaT, index=first.index, dtype=first["created_at"].dtype)
    moments = dict.fromkeys(("cancelled_at", "known_from", "known_to", "deleted_at"), never)
    payers: pd.DataFrame = first.assign(updated_at=first["created_at"], is_deleted=False, is_test=False, **moments)
    return payers


def _charges(table: pa.Table) -> pd.DataFrame:
    """Charges that were paid and are not void, by the newest version of each payment."""
    frame: pd.DataFrame = table.to_pandas().sort_values("updated_at", kind="stable")
    frame = frame.drop_duplicates("payment_id", keep="last")
    is_void = frame["status"].str.lower().eq("void") if frame["status"].notna().any() else False
    is_paid = frame["kind"].eq("charge") & frame["paid_at"].notna() & ~frame["is_deleted"].eq(True)
    charges = frame[is_paid & ~pd.Series(is_void, index=frame.index)]
    return charges.assign(paid_at=pd.to_datetime(charges["paid_at"], utc=True)).sort_values(["customer_id", "paid_at"])


def _leavings(versions: pd.DataFrame) -> pd.DataFrame:
    """Every time a customer left: from `left_at` until `returned_at`, NaT where the customer is still away.

    Versions that hold a cancelled_at one after another speak of one leaving, and the last of them is right.
    """
    live = versions[~versions["is_deleted"]]
    is_present = live["cancelled_at"].isna()
    live = live.assign(times_present=is_present.groupby(live["customer_id"]).cumsum())
    spells = live[~is_present].groupby(["customer_id", "times_present"], as_index=False)["cancelled_at"].last()
    returns = live.loc[is_present, ["customer_id", "times_present", "updated_at"]]
    returns = returns.assign(times_present=returns["times_present"] - 1)
    leavings = spells.merge(returns, on=["customer_id", "times_present"], how="left")
    leavings = leavings.rename(columns={"cancelled_at": "left_at", "updated_at": "returned_at"})
    is_withdrawn = leavings["left_at"] >= leavings["returned_at"]
    kept: pd.DataFrame = leavings[~is_withdrawn]
    return kept


def _price_spells(versions: pd.DataFrame) -> pd.DataFrame:
    """What a customer paid a month, from `begins_at` to `ends_at`, NaT where it still is the price."""
    live = versions.loc[~versions["is_deleted"], ["customer_id", "currency", "monthly_price", "updated_at"]]
    before = live.groupby("customer_id")[["currency", "monthly_price"]].shift(1)
    is_first = ~live["customer_id"].duplicated()
    has_same_price = (live["monthly_price"] == before["monthly_price"]) | (
        live["monthly_price"].isna() & before["monthly_price"].isna()
    )
    spells = live[is_first | ~has_same_price | (live["currency"] != before["currency"])]
    spells = spells.rename(columns={"updated_at": "begins_at"})
    return spells.assign(ends_at=spells.groupby("customer_id")["begins_at"].shift(-1))


def _monthly_grid(versions: pd.DataFrame, horizon: pd.Timedelta, until: pd.Timestamp) -> pd.DatetimeIndex:
    """00:00 UTC on the first of each month after the first customer came whose horizon has passed."""
    until = until.tz_convert("UTC")
    begin = max(versions["created_at"].min(), until.normalize() - pd.DateOffset(months=HISTORY_MONTHS))
    first = begin.normalize().replace(day=1) + pd.DateOffset(months=1)
    return pd.date_range(first, until - horizon, freq="MS")


def _labels(churn: ChurnSettings, records: _Records, day: pd.Timestamp, horizon_end: pd.Timestamp) -> pd.Series:
    """Whether each customer who can churn on that day did, by customer_id; who has no outcome is left out."""
    versions, leavings, charges = records.versions, records.leavings, records.charges
    is_in_force = ~(versions["known_from"] >= day) & ~(versions["known_to"] < day) & ~versions["is_deleted"]
    is_there = (versions["created_at"] < day) & ~(versions["cancelled_at"] < day) & ~versions["is_test"]
    present = versions[is_in_force & is_there].set_index("customer_id")
    is_gone = (leavings["left_at"] < day) & ~(leavings["returned_at"] < day)
    left_before = present.index.isin(leavings.loc[is_gone, "customer_id"]) | (present["deleted_at"] < day)
    if charges is not None:
        is_recent = charges["paid_at"].between(day - pd.Timedelta(days=churn.inactivity_days or 0), day, "left")
        in_horizon = charges["paid_at"].between(day, horizon_end, "left")
        pays = present.index.isin(charges.loc[is_recent, "customer_id"])
        has_churned = ~present.index.isin(charges.loc[in_horizon, "customer_id"])
        is_censored = has_churned & (present["deleted_at"] < horizon_end)
        left_before |= ~pays
    else:
        leave = leavings["left_at"].between(day, horizon_end, "left")
        has_churned = present.index.isin(leavings.loc[leave, "customer_id"])
        if records.price_spells is not None:
            lower = _lower_prices(present, records.price_spells, churn.downgrade_share or 1.0, day, horizon_end)
            left_before |= present.index.isin(lower.loc[lower["begins_at"] < day, "customer_id"])
            has_churned |= present.index.isin(lower.loc[lower["begins_at"] >= day, "customer_id"])
        is_censored = ~has_churned & (present["deleted_at"] < horizon_end)
    labels = pd.Series(has_churned, index=present.index, dtype=bool)
    return labels[~left_before & ~is_censored]


def _lower_prices(
    present: pd.DataFrame, spells: pd.DataFrame, share: float, day: pd.Timestamp, horizon_end: pd.Timestamp
) -> pd.DataFrame:
    """Spells from the day to the horizon's end of a price lower by the share than the one known on the day."""
    known = present[(present["updated_at"] < day) & (present["monthly_price"] > 0)]
    # Rounded as money is: a price of exactly the limit has churned.
    limits = (known["monthly_price"] * (1 - share)).round(6).rename("limit").to_frame().assign(known=known["currency"])
    lower = spells.merge(limits, left_on="customer_id", right_index=True)
    is_lower = (lower["monthly_price"] <= lower["limit"]) & (lower["currency"] == lower["known"])
    return lower[is_lower & (lower["begins_at"] < horizon_end) & ~(lower["ends_at"] < day)]


def _outcomes(labels: Sequence[pd.Series]) -> OutcomeCounts:
    """Customers with and without an outcome at any date, as training counts them."""
    rows = pd.concat([pd.Series(dtype=bool), *labels]).astype(bool)
    seen = rows.groupby(level=0).max()
    entities, outcomes = len(seen), int(seen.sum())
    return OutcomeCounts(rows=len(rows), entities=entities, outcomes=outcomes, survivors=entities - outcomes)


def _churn_moments(churn: ChurnSettings, records: _Records, until: pd.Timestamp) -> pd.Series:
    """When the customers who are not deleted and no test accounts churned, before `until`; several times if so."""
    charges, spells = records.charges, records.price_spells
    newest = records.versions.drop_duplicates("customer_id", keep="last")
    counted = newest.loc[~newest["is_deleted"] & ~newest["is_test"], "customer_id"]
    if charges is not None:
        following = charges.groupby("customer_id")["paid_at"].shift(-1)
        silent_at = charges["paid_at"] + pd.Timedelta(days=churn.inactivity_days or 0)
        moments = charges.assign(at=silent_at)[~(following < silent_at)]
    else:
        moments = records.leavings.rename(columns={"left_at": "at"})
    if spells is not None:
        before = spells.groupby("customer_id")[["currency", "monthly_price"]].shift(1)
        limit = (before["monthly_price"] * (1 - (churn.downgrade_share or 1.0))).round(6)
        is_drop = (spells["monthly_price"] <= limit) & (before["monthly_price"] > 0)
        drops = spells[is_drop & (spells["currency"] == before["currency"])].rename(columns={"begins_at": "at"})
        moments = pd.concat([moments[["customer_id", "at"]], drops[["customer_id", "at"]]])
    at: pd.Series = moments.loc[moments["customer_id"].isin(counted) & (moments["at"] < until), "at"]
    return at
