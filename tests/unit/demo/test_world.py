"""The simulated world: the same for a seed, with causes that cause, and attributes that do not."""

import json
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import roc_auc_score

from demo.truth import area_under_curve, best_auc, best_auc_by_month, calibration, read_truth
from demo.world.build import build_world
from demo.world.companies import COMPANIES, SIZES, customers_by_company
from demo.world.dirt import RATES
from demo.world.moments import DAY, WORLD_END, seconds
from tests.unit.demo.records import SEED, column, live_customers, manifest_of, rows, versions

CUSTOM = {"industry", "account_manager"}


def test_one_seed_makes_one_world_and_another_seed_another(home: Path, tmp_path: Path) -> None:
    again = build_world(tmp_path / "again", customers=SIZES["default"], seed=SEED, progress=lambda _: None)
    other = build_world(tmp_path / "other", customers=SIZES["default"], seed=SEED + 1, progress=lambda _: None)
    assert again == manifest_of(home)
    assert other.digest != again.digest


def test_a_world_that_stands_is_not_built_again(home: Path) -> None:
    told: list[str] = []
    manifest = build_world(home, customers=SIZES["default"], seed=SEED, progress=told.append)
    assert manifest == manifest_of(home)
    assert told == []


def test_a_build_that_died_is_built_again(tmp_path: Path) -> None:
    first = build_world(tmp_path, customers=SIZES["small"], seed=SEED, progress=lambda _: None)
    (tmp_path / "world.json").unlink()
    (tmp_path / "truth" / "seedling.parquet").write_bytes(b"half")
    assert build_world(tmp_path, customers=SIZES["small"], seed=SEED, progress=lambda _: None) == first


@pytest.mark.parametrize("total", [299, 200_001])
def test_a_size_out_of_range_is_named(total: int) -> None:
    with pytest.raises(ValueError, match=f"{total} customers"):
        customers_by_company(total)


def test_the_default_world_has_the_customers_it_names(home: Path) -> None:
    assert customers_by_company(SIZES["default"]) == {each.slug: each.customers for each in COMPANIES}
    for company in COMPANIES:
        customers = rows(home, company.slug, "customers")
        extra = RATES.test_customers + RATES.duplicate_customers
        assert company.customers <= customers.num_rows <= company.customers * (1 + 2 * extra) + 3


@pytest.mark.parametrize(("slug", "low", "high"), [("brightdesk", 0.80, 0.88), ("marketlane", 0.79, 0.88)])
def test_the_hidden_hazard_tells_churners_apart_as_well_as_in_real_life(
    home: Path, slug: str, low: float, high: float
) -> None:
    assert low <= best_auc(read_truth(home, slug)) <= high


def test_every_month_has_its_own_best_auc(home: Path) -> None:
    by_month = best_auc_by_month(read_truth(home, "brightdesk"))
    assert len(by_month) == 27
    assert 0.75 < np.median(list(by_month.values())) < 0.92


@pytest.mark.parametrize(("slug", "tolerance"), [("brightdesk", 0.02), ("marketlane", 0.05)])
def test_the_hidden_probabilities_come_true(home: Path, slug: str, tolerance: float) -> None:
    bins = calibration(read_truth(home, slug), bins=10)
    assert np.abs(bins[:, 0] - bins[:, 1]).max() < tolerance
    assert bins[:, 1].mean() == pytest.approx(bins[:, 0].mean(), rel=0.12)


def test_churn_is_about_as_frequent_as_in_such_companies(home: Path) -> None:
    bright, market = read_truth(home, "brightdesk"), read_truth(home, "marketlane")
    assert 0.03 <= column(bright, "churned").mean() <= 0.05
    assert 0.20 <= column(market, "churned").mean() <= 0.35
    cancelled = column(rows(home, "brightdesk", "customers"), "cancelled_at")
    assert 500 <= np.isfinite(cancelled).sum() <= 900


@pytest.mark.parametrize("seed", [7, 8, 9, 10])
def test_the_young_firm_has_very_few_churners(tmp_path: Path, seed: int) -> None:
    build_world(tmp_path, customers=300, seed=seed, progress=lambda _: None)
    cancelled = column(rows(tmp_path, "seedling", "customers"), "cancelled_at")
    assert (3 if seed == SEED else 1) <= np.isfinite(cancelled).sum() <= (8 if seed == SEED else 12)


def churn_ratio(truth: pa.Table, driver: str) -> float:
    """How much oftener customers churn whom a driver burdens than others whom all else burdens as much."""
    burden, churned = column(truth, f"contribution_{driver}"), column(truth, "churned")
    burdened = burden > burden.max() * 0.3
    rest = column(truth, "log_hazard") - burden
    expected = 0.0
    for part in np.array_split(np.argsort(rest), 20):
        expected += burdened[part].sum() * churned[part][~burdened[part]].mean()
    return float(churned[burdened].sum() / expected)


