"""Why a probability is what it is: additive parts on the log-odds scale, and reasons in words.

A published probability never leaves [0.0001, 0.9999]: nothing we train on supports a stronger claim. Where
the bound cuts, a row's parts are scaled by one factor, so that they still add up and keep their signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd

from ml_assets.calibrate import AffineCalibrator
from ml_assets.frames import FloatArray, display_values
from ml_assets.task import Feature

SMALLEST_PROBABILITY = 1e-4
LARGEST_LOG_ODDS = float(np.log((1 - SMALLEST_PROBABILITY) / SMALLEST_PROBABILITY))
TOP_REASONS = 5
OTHER = "other"
_DECIMALS = 8


@dataclass(frozen=True)
class PublishedParts:
    """Log-odds (rows,), the baseline, and contributions (rows, features): baseline + row sum = log-odds."""

    log_odds: FloatArray
    baseline: float
    contributions: FloatArray


@dataclass(frozen=True)
class Reasons:
    """Per row: the reasons as JSON text, and the names of its top features, best first ("" where fewer)."""

    json: list[str]
    top: npt.NDArray[np.object_]


def bound_log_odds(log_odds: FloatArray) -> FloatArray:
    """Log-odds within the bounds of publication."""
    return np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


def probabilities_of(log_odds: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def publish_parts(parts: FloatArray, bias: float, calibrator: AffineCalibrator) -> PublishedParts:
    """Scale parts as the calibrator scales the margin: slope * part; baseline = slope * bias + intercept."""
    baseline = float(bound_log_odds(calibrator.log_odds(np.array([bias])))[0])
    contributions = calibrator.slope * parts
    total = contributions.sum(axis=1)
    wanted = bound_log_odds(calibrator.log_odds(parts.sum(axis=1) + bias)) - baseline
    cut = np.abs(total - wanted) > 1e-9
    if cut.any():
        contributions[cut] *= (wanted[cut] / total[cut])[:, None]
    return PublishedParts(wanted + baseline, baseline, contributions)


def write_reasons(frame: pd.DataFrame, features: Sequence[Feature], contributions: FloatArray) -> Reasons:
    """The five largest parts of each row by size, then all the rest as "other".

    Equal sizes are ordered by feature name; a part of exactly zero is no reason. Contributions are rounded
    to 8 decimals and "other" takes up the rounding, so that a row's reasons add up to its parts' sum.
    """
    order = sorted(range(len(features)), key=lambda position: features[position].name)
    sorted_parts = contributions[:, order]
    chosen = _largest(sorted_parts, min(TOP_REASONS, len(features)))
    rounded = np.round(np.take_along_axis(sorted_parts, chosen, axis=1), _DECIMALS)
    rest = np.round(contributions.sum(axis=1) - rounded.sum(axis=1), _DECIMALS) + 0.0
    columns = np.array(order)[chosen]
    fragments = _fragments(frame, features, columns, rounded)
    other = _json(
        {"feature": OTHER, "label": "All other features together", "value": None, "unit": "", "family": OTHER}
    )[:-1]
    texts = [
        "["
        + "".join(f"{piece}," for piece in row if piece)
        + f'{other},"contribution":{left!r},"text":{_other_text(left)}}}]'
        for row, left in zip(fragments, rest.tolist(), strict=True)
    ]
    names = np.array([feature.name for feature in features], dtype=object)[columns]
    names[rounded == 0.0] = ""
    return Reasons(texts, names)


def _largest(parts: FloatArray, count: int) -> np.ndarray:
    """Positions of the `count` largest |parts| per row, largest first; among equals the earlier position."""
    sizes = np.abs(np.round(parts, _DECIMALS))
    ranked = np.argsort(-sizes, axis=1, kind="stable")
    return ranked[:, :count]


def _fragments(
    frame: pd.DataFrame, features: Sequence[Feature], columns: np.ndarray, rounded: FloatArray
) -> npt.NDArray[np.object_]:
    """The JSON object of each reason, "" where its part is zero; words are made once per distinct value."""
    fragments = np.full(columns.shape, "", dtype=object)
    for position, feature in enumerate(features):
        rows, places = np.nonzero((columns == position) & (rounded != 0.0))
        if len(rows) == 0:
            continue
        values = display_values(frame[feature.name].iloc[rows], feature)
        parts = rounded[rows, places]
        codes, distinct = pd.factorize(values, use_na_sentinel=False)
        heads = [(_head(feature, value, "lowers"), _head(feature, value, "raises")) for value in distinct]
        fragments[rows, places] = [
            f'{heads[code][part > 0]},"contribution":{part!r}}}'
            for code, part in zip(codes.tolist(), parts.tolist(), strict=True)
        ]
    return fragments


def _head(feature: Feature, value: Any, direction: str) -> str:
    shown = None if value is None or value != value else value
    return _json(
        {
            "feature": feature.name,
            "label": feature.label,
            "value": shown,
            "unit": feature.unit,
            "family": feature.family,
            "text": f"{feature.label}: {words_of(shown, feature)} ({direction} the risk)",
        }
    )[:-1]


def words_of(value: float | bool | str | None, feature: Feature) -> str:
    """A value in words: "74 days", "1,250.5 EUR", "25%" (of a share), "yes", "unknown"."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if feature.unit == "share":
        return f"{value:.0%}"
    shown = f"{value:,.0f}" if float(value).is_integer() else _short(value)
    unit = feature.unit[:-1] if shown == "1" and feature.unit.endswith("s") else feature.unit
    return f"{shown} {unit}".rstrip()


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def _other_text(part: float) -> str:
    direction = "raise the risk" if part > 0 else "lower the risk" if part < 0 else "change nothing"
    return _json(f"All other features together {direction}")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
