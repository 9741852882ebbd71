"""The churn that a company's sample shows, by the company's own definition, and how many outcomes that makes.

The definition is that of dbt_project/models/tasks/churn, which needs a warehouse; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from ml_assets.training.ladder import OutcomeCounts
from ml_assets.training.splits import NoSplit, TimeSplit, buckets_of, split_rows
from pipeline.loading.sample import EntitySample
from pipeline.loading.silence import FOREVER, bills_of, paying_spells
from pipeline.prediction.tasks import ChurnSettings, task_named

_EVER = pd.Timestamp("1900-01-01", tz="UTC")

HISTORY_MONTHS = 36
"""`history_months` of dbt_project.yml: how far back the monthly grid goes."""


@dataclass(frozen=True)
class ChurnCheck:
    """Churners by month ("2025-03", by the company's own calendar) and the outcomes that models would learn from.

    by_month holds all who are known to have churned, those too of whom no date of the grid can say so yet.

    split: how training would share the labelled rows out; None of a part of the records, whose dates do not tell.
    scale: by what the outcomes were multiplied, from the records read to the source's own count; 1 where all was read.
    """

    by_month: tuple[tuple[str, int], ...]
    outcomes: OutcomeCounts
    scale: float
    split: TimeSplit | NoSplit | None


@dataclass(frozen=True)
class _Records:
    """What tells of churn. paying_spells: where it is a silence. price_spells: where it is a downgrade."""

    versions: pd.DataFrame
    leavings: pd.DataFrame
    paying_spells: pd.DataFrame | None = None
    price_spells: pd.DataFrame | None = None


def churn_check(
    churn: ChurnSettings, samples: Mapping[str, EntitySample], now: datetime, time_zone: str = "UTC"
) -> ChurnCheck | None:
    """The churn in the samples by entity; None where the records that tell of it could not be read, or none came.

    time_zone: the company's, whose calendar the months are of.

    Equal to what the warehouse counts, where each version was loaded as it was made. A version that a load brings late
    is late there, which a source does not tell. Nor does it count a lower price up to its first load, when it knew no
    price: before it is there, the check shows the downgrades that it would have counted.
    """
    sample = samples.get(churn.needed_entity())
    if sample is None or not sample.table.num_rows:
        return None
    # Of a part of the records, oldest changes first, nothing is known after the last of them.
    until = pd.Timestamp(now if sample.is_complete else min(sample.until or now, now))
    horizon = pd.Timedelta(days=churn.horizon_days)
    records = _records(churn, sample, samples.get("customers"))
    days = _monthly_grid(records.versions, horizon, until)
    labels = [_labels(churn, records, day, day + horizon) for day in days]
    counted = _outcomes(labels)
    split = _split(days, labels, churn.horizon_days) if sample.is_complete else None
    scale = 1.0
    if not sample.is_complete and sample.total and sample.received:
        scale = sample.total / sample.received
        counted = OutcomeCounts(*(round(value * scale) for value in vars(counted).values()))
    moments = _churn_moments(churn, records, until)
    months = moments.dt.tz_convert(time_zone).dt.strftime("%Y-%m").value_counts().sort_index()
    return ChurnCheck(tuple((str(month), int(count)) for month, count in months.items()), counted, scale, split)


def _records(churn: ChurnSettings, sample: EntitySample, customers: EntitySample | None) -> _Records:
    if churn.kind == "inactivity":
        bills = bills_of(sample.table)
        # Of a part of the customers it cannot be told who is missing: whoever has paid counts as there.
        all_are_read = customers is not None and customers.is_complete and customers.table.num_rows
        versions = versions_of(customers.table) if customers is not None and all_are_read else _payers(bills)
        spells = paying_spells(churn, bills, versions)
        silences = _silences(spells, versions)
        leavings = pd.concat([_leavings(versions).assign(is_silence=False, is_cut_short=False), silences])
        return _Records(versions, leavings, paying_spells=spells)
    versions = versions_of(sample.table)
    return _Records(
        versions,
        _leavings(versions).assign(is_silence=False, is_cut_short=False),
        price_spells=_price_spells(versions) if churn.kind == "downgrade" else None,
    )


def versions_of(table: pa.Table) -> pd.DataFrame:
    """All versions of the customers in order, each in force after `known_from` up to `known_to`, inclusive.

    The first reaches back to the customer's creation (known_from NaT), the last has no end (known_to NaT). deleted_at:
    when the customer was deleted for good, or NaT.
    """
    frame: pd.DataFrame = table.to_pandas().sort_values(["customer_id", "updated_at"], kind="stable")
    frame = frame.drop_duplicates(["customer_id", "updated_at"], keep="last").reset_index(drop=True)
    for name in ("created_at", "cancelled_at", "contract_end_at", "paused_at", "resumes_at", "updated_at"):
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


def _payers(bills: pd.DataFrame) -> pd.DataFrame:
    """A version for each who has paid, who is there from the first charge on."""
    first = bills.groupby("customer_id")["paid_at"].min().dropna().rename("created_at").reset_index()
    never = pd.Series(pd.NaT, index=first.index, dtype=first["created_at"].dtype)
    unknown = ("cancelled_at", "known_from", "known_to", "deleted_at", "contract_end_at", "paused_at", "resumes_at")
    payers: pd.DataFrame = first.assign(
        updated_at=first["created_at"],
        is_deleted=False,
        is_test=False,
        plan=None,
        status=None,
        **dict.fromkeys(unknown, never),
    )
    return payers


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


def _silences(spells: pd.DataFrame, versions: pd.DataFrame) -> pd.DataFrame:
    """When customers were not there for lack of a payment, as leavings, before the first one too.

    is_cut_short: the customer was deleted before the silence was up, so that nobody can know.
    """
    begins = spells.groupby("customer_id")["begins_at"]
    after = spells.rename(columns={"ends_at": "left_at"}).assign(returned_at=begins.shift(-1))
    before = pd.DataFrame({"customer_id": versions["customer_id"].unique(), "left_at": _EVER})
    before["returned_at"] = before["customer_id"].map(begins.min())
    silences = pd.concat([before, after[["customer_id", "left_at", "returned_at"]]])
    deleted_at = silences["customer_id"].map(
        versions.drop_duplicates("customer_id").set_index("customer_id")["deleted_at"]
    )
    return silences.assign(is_silence=True, is_cut_short=deleted_at <= silences["left_at"])


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
    versions, leavings = records.versions, records.leavings
    is_in_force = ~(versions["known_from"] >= day) & ~(versions["known_to"] < day) & ~versions["is_deleted"]
    is_there = (versions["created_at"] < day) & ~(versions["cancelled_at"] < day) & ~versions["is_test"]
    present = versions[is_in_force & is_there].set_index("customer_id")
    is_gone = (leavings["left_at"] < day) & ~(leavings["returned_at"] < day)
    left_before = present.index.isin(leavings.loc[is_gone, "customer_id"]) | (present["deleted_at"] < day)
    leave = leavings["left_at"].between(day, horizon_end, "left")
    has_churned = present.index.isin(leavings.loc[leave & ~leavings["is_cut_short"], "customer_id"])
    if records.price_spells is not None:
        lower = _lower_prices(present, records.price_spells, churn.downgrade_share or 1.0, day, horizon_end)
        left_before |= present.index.isin(lower.loc[lower["begins_at"] < day, "customer_id"])
        has_churned |= present.index.isin(lower.loc[lower["begins_at"] >= day, "customer_id"])
    is_censored = ~has_churned & (present["deleted_at"] < horizon_end)
    if records.paying_spells is not None:
        # A customer who had paid for long enough stayed through the horizon, deleted in it or not.
        is_censored &= present.index.isin(leavings.loc[leave & leavings["is_cut_short"], "customer_id"])
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


def _split(days: pd.DatetimeIndex, labels: Sequence[pd.Series], horizon_days: int) -> TimeSplit | NoSplit:
    """How training shares these rows out. Who is held out goes by an id that the company may not have yet."""
    task = task_named("churn").task
    rows = pd.concat([pd.Series(dtype=bool), *labels]).astype(float)
    dates = np.repeat(days.tz_localize(None).to_numpy(), [len(label) for label in labels]).astype("datetime64[D]")
    buckets = buckets_of(np.zeros(len(rows), dtype=int), rows.index.to_numpy())
    return split_rows(
        dates, rows.to_numpy(), buckets, horizon_days=horizon_days, settings=task.split, entity=task.entity
    )


def _churn_moments(churn: ChurnSettings, records: _Records, until: pd.Timestamp) -> pd.Series:
    """When the customers who are not deleted and no test accounts churned, before `until`; several times if so."""
    spells = records.price_spells
    newest = records.versions.drop_duplicates("customer_id", keep="last")
    newest = newest[~newest["is_deleted"] & ~newest["is_test"]]
    moments = _stays(records, newest).rename(columns={"ends_at": "at"})
    if spells is not None:
        before = spells.groupby("customer_id")[["currency", "monthly_price"]].shift(1)
        limit = (before["monthly_price"] * (1 - (churn.downgrade_share or 1.0))).round(6)
        is_drop = (spells["monthly_price"] <= limit) & (before["monthly_price"] > 0)
        drops = spells[is_drop & (spells["currency"] == before["currency"])].rename(columns={"begins_at": "at"})
        moments = pd.concat([moments[["customer_id", "at"]], drops[["customer_id", "at"]]])
    at: pd.Series = moments.loc[moments["customer_id"].isin(newest["customer_id"]) & (moments["at"] <= until), "at"]
    return at


def _stays(records: _Records, newest: pd.DataFrame) -> pd.DataFrame:
    """From when to when each customer was there, as `int_customers__spells` has it; ends_at is FOREVER while there.

    newest: a row per customer that counts. Where churn is silence, there is whoever pays and has not cancelled.
    """
    cancelled = records.leavings[~records.leavings["is_silence"]].sort_values("left_at")
    still_there = newest[["customer_id"]].assign(left_at=FOREVER)
    ends: pd.DataFrame = pd.concat([cancelled, still_there])
    back_at = ends.groupby("customer_id")["returned_at"].shift(1)
    created_at = ends["customer_id"].map(newest.set_index("customer_id")["created_at"])
    is_first = ~ends["customer_id"].duplicated()
    stays = ends.assign(begins_at=created_at.where(is_first, back_at), ends_at=ends["left_at"])
    stays = stays.loc[stays["begins_at"].notna(), ["customer_id", "begins_at", "ends_at"]]
    if records.paying_spells is not None:
        both = stays.merge(records.paying_spells, on="customer_id", suffixes=("", "_paid"))
        begins_at = both["begins_at"].where(both["begins_at"] > both["begins_at_paid"], both["begins_at_paid"])
        ends_at = both["ends_at"].where(both["ends_at"] < both["ends_at_paid"], both["ends_at_paid"])
        stays = both.assign(begins_at=begins_at, ends_at=ends_at)[["customer_id", "begins_at", "ends_at"]]
    return stays[stays["begins_at"] < stays["ends_at"]]
