"""What acting on scores would have brought: whether those at high risk left, and how many who left stood there."""

from typing import Any

import pandas as pd

from ml_assets.judging.grading import Interval, wilson_interval
from ml_assets.task import ENTITY_ID, OUTCOME

HIGH = "high"


def judge_warnings(frame: pd.DataFrame) -> dict[str, Any]:
    """Figures of one company's scores with outcomes: entity_id, as_of_date, risk_level, value_at_stake, outcome (bool).

    high_risk scores, of which high_risk_outcomes came true, as a share high_risk_kept; entities_with_outcome, of which
    entities_named stood at high risk in a month in whose look-ahead the outcome came, as a share named_share. Shares
    have _low and _high, 95 percent, and are None of nothing. An entity counts once, however many months saw its
    outcome coming: with the interval too, and with value_lost (its value at the last of these months; a value that is
    not known or below 0 counts 0), of which value_lost_named was that of the named.
    """
    high, came = frame["risk_level"].to_numpy() == HIGH, frame[OUTCOME].to_numpy(dtype=bool)
    lost = frame[came].assign(is_named=high[came]).sort_values("as_of_date")
    by_entity = lost.groupby(ENTITY_ID).agg(is_named=("is_named", "any"), value=("value_at_stake", "last"))
    values = by_entity["value"].fillna(0.0).clip(lower=0.0)
    named = by_entity["is_named"].to_numpy(dtype=bool)
    kept = _share(int((high & came).sum()), int(high.sum()), frame.loc[high, ENTITY_ID].nunique())
    share = _share(int(named.sum()), len(named), len(named))
    return {
        "high_risk": int(high.sum()),
        "high_risk_outcomes": int((high & came).sum()),
        **_with_ends("high_risk_kept", *kept),
        "entities_with_outcome": len(named),
        "entities_named": int(named.sum()),
        **_with_ends("named_share", *share),
        "value_lost": float(values.sum()),
        "value_lost_named": float(values[named].sum()),
    }


def _share(part: int, whole: int, entities: int) -> tuple[float | None, Interval]:
    if whole == 0:
        return None, Interval(None, None)
    return part / whole, wilson_interval(part / whole, entities)


def _with_ends(name: str, share: float | None, interval: Interval) -> dict[str, float | None]:
    return {name: share, f"{name}_low": interval.low, f"{name}_high": interval.high}
