"""Definitions of tasks and features refuse what cannot be meant, by name."""

from typing import Any

import pytest

from ml_assets.errors import TaskError
from ml_assets.task import (
    Feature,
    Gate,
    LadderThresholds,
    PredictionTask,
    RiskThresholds,
    RulePrior,
    SplitSettings,
)


def test_a_feature_is_read_from_a_columns_meta_and_ignores_other_keys() -> None:
    meta = {"label": "Open tickets", "unit": "tickets", "family": "tickets", "kind": "number", "basis": "event_times"}
    assert Feature.from_meta("open_tickets", meta) == Feature(
        "open_tickets", "Open tickets", "tickets", "tickets", "number"
    )


@pytest.mark.parametrize(
    ("name", "meta", "named"),
    [
        ("open_tickets", {"label": "Open", "kind": "number"}, "'open_tickets' lacks family"),
        ("open_tickets", {"label": "Open", "kind": "text", "family": "x"}, "kind 'text'"),
        ("Open Tickets", {"label": "Open", "kind": "number", "family": "x"}, "'Open Tickets'"),
    ],
)
def test_a_wrong_feature_is_named(name: str, meta: dict[str, Any], named: str) -> None:
    with pytest.raises(TaskError, match=named):
        Feature.from_meta(name, meta)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RiskThresholds(3.0, 1.5), "medium 3.0 and high 1.5"),
        (lambda: LadderThresholds(own_outcomes=0), "own_outcomes must be at least 1, got 0"),
        (lambda: SplitSettings(largest_share=0.6), "largest_share must lie in"),
        (lambda: SplitSettings(target_outcomes=5), "target_outcomes 5 is below minimum_outcomes 10"),
        (lambda: Gate(log_loss_gain=-0.1), "log_loss_gain must be .* got -0.1"),
        (lambda: Gate(average_precision_gain=float("nan")), "average_precision_gain"),
        (lambda: RulePrior(rate_per_30_days=1.0), r"rate_per_30_days must lie in \(0, 1\), got 1.0"),
        (lambda: RulePrior(slope_sd=0.0), "slope_sd must be a positive number, got 0.0"),
    ],
)
def test_a_wrong_number_is_named(make: Any, named: str) -> None:
    with pytest.raises(TaskError, match=named):
        make()


def test_a_task_with_an_unknown_candidate_or_column_is_refused() -> None:
    fields: dict[str, Any] = {"name": "cart", "entity": "session", "rule_feature": "minutes_idle"}
    assert PredictionTask(**fields).segment_feature == "segment"
    with pytest.raises(TaskError, match="'forest'"):
        PredictionTask(**fields, candidates=("forest",))
    with pytest.raises(TaskError, match="rule_feature: 'Minutes idle'"):
        PredictionTask(**{**fields, "rule_feature": "Minutes idle"})


def test_the_rules_prior_rate_grows_with_the_horizon() -> None:
    prior = RulePrior(rate_per_30_days=0.03)
    assert prior.rate(30) == pytest.approx(0.03)
    assert prior.rate(90) == pytest.approx(1 - 0.97**3)
