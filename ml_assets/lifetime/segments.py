"""Segments of customers by value and risk, with two limits each, so that nobody flickers between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_assets.frames import FloatArray

SEGMENTS = ("vip", "steady", "at_risk", "prospect", "lost")

VIP_SHARE = 0.1
"""Of the customers who are there and have paid, how many are worth most."""

STAYS_ABOVE = 0.8
"""A VIP remains one until the expected value falls below this share of what it took to become one."""

GONE_BELOW, BACK_ABOVE = 0.2, 0.35
"""The chance of still buying below which a customer counts as lost, and above which one comes back."""

Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Standing:
    """How each customer stands, all (customers,); NaN and "" say that something is not known.

    `before` is the segment until now, `risk_level` the published one, `value` the expected one, `alive` the chance of
    still buying.
    """

    is_there: Flags
    has_paid: Flags
    value: FloatArray
    alive: FloatArray
    risk_level: Words
    before: Words


def segments_of(standing: Standing, vip_from: float) -> Words:
    """The segment of each customer, (customers,).

    Who is gone or has probably stopped buying is lost, who never paid a prospect, and who is at high risk at risk,
    until the risk is low again. Of the others those worth `vip_from` or more are VIPs.
    """
    were = {name: standing.before == name for name in SEGMENTS}
    is_silent = standing.alive < np.where(were["lost"], BACK_ABOVE, GONE_BELOW)
    stays_at_risk = were["at_risk"] & (standing.risk_level == "medium")
    is_vip = standing.value >= np.where(were["vip"], STAYS_ABOVE, 1.0) * vip_from
    return np.select(
        [
            ~standing.is_there | is_silent,
            ~standing.has_paid,
            (standing.risk_level == "high") | stays_at_risk,
            is_vip,
        ],
        ["lost", "prospect", "at_risk", "vip"],
        default="steady",
    ).astype(object)


def vip_threshold(standing: Standing) -> float | None:
    """The expected value from which on a customer is a VIP; None where nobody's is known, or nobody brings anything."""
    counted = standing.value[standing.is_there & standing.has_paid & (standing.value > 0)]
    return float(np.quantile(counted, 1 - VIP_SHARE)) if len(counted) else None


def causes_of_moves(standing: Standing, now: Words) -> Words:
    """What moved each customer from `before` to `now`, (customers,): one word each, for those who moved."""
    was = standing.before
    return np.select(
        [
            (now == "lost") & ~standing.is_there,
            now == "lost",
            was == "lost",
            was == "prospect",
            now == "at_risk",
            was == "at_risk",
            now == "vip",
        ],
        ["left", "fell_silent", "came_back", "first_purchase", "risk_rose", "risk_fell", "value_rose"],
        default="value_fell",
    ).astype(object)