@pytest.mark.parametrize(
    "driver",
    ["unsolved_tickets", "slow_tickets", "failed_payments", "late_payments", "falling_activity", "price_rise", "plan"],
)
def test_the_causes_cause_cancellations(home: Path, driver: str) -> None:
    assert churn_ratio(read_truth(home, "brightdesk"), driver) > 1.5


@pytest.mark.parametrize("driver", ["unsolved_tickets", "slow_tickets", "failed_payments", "falling_activity"])
def test_the_causes_cause_silence(home: Path, driver: str) -> None:
    assert churn_ratio(read_truth(home, "marketlane"), driver) > 1.2


def test_who_waits_for_an_answer_churns_more_as_the_served_event_times_show(home: Path) -> None:
    """The cause is visible in what the CRM serves, not only in the truth."""
    truth = read_truth(home, "brightdesk")
    tickets = rows(home, "brightdesk", "tickets", WORLD_END)
    opened, owner = column(tickets, "created_at"), column(tickets, "customer")
    resolved = np.nan_to_num(column(tickets, "resolved_at").astype(float), nan=np.inf)
    day = column(truth, "as_of_date").astype("datetime64[D]").astype(int) * DAY
    customer = np.array([int(each[4:]) for each in truth["customer_id"].to_pylist()])
    waits = np.zeros(len(day), dtype=bool)
    for at in np.unique(day):
        waiting = np.unique(owner[(opened < at) & (resolved >= at)])
        waits |= (day == at) & np.isin(customer, waiting)
    churned = column(truth, "churned")
    assert churned[waits].mean() > 2 * churned[~waits].mean()


@pytest.mark.parametrize("attribute", ["country", "signup_channel", "time_zone", "industry", "account_manager"])
def test_attributes_that_cause_nothing_tell_nothing(home: Path, attribute: str) -> None:
    live = live_customers(home)
    cancelled = np.isfinite(column(live, "cancelled_at").astype(float))
    custom = pa.array([json.loads(text).get(attribute) for text in live["custom"].to_pylist()])
    values = np.array([str(value) for value in (custom if attribute in CUSTOM else live[attribute]).to_pylist()])
    table = [[(cancelled & (values == each)).sum(), (~cancelled & (values == each)).sum()] for each in set(values)]
    assert chi2_contingency(np.array(table)).pvalue > 0.005


def test_an_industry_stays_and_grades_come_and_change(home: Path) -> None:
    every = versions(home, "brightdesk", "customers")
    known: dict[int, set[str | None]] = {}
    grades: dict[int, set[int]] = {}
    for key, text in zip(every["key"].to_pylist(), every["custom"].to_pylist(), strict=True):
        custom = json.loads(text)
        known.setdefault(key, set()).add(custom.get("industry"))
        grades.setdefault(key, set()).update([custom["nps"]] if "nps" in custom else [])
    assert {len(industries) for industries in known.values()} == {1}
    assert np.mean([industries == {None} for industries in known.values()]) == pytest.approx(
        RATES.missing_custom, rel=0.5
    )
    assert {grade for given in grades.values() for grade in given} == set(range(11))
    assert np.mean([len(given) > 1 for given in grades.values()]) > 0.3


def test_who_gave_a_low_grade_leaves_more_often(home: Path) -> None:
    live = live_customers(home)
    cancelled = np.isfinite(column(live, "cancelled_at").astype(float))
    grade = np.array([json.loads(text).get("nps", np.nan) for text in live["custom"].to_pylist()])
    assert cancelled[grade <= 5].mean() > 1.5 * cancelled[grade >= 9].mean()


def minutes_of_sessions(home: Path, at: int, first_day: int, last_day: int, customers: int) -> np.ndarray:
    """By customer key, minutes a month between so many days before a moment, as the CRM serves them at the end."""
    events = rows(home, "brightdesk", "events", WORLD_END)
    age = at - column(events, "created_at")
    within = (age > first_day * DAY) & (age <= last_day * DAY) & ~column(events, "is_deleted")
    minutes = np.nan_to_num(column(events, "amount").astype(float)) / 100
    months = (last_day - first_day) / 30
    return np.bincount(column(events, "customer")[within], minutes[within], customers + 1) / months


