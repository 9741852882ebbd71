"""When customers are there where churn is silence: `int_customers__paying_spells` of dbt_project, in pandas.

From a payment until the company's days of silence have gone by after the next one was due. The rules stand in
docs/decisions.md; a test holds the two equal. What comes of the spells belongs in `outcomes.py`.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from pipeline.prediction.tasks import ChurnSettings

FOREVER = pd.Timestamp("2200-01-01", tz="UTC")
"""The end of what has none."""

RHYTHMS = (1, 2, 3, 6, 12, 24)
"""Months between two bills that make a rhythm."""

DAYS_IN_MONTH = 30.4375
YEARLY = 12
LONGEST_AGREEMENT = pd.Timedelta(days=1826)
"""A contract's end or a due date further away stands for none."""

WRITTEN_DOWN = pd.Timedelta(days=1)
"""How long a CRM may take to write down what was agreed to with a payment."""


def bills_of(payments: pa.Table) -> pd.DataFrame:
    """Charges that are not void, paid or not, by the newest version of each payment; times in UTC."""
    frame: pd.DataFrame = payments.to_pandas().sort_values("updated_at", kind="stable")
    frame = frame.drop_duplicates("payment_id", keep="last")
    is_void = frame["status"].str.lower().eq("void") if frame["status"].notna().any() else False
    is_bill = frame["kind"].eq("charge") & ~frame["is_deleted"].eq(True) & ~pd.Series(is_void, index=frame.index)
    bills = frame.loc[is_bill, ["customer_id", "payment_id", "issued_at", "due_at", "paid_at"]]
    for name in ("issued_at", "due_at", "paid_at"):
        bills[name] = pd.to_datetime(bills[name], utc=True)
    return bills


def paying_spells(churn: ChurnSettings, bills: pd.DataFrame, versions: pd.DataFrame) -> pd.DataFrame:
    """Spells in which customers are there: customer_id, begins_at, ends_at, which may lie ahead.

    bills: what `bills_of` gives. versions: of customers, in order, with plan, status, contract_end_at, paused_at and
    resumes_at. Times are in UTC.
    """
    silence = pd.Timedelta(days=churn.inactivity_days or 0)
    live = versions[~versions["is_deleted"]]
    in_order = _in_order(bills)
    payment_days = _payment_days(in_order)
    expected_at = _with_terms(churn, payment_days, live)
    is_later = expected_at > payment_days["paid_at"]
    silent_at = expected_at.where(is_later, payment_days["paid_at"]) + silence
    next_due_at = _next_due_at(in_order, payment_days, silent_at)
    is_waited_for = next_due_at + silence > silent_at
    stays = pd.DataFrame(
        {
            "customer_id": payment_days["customer_id"],
            "begins_at": payment_days["first_paid_at"],
            "ends_at": silent_at.where(~is_waited_for, next_due_at + silence),
            "is_paid": True,
        }
    )
    if not churn.counts_pauses:
        pauses = _pauses(live)
        stays = pd.concat([stays, pauses.assign(ends_at=pauses["ends_at"] + silence, is_paid=False)])
    return _spells(stays)


def _in_order(bills: pd.DataFrame) -> pd.DataFrame:
    """The bills of each customer in order, with their days, and the day and due date of the bill that follows."""
    days = bills.assign(
        issued_on=bills["issued_at"].dt.floor("D"),
        due_on=bills["due_at"].dt.floor("D"),
        paid_on=bills["paid_at"].dt.floor("D"),
    )
    is_agreed = (days["due_on"] - days["issued_on"]).abs() <= LONGEST_AGREEMENT
    days = days.assign(due_at=days["due_at"].where(is_agreed), due_on=days["due_on"].where(is_agreed))
    for column in ("payment_id", "due_on", "issued_on", "customer_id"):
        days = days.sort_values(column, kind="stable", na_position="first")
    following = days.groupby("customer_id")[["issued_on", "due_at"]].shift(-1)
    return days.assign(next_issued_on=following["issued_on"], next_due_at=following["due_at"])


def _payment_days(days: pd.DataFrame) -> pd.DataFrame:
    """What a customer paid on one day, in order. rhythm: months between payments, where a rhythm is seen."""
    paid = days.assign(billed_on=days["due_on"].fillna(days["paid_on"]))
    paid = paid[paid["paid_at"].notna()]
    grouped = paid.groupby(["customer_id", "paid_on"], as_index=False).agg(
        first_paid_at=("paid_at", "min"),
        paid_at=("paid_at", "max"),
        billed_on=("billed_on", "max"),
    )
    gap_days = grouped.groupby("customer_id")["billed_on"].diff().dt.days
    gap_months = pd.Series(float("nan"), index=grouped.index)
    for months in RHYTHMS:
        gap_months = gap_months.mask((gap_days - months * DAYS_IN_MONTH).abs() <= months * DAYS_IN_MONTH / 10, months)
    before = gap_months.groupby(grouped["customer_id"]).shift(1)
    return grouped.assign(rhythm=gap_months.where((gap_months >= YEARLY) | (gap_months == before)))


