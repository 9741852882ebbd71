"""What was announced is what is found, in one sentence, unless the training saw what counts cannot tell."""

from __future__ import annotations

import pytest

from ml_assets.training.grounds import announced, found
from ml_assets.training.ladder import OutcomeCounts, decide_rung
from ml_assets.training.splits import Mode, NoSplit, TimeSplit
from tests.unit.ml_assets.ml_world import CHURN

MANY = OutcomeCounts(rows=9000, entities=800, outcomes=60, survivors=740)
FEW = OutcomeCounts(rows=900, entities=90, outcomes=5, survivors=85)


def split(mode: Mode) -> TimeSplit:
    return TimeSplit(mode, (), (), (), (), "")


@pytest.mark.parametrize("mode", ["three_way", "two_way", "by_entity"])
@pytest.mark.parametrize(("own", "pool"), [(MANY, None), (FEW, MANY), (FEW, FEW), (FEW, None)])
def test_the_announced_sentence_is_the_one_that_is_found(
    own: OutcomeCounts, pool: OutcomeCounts | None, mode: Mode
) -> None:
    decision = decide_rung(own, pool, CHURN)
    before = announced(decision, split(mode), CHURN)
    after = found(decision, decision.rung, split(mode).describe(), {"reason": "too few"}, CHURN)
    assert before.text == after.text
    assert before.step == decision.rung


def test_dates_that_allow_no_split_are_announced_with_the_reason_that_training_gives() -> None:
    decision = decide_rung(MANY, None, CHURN)
    reason = "1 mature date holds fewer than 10 rows with, or without, the outcome: nothing to judge on"
    before = announced(decision, NoSplit(reason), CHURN)
    after = found(decision, "rule", {"mode": "none"}, {"reason": reason}, CHURN)
    assert before.text == after.text
    assert before.text.startswith("A rule: ")
    assert reason in before.text


@pytest.mark.parametrize(
    ("told", "worse", "words"),
    [
        (False, False, "told from chance"),
        (True, True, "same probability for everybody"),
        (True, False, "best single column"),
    ],
)
def test_a_gate_that_stopped_a_model_says_why(told: bool, worse: bool, words: str) -> None:
    gate = {"is_told_from_chance": told, "is_worse_than_constant": worse}
    text = found(decide_rung(MANY, None, CHURN), "rule", split("three_way").describe(), {"gate": gate}, CHURN).text
    assert text.startswith("A rule: ")
    assert words in text


def test_a_pools_sentence_tells_no_companys_own_counts() -> None:
    text = announced(decide_rung(FEW, MANY, CHURN), None, CHURN).text
    assert text.startswith("The model of companies that share training: the pool has about 60 customers")
    assert "5 customers" not in text