def test_use_of_the_product_falls_with_the_activity_that_makes_customers_leave(home: Path) -> None:
    truth = read_truth(home, "brightdesk")
    day = column(truth, "as_of_date").astype("datetime64[D]").astype(int) * DAY
    customer = np.array([int(each[4:]) for each in truth["customer_id"].to_pylist()])
    fall = np.full(len(day), np.nan)
    for at in np.unique(day)[6:]:
        now, before = (minutes_of_sessions(home, at, *days, 10_000) for days in ((0, 30), (30, 120)))
        ratio = (now + 1) / (before + 1)
        fall[day == at] = -ratio[customer[day == at]]
    seen = np.isfinite(fall)
    driver, churned = column(truth, "contribution_falling_activity")[seen], column(truth, "churned")[seen]
    assert area_under_curve(driver > 0.5, fall[seen]) > 0.75
    assert 0.55 < area_under_curve(churned, fall[seen]) < area_under_curve(churned, driver) < 0.65


def test_events_and_grades_move_nothing_else_in_the_world(home: Path, tmp_path: Path) -> None:
    """They are draws of their own: the same customers leave for the same reasons with and without them."""
    without = [replace(company, usage=None) for company in COMPANIES]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("demo.world.build.COMPANIES", tuple(without))
        build_world(tmp_path, customers=SIZES["default"], seed=SEED, progress=lambda _: None)
    assert read_truth(tmp_path, "brightdesk") == read_truth(home, "brightdesk")
    assert versions(tmp_path, "brightdesk", "events").num_rows == 0
    for entity in ("tickets", "payments"):
        assert versions(tmp_path, "brightdesk", entity) == versions(home, "brightdesk", entity)


def test_only_the_company_whose_product_is_watched_has_events(home: Path) -> None:
    counts = {company.slug: rows(home, company.slug, "events").num_rows for company in COMPANIES}
    assert 30_000 < counts.pop("brightdesk") <= 60_000
    assert set(counts.values()) == {0}


def test_a_discount_is_what_was_taken_off_the_first_years_price(home: Path) -> None:
    payments = rows(home, "brightdesk", "payments")
    discount, amount = column(payments, "discount").astype(float), column(payments, "amount")
    given = np.isfinite(discount)
    assert 0.1 < given.mean() < 0.25
    assert (discount[given] / (discount + amount)[given]) == pytest.approx(0.18, abs=0.01)
    is_refund = np.array(payments["type"].to_pylist()) == "refund"
    assert not given[is_refund].any()


def test_the_retailers_customers_leave_when_ninety_days_have_brought_no_successful_payment(home: Path) -> None:
    truth = read_truth(home, "marketlane")
    payments = rows(home, "marketlane", "payments", WORLD_END)
    status = np.array(payments["status"].to_pylist())
    is_charge = np.array(payments["type"].to_pylist()) == "charge"
    paid = (status == "succeeded") & is_charge & ~column(payments, "is_deleted")
    owner, paid_at = column(payments, "customer")[paid], column(payments, "paid_at")[paid]
    chosen = np.random.default_rng(1).choice(truth.num_rows, 300, replace=False)
    for row in truth.take(pa.array(chosen)).to_pylist():
        at = seconds(datetime.combine(row["as_of_date"], time(), UTC))
        own = paid_at[owner == int(row["customer_id"][4:])]
        silent_at = own[own < at].max() + 90 * DAY
        assert silent_at >= at
        assert row["churned"] == (not ((own >= at) & (own < silent_at)).any())
        assert not row["churned"] or row["churned_at"].timestamp() == silent_at


def test_the_truth_ends_where_outcomes_are_no_longer_known(home: Path) -> None:
    assert str(column(read_truth(home, "marketlane"), "as_of_date").max()) == "2026-10-01"
    assert str(column(read_truth(home, "brightdesk"), "as_of_date").max()) == "2026-12-01"


def test_nothing_happens_to_those_who_have_cancelled(home: Path) -> None:
    customers = rows(home, "brightdesk", "customers", WORLD_END)
    left_at = dict(zip(column(customers, "key"), column(customers, "cancelled_at").astype(float), strict=True))
    for entity in ("tickets", "payments", "events"):
        made = rows(home, "brightdesk", entity, WORLD_END)
        kept = ~column(made, "is_deleted")
        if entity == "payments":
            kept &= (np.array(made["type"].to_pylist()) == "charge") & (np.array(made["status"].to_pylist()) != "void")
        ends = np.array([left_at[each] for each in column(made, "customer")[kept]])
        assert not (column(made, "created_at")[kept] > ends + DAY).any()


def test_the_area_under_the_curve_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    score = np.round(rng.random(500), 2)
    positive = rng.random(500) < score
    assert area_under_curve(positive, score) == pytest.approx(roc_auc_score(positive, score))
    assert np.isnan(area_under_curve(np.ones(3), score[:3]))
