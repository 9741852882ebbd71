"""Folds learn from nothing that they judge, and a placebo keeps what a date says."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from ml_assets.change.folds import make_folds, shuffled_within_dates
from ml_assets.training.lessons import read_rows
from tests.unit.ml_assets.ml_world import CHURN, simulate

WORLD = simulate(120, 10, rate=0.1)


@given(horizon_days=st.integers(1, 400), months=st.integers(1, 10))
def test_no_fold_learns_from_what_it_judges(horizon_days: int, months: int) -> None:
    days = sorted(WORLD["as_of_date"].unique())[:months]
    rows = read_rows(WORLD[WORLD["as_of_date"].isin(days)], CHURN)
    folds = make_folds(rows, horizon_days)
    if folds is None:
        return
    for fold in folds.folds:
        assert not (fold.fit & fold.judge).any()
        if folds.mode == "by_time":
            last = rows.dates[fold.fit].max() + np.timedelta64(horizon_days, "D")
            assert last <= rows.dates[fold.judge].min()
        else:
            assert not {*rows.entities[fold.fit]} & {*rows.entities[fold.judge]}


@given(seed=st.integers(0, 1000))
def test_a_placebo_keeps_the_values_of_each_company_and_date_and_their_pairs(seed: int) -> None:
    frame = pd.concat([simulate(20, 3, company=company) for company in (1, 2)], ignore_index=True)
    names = ["tenure_days", "plan"]
    placebo = shuffled_within_dates(frame, names, seed)
    assert placebo.drop(columns=names).equals(frame.drop(columns=names))
    for _, rows in frame.groupby(["company_id", "as_of_date"]):
        pairs = [
            sorted(each.loc[rows.index, names].itertuples(index=False, name=None), key=str) for each in (frame, placebo)
        ]
        assert str(pairs[0]) == str(pairs[1])
