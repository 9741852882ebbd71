"""Campaigns of the simulated world: chance says who is left out, and what a send does is what the truth says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demo.truth import read_campaign_truth
from demo.world.build import build_world
from demo.world.campaigns import GROUPS, WINDOW_DAYS
from demo.world.companies import COMPANIES, MARKETLANE, SIZES
from demo.world.moments import DAY, STARTING_CLOCK, WORLD_END
from tests.unit.demo.records import SEED, column, rows, versions

SENDING = MARKETLANE.slug


@pytest.fixture(scope="module")
def truth(home: Path) -> pd.DataFrame:
    frame: pd.DataFrame = read_campaign_truth(home, SENDING).to_pandas()
    return frame


@pytest.fixture(scope="module")
def sends(home: Path) -> pd.DataFrame:
    frame: pd.DataFrame = rows(home, SENDING, "sends", WORLD_END).to_pandas()
    return frame


def _difference(outcomes: pd.DataFrame) -> tuple[float, float]:
    """How much more often those who were sent something bought, and the standard error of that."""
    sent, left_alone = (outcomes.loc[outcomes["is_control"] == is_control, "bought"] for is_control in (False, True))
    error = np.sqrt(sent.var() / len(sent) + left_alone.var() / len(left_alone))
    return sent.mean() - left_alone.mean(), error


def test_most_are_indifferent_some_can_be_persuaded_and_a_few_are_driven_away(truth: pd.DataFrame) -> None:
    people = truth.drop_duplicates("customer_id")
    assert truth.groupby("customer_id")["group"].nunique().max() == 1
    shares = people["group"].value_counts(normalize=True)
    assert shares["indifferent"] > 0.6
    assert 0.1 < shares["persuadable"] < 0.3
    assert 0.02 < shares["driven_away"] < 0.1
    effects = truth.groupby("group")["effect"].mean()
    assert effects["persuadable"] > 0.2
    assert effects["driven_away"] < -0.02
    assert np.abs(truth.loc[truth["group"] == "indifferent", "effect"]).max() < 1e-9


def test_chance_leaves_a_fifth_out_whoever_they_are(truth: pd.DataFrame) -> None:
    shares = truth.groupby("group")["is_control"].mean()
    assert shares.to_numpy() == pytest.approx(np.full(len(GROUPS), MARKETLANE.marketing.control_share), abs=0.05)
    likely = truth.groupby("is_control")["probability_if_left_alone"].mean()
    assert likely[True] == pytest.approx(likely[False], rel=0.1)


@pytest.mark.parametrize("group", GROUPS)
def test_the_true_effects_come_true(truth: pd.DataFrame, group: str) -> None:
    outcomes = truth[truth["group"] == group]
    measured, error = _difference(outcomes)
    assert measured == pytest.approx(outcomes["effect"].mean(), abs=3.5 * error)
    for is_control, arm in outcomes.groupby("is_control"):
        promised = arm["probability_if_left_alone" if is_control else "probability_if_sent"].mean()
        assert arm["bought"].mean() == pytest.approx(promised, abs=3.5 * arm["bought"].std() / np.sqrt(len(arm)))


def test_to_a_control_nothing_was_sent(sends: pd.DataFrame) -> None:
    controls = sends[sends["is_control"]]
    assert len(controls) > 1000
    engaged = ["opened_at", "clicked_at", "responded_at", "unsubscribed_at", "revenue"]
    assert controls[engaged].isna().all(axis=None)
    assert sends.loc[~sends["is_control"], engaged].notna().any().all()


def test_what_was_sent_is_what_the_truth_speaks_of(sends: pd.DataFrame, truth: pd.DataFrame) -> None:
    """But for those who were deleted meanwhile, to whom no more was sent."""
    served = {
        (f"cam_{campaign:05d}", f"cus_{customer:07d}", is_control)
        for campaign, customer, is_control in sends[["campaign", "customer", "is_control"]].itertuples(index=False)
    }
    known = set(truth[["campaign_id", "customer_id", "is_control"]].itertuples(index=False, name=None))
    assert len(served) == len(sends)
    assert served <= known
    assert len(served) > 0.97 * len(known)


def test_times_of_a_send_follow_one_another(sends: pd.DataFrame) -> None:
    assert (sends["opened_at"].dropna() > sends["sent_at"][sends["opened_at"].notna()]).all()
    clicked = sends[sends["clicked_at"].notna()]
    assert (clicked["clicked_at"] > clicked["opened_at"]).all()
    answered = sends[sends["responded_at"].notna()]
    assert (answered["responded_at"] >= answered["clicked_at"]).all()
    assert (answered["responded_at"] < answered["sent_at"] + WINDOW_DAYS * DAY).all()


def test_an_answer_is_a_payment_that_the_crm_serves(home: Path, sends: pd.DataFrame) -> None:
    payments = rows(home, SENDING, "payments", WORLD_END).to_pandas()
    paid = set(payments.loc[payments["paid_at"].notna(), ["customer", "paid_at"]].itertuples(index=False, name=None))
    answered = sends.loc[sends["responded_at"].notna(), ["customer", "responded_at"]]
    assert len(answered) > 500
    assert set(answered.itertuples(index=False, name=None)) <= paid


def test_whoever_unsubscribed_is_sent_nothing_more(sends: pd.DataFrame) -> None:
    unsubscribed_at = sends.groupby("customer")["unsubscribed_at"].min().dropna()
    assert len(unsubscribed_at) > 10
    later = sends[sends["sent_at"] > sends["customer"].map(unsubscribed_at)]
    assert later.empty


def test_a_campaign_is_announced_before_it_starts(home: Path) -> None:
    campaigns = rows(home, SENDING, "campaigns").to_pandas()
    planned = campaigns[campaigns["starts_at"] > STARTING_CLOCK]
    assert len(planned) == 1
    assert rows(home, SENDING, "sends").num_rows < versions(home, SENDING, "sends").num_rows
    assert not set(column(rows(home, SENDING, "sends"), "campaign")) & set(planned["key"])


def test_only_a_company_that_sends_campaigns_has_any(home: Path) -> None:
    for company in COMPANIES:
        counts = {entity: rows(home, company.slug, entity).num_rows for entity in ("campaigns", "sends")}
        assert all(counts.values()) == (company.marketing is not None), company.slug


def test_without_campaigns_the_same_customers_live_the_same_lives(home: Path, tmp_path: Path) -> None:
    """But for what campaigns brought and cost: nobody is answered, cancelled or drawn otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        quiet = tuple(replace(company, marketing=None) for company in COMPANIES)
        patched.setattr("demo.world.build.COMPANIES", quiet)
        build_world(tmp_path, customers=SIZES["default"], seed=SEED, progress=lambda _: None)
    assert not (tmp_path / "truth" / f"{SENDING}_campaigns.parquet").exists()
    assert versions(tmp_path, SENDING, "tickets") == versions(home, SENDING, "tickets")
    before, now = (
        set(
            rows(world, SENDING, "payments", WORLD_END)
            .select(["customer", "created_at", "status"])
            .to_pandas()
            .query("status == 'succeeded'")[["customer", "created_at"]]
            .itertuples(index=False, name=None)
        )
        for world in (tmp_path, home)
    )
    assert len(before - now) < 0.03 * len(before)
    assert 0.01 * len(before) < len(now - before) < 0.2 * len(before)