def _next_due_at(days: pd.DataFrame, payment_days: pd.DataFrame, silent_at: pd.Series) -> pd.Series:
    """When the bill after each payment fell due, where it came before the silence was up; NaT where none did."""
    waiting = payment_days[["customer_id", "paid_on"]].assign(silent_on=silent_at.dt.floor("D"))
    following = days.merge(waiting.reset_index(), on=["customer_id", "paid_on"])
    is_in_time = following["next_issued_on"] < following["silent_on"]
    next_due_at = following[is_in_time].groupby("index")["next_due_at"].max()
    return next_due_at.reindex(payment_days.index)


def _with_terms(churn: ChurnSettings, payment_days: pd.DataFrame, live: pd.DataFrame) -> pd.Series:
    """When the next payment was expected, by what the customer had agreed to at the payment; NaT where nothing says."""
    paid = (
        payment_days.reset_index().sort_values("paid_at").assign(agreed_at=lambda days: days["paid_at"] + WRITTEN_DOWN)
    )
    terms = live[["customer_id", "updated_at", "plan", "contract_end_at"]].sort_values("updated_at", kind="stable")
    first = terms.drop_duplicates("customer_id").assign(updated_at=pd.Timestamp("1900-01-01", tz="UTC"))
    terms = pd.concat([first, terms.assign(updated_at=pd.to_datetime(terms["updated_at"], utc=True))])
    for frame, column in ((paid, "agreed_at"), (terms, "updated_at")):
        frame[column] = frame[column].astype("datetime64[us, UTC]")
    agreed = pd.merge_asof(
        paid, terms.sort_values("updated_at"), left_on="agreed_at", right_on="updated_at", by="customer_id"
    ).set_index("index")
    agreed = agreed.reindex(payment_days.index)
    every = agreed["plan"].map(churn.expected_every or {}).astype(object)
    rhythm = agreed["rhythm"].map(lambda months: f"{months:.0f} months", na_action="ignore").astype(object)
    due_at = _due_after(agreed["billed_on"], every.where(every.notna(), rhythm))
    contract_end_at = pd.to_datetime(agreed["contract_end_at"], utc=True)
    is_ahead = (contract_end_at > agreed["paid_at"]) & (contract_end_at <= agreed["paid_at"] + LONGEST_AGREEMENT)
    expected_at: pd.Series = due_at.fillna(contract_end_at.where(is_ahead))
    return expected_at


def _due_after(billed_on: pd.Series, every: pd.Series) -> pd.Series:
    """The next due date. Who is billed on one of the last two days of a month is billed at its end."""
    due_at = pd.Series(pd.NaT, index=billed_on.index, dtype="datetime64[us, UTC]")
    for period in every.dropna().unique():
        number, unit = str(period).split()
        billed = billed_on[every == period]
        if unit == "days":
            due = billed + pd.Timedelta(days=int(number))
        else:
            due = billed + pd.DateOffset(months=int(number))
            is_end = (billed + pd.Timedelta(days=2)).dt.month != billed.dt.month
            due = due.where(~is_end, due + pd.offsets.MonthEnd(0))
        due_at.loc[due.index] = due.astype("datetime64[us, UTC]")
    return due_at


def _pauses(live: pd.DataFrame) -> pd.DataFrame:
    """Pauses: customer_id, begins_at, ends_at, which is FOREVER where nothing ends it.

    Each ends when the next version is made, which says again whether there is one and how long it lasts.
    """
    updated_at, paused_at = live["updated_at"], pd.to_datetime(live["paused_at"], utc=True)
    has_paused = live["status"].astype("string").str.lower().eq("paused").fillna(False).astype(bool) | paused_at.notna()
    next_version_at = updated_at.groupby(live["customer_id"]).shift(-1)
    begins_at = paused_at.fillna(updated_at)
    resumes_at = pd.to_datetime(live["resumes_at"], utc=True)
    ends_at = pd.concat([resumes_at, next_version_at], axis=1).min(axis=1).fillna(FOREVER)
    pauses = pd.DataFrame({"customer_id": live["customer_id"], "begins_at": begins_at, "ends_at": ends_at})
    return pauses[has_paused & (begins_at < ends_at)]


def _spells(stays: pd.DataFrame) -> pd.DataFrame:
    """Stays that touch, joined. A pause keeps a customer, and brings none back: a spell begins with a payment."""
    ordered = stays.sort_values(["customer_id", "begins_at", "is_paid"], ascending=[True, True, False])
    ordered = ordered.reset_index(drop=True)
    ended_before_at = ordered.groupby("customer_id")["ends_at"].cummax().groupby(ordered["customer_id"]).shift(1)
    is_new = ~(ended_before_at > ordered["begins_at"])
    number = is_new.groupby(ordered["customer_id"]).cumsum().rename("number")
    paid_at = ordered["begins_at"].where(ordered["is_paid"])
    spells = ordered.assign(begins_at=paid_at).groupby(["customer_id", number])[["begins_at", "ends_at"]]
    joined = spells.agg({"begins_at": "min", "ends_at": "max"}).reset_index("customer_id")
    return joined[joined["begins_at"].notna()].reset_index(drop=True)
