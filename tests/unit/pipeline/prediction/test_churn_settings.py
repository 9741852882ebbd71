"""What a company says of churn: which settings go together, how often a plan is paid, what it should know."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.prediction.tasks import ChurnSettings
from warehouse.companies.task_settings import LONGEST_DAYS


def silence(**settings: Any) -> ChurnSettings:
    return ChurnSettings.model_validate({"kind": "inactivity", "inactivity_days": 90, "horizon_days": 90} | settings)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("1 year", "12 months"),
        ("2 years", "24 months"),
        ("Quarter", "3 months"),
        ("6 months", "6 months"),
        ("2 weeks", "14 days"),
        ("30 days", "30 days"),
        (365, "365 days"),
        ("12 months", "12 months"),
    ],
)
def test_how_often_a_plan_is_paid_is_said_in_words_or_days(said: Any, read: str) -> None:
    settings = silence(expected_every={"Gold": said})
    assert settings.expected_every == {"Gold": read}
    assert ChurnSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("said", ["yearly", "0 days", 0, -3, "1.5 years", "", None, True, "1 year 2 months"])
def test_another_period_is_refused_with_what_is_allowed(said: Any) -> None:
    with pytest.raises(ValidationError, match="1 month, 3 months, 1 year or 2 weeks"):
        silence(expected_every={"Gold": said})


@pytest.mark.parametrize(
    ("plans", "wrong"),
    [
        ({"Gold": "9999 years"}, "at most 730 days or 2 years"),
        ({"Gold": "25 months"}, "at most 730 days or 2 years"),
        ({"Gold": 731}, "at most 730 days or 2 years"),
        ({" ": "1 year"}, "each plan in 1 to 200 characters"),
        ({"x" * 201: "1 year"}, "each plan in 1 to 200 characters"),
        ({str(number): "1 year" for number in range(201)}, "at most 200 plans"),
    ],
)
def test_plans_that_no_step_could_reckon_with_are_refused_when_they_are_said(plans: dict[str, Any], wrong: str) -> None:
    """Every 9999 years was accepted, and its customers stayed until the year 12025."""
    said = {"kind": "inactivity", "inactivity_days": 90, "expected_every": plans}
    with pytest.raises(ValidationError, match=wrong):
        ChurnSettings.model_validate(said, context=LONGEST_DAYS)
    assert ChurnSettings.model_validate(said).expected_every is not None


def test_a_plan_of_two_years_and_one_with_an_odd_name_are_within_the_limits() -> None:
    plans = {"Two": "2 years", 'O\'Neil "%s" {{ x }}: €\\': 730}
    said = {"kind": "inactivity", "inactivity_days": 90, "expected_every": plans}
    settings = ChurnSettings.model_validate(said, context=LONGEST_DAYS)
    assert settings.expected_every == {"Two": "24 months", 'O\'Neil "%s" {{ x }}: €\\': "730 days"}


@pytest.mark.parametrize("setting", [{"expected_every": {"Gold": "1 year"}}, {"counts_pauses": True}])
def test_settings_of_silence_are_refused_where_churn_is_no_silence(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be left out when kind is cancellation"):
        ChurnSettings.model_validate({"kind": "cancellation"} | setting)


def test_a_horizon_shorter_than_the_silence_is_told_how_late_it_warns() -> None:
    assert silence().caution() is None
    assert silence(horizon_days=120).caution() is None
    assert ChurnSettings(kind="cancellation", horizon_days=1).caution() is None
    caution = silence(inactivity_days=365, horizon_days=30).caution()
    assert caution is not None
    assert "silent for 335 days" in caution
    assert "horizon_days: 365" in caution


def test_companies_that_count_pauses_mean_something_else() -> None:
    assert silence().meaning() == "inactivity-90-90d"
    assert silence(expected_every={"Gold": "1 year"}).meaning() == "inactivity-90-90d"
    assert silence(counts_pauses=False).meaning() == "inactivity-90-90d"
    assert silence(counts_pauses=True).meaning() == "inactivity-90-pauses-90d"
