"""How closely columns go together, against scipy's own figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import contingency, spearmanr

from ml_assets.change.overlap import associations, share_explained
from ml_assets.task import Feature

RANDOM = np.random.default_rng(2)
ROWS = 400
NUMBER, OTHER, PLAN, CITY, EMPTY = (
    Feature(name, name, "", "customer", "category" if name in ("plan", "city") else "number")
    for name in ("number", "other", "plan", "city", "empty")
)
PLANS = RANDOM.choice(["a", "b", "c"], ROWS)
FRAME = pd.DataFrame(
    {
        "number": RANDOM.normal(size=ROWS),
        "plan": PLANS,
        "city": np.where(RANDOM.random(ROWS) < 0.7, PLANS, "d"),
        "empty": np.nan,
    }
)
FRAME["other"] = FRAME["number"] ** 3 + RANDOM.normal(size=ROWS)
FRAME.loc[:20, "other"] = np.nan


def test_two_numbers_go_together_as_their_ranks_do() -> None:
    known = FRAME.dropna(subset="other")
    expected = abs(spearmanr(known["number"], known["other"]).statistic)
    assert associations(FRAME, NUMBER, [OTHER])["other"] == pytest.approx(expected)


def test_two_categories_go_together_as_cramer_says() -> None:
    table = pd.crosstab(FRAME["plan"], FRAME["city"]).to_numpy()
    assert associations(FRAME, PLAN, [CITY])["city"] == pytest.approx(contingency.association(table, method="cramer"))


def test_the_closest_comes_first_and_a_column_without_values_tells_nothing() -> None:
    closeness = associations(FRAME, NUMBER, [EMPTY, PLAN, OTHER])
    assert next(iter(closeness)) == "other"
    assert closeness["empty"] == 0.0
    assert closeness["plan"] < 0.2


def test_a_column_that_others_give_together_is_explained_by_them() -> None:
    frame = FRAME.assign(empty=FRAME["number"])
    assert share_explained(frame, EMPTY, [OTHER, PLAN, NUMBER]) == pytest.approx(1.0)
    assert (share_explained(frame, NUMBER, [PLAN, CITY]) or 0) < 0.1
    assert share_explained(frame, PLAN, [NUMBER]) is None
    assert share_explained(FRAME, EMPTY, [NUMBER]) is None
