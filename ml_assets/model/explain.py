"""Why a probability is what it is: additive parts on the log-odds scale, and reasons in words.

A published probability never leaves [0.0001, 0.9999]: nothing we train on supports a stronger claim. Where
the bound cuts, a row's parts are scaled by one factor, so that they still add up and keep their signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.frames import FloatArray, Usual, display_values, plain_values
from ml_assets.model.calibrate import AffineCalibrator
from ml_assets.task import Feature

SMALLEST_PROBABILITY = 1e-4
LARGEST_LOG_ODDS = float(np.log((1 - SMALLEST_PROBABILITY) / SMALLEST_PROBABILITY))
TOP_REASONS = 5
OTHER = "other"
_DECIMALS = 8
_PREPOSITIONS = {"added", "against", "as", "for", "in", "now", "of", "open", "overdue", "since", "until", "with"}
_OTHER_HEAD = {"feature": OTHER, "label": "All other features together", "value": None, "unit": "", "family": OTHER}


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


def write_reasons(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    contributions: FloatArray,
    usual: Usual | None = None,
) -> Reasons:
    """The five largest parts of each row by size, then all the rest as "other".

    `usual` are the values that the words compare with, by feature. Equal sizes are ordered by feature name; a part
    of exactly zero is no reason. Contributions are rounded to 8 decimals and "other" takes up the rounding, so that
    a row's reasons add up to its parts' sum.
    """
    order = sorted(range(len(features)), key=lambda position: features[position].name)
    sorted_parts = contributions[:, order]
    chosen = _largest(sorted_parts, min(TOP_REASONS, len(features)))
    rounded = np.round(np.take_along_axis(sorted_parts, chosen, axis=1), _DECIMALS)
    rest = np.round(contributions.sum(axis=1) - rounded.sum(axis=1), _DECIMALS) + 0.0
    columns = np.array(order)[chosen]
    named = _fragments(frame, features, columns, rounded, usual or {})
    texts = _joined(
        "[", *(pa.array(named[:, place], pa.string()) for place in range(named.shape[1])), _other(rest), "]"
    )
    names = np.array([feature.name for feature in features], dtype=object)[columns]
    names[rounded == 0.0] = ""
    return Reasons(texts.to_pylist(), names)


def write_unexplained(totals: FloatArray) -> Reasons:
    """Reasons of scores that nobody asked the parts of: everything, shape (rows,), under "other"."""
    left = np.round(totals, _DECIMALS) + 0.0
    return Reasons(_joined("[", _other(left), "]").to_pylist(), np.full((len(totals), 1), "", dtype=object))


def family_totals(features: Sequence[Feature], contributions: FloatArray) -> tuple[list[str], FloatArray]:
    """The families in alphabetical order, and each row's sum of parts per family, shape (rows, families)."""
    names = sorted({feature.family for feature in features})
    belongs = np.array([[feature.family == name for name in names] for feature in features], dtype=np.float64)
    return names, contributions @ belongs


def write_families(names: Sequence[str], totals: FloatArray) -> list[str]:
    """Per row a JSON object from family to its sum of parts, to 8 decimals."""
    rounded = np.round(totals, _DECIMALS) + 0.0
    pieces: list[Any] = []
    for place, name in enumerate(names):
        pieces += [f"{'{' if place == 0 else ','}{_json(name)}:", _numbers(rounded[:, place])]
    texts: list[str] = _joined(*pieces, "}").to_pylist()
    return texts


def _other(left: FloatArray) -> pa.Array:
    """The JSON object of what is left to all other features, shape (rows,)."""
    ends = pa.array([f',"text":{_other_text(sign)}}}' for sign in (-1.0, 0.0, 1.0)])
    head = f'{_json(_OTHER_HEAD)[:-1]},"contribution":'
    return _joined(head, _numbers(left), ends.take(pa.array(np.sign(left).astype(int) + 1)))


def _joined(*pieces: pa.Array | str) -> pa.Array:
    """Each row's pieces as one text; a plain text is a piece of every row."""
    return pc.binary_join_element_wise(*pieces, "")


def _numbers(values: FloatArray) -> pa.Array:
    """Each number as the shortest text that reads back as itself, fit for JSON; null where it is not known."""
    return pc.fill_null(pc.cast(pa.array(values + 0.0, from_pandas=True), pa.string()), "null")


def _largest(parts: FloatArray, count: int) -> np.ndarray:
    """Positions of the `count` largest |parts| per row, largest first; among equals the earlier position."""
    sizes = np.abs(np.round(parts, _DECIMALS))
    ranked = np.argsort(-sizes, axis=1, kind="stable")
    return ranked[:, :count]


def _fragments(
    frame: pd.DataFrame, features: Sequence[Feature], columns: np.ndarray, rounded: FloatArray, usual: Usual
) -> npt.NDArray[np.object_]:
    """The JSON object of each reason with a comma behind it, "" where its part is zero."""
    fragments = np.full(columns.shape, "", dtype=object)
    ways = pa.array(["lowers", "raises"])
    for position, feature in enumerate(features):
        rows, places = np.nonzero((columns == position) & (rounded != 0.0))
        if len(rows) == 0:
            continue
        parts = rounded[rows, places]
        said = _said(frame[feature.name].iloc[rows], feature, usual.get(feature.name))
        way = ways.take(pa.array((parts > 0).astype(int)))
        written = _joined(*said, " (", way, ' the risk)","contribution":', _numbers(parts), "},")
        fragments[rows, places] = written.to_numpy(zero_copy_only=False)
    return fragments


def _said(
    column: "pd.Series[Any]", feature: Feature, usual: float | bool | str | None
) -> tuple[str, pa.Array, str, pa.Array]:
    """The pieces of a reason's JSON object up to its sentence; words are made once per value that is said alike."""
    codes: npt.NDArray[np.intp]
    distinct: npt.NDArray[Any]
    if feature.kind == "number":
        numbers = plain_values(column, feature)
        values = _numbers(numbers)
        codes, distinct = pd.factorize(coarse(numbers, feature), use_na_sentinel=False)
        usual = None if usual is None else float(coarse(np.array([float(usual)]), feature)[0])
    else:
        codes, distinct = pd.factorize(display_values(column, feature), use_na_sentinel=False)
        values = pa.array([_json(_known(value)) for value in distinct]).take(pa.array(codes))
    sentences = pa.array([_json(sentence(feature, _known(value), usual))[1:-1] for value in distinct])
    head = _json({"feature": feature.name, "label": feature.label})[:-1]
    middle = _json({"unit": feature.unit, "family": feature.family})[1:-1]
    return f'{head},"value":', values, f',{middle},"text":"', sentences.take(pa.array(codes))


def _known(value: Any) -> float | bool | str | None:
    return None if value is None or value != value else value


def sentence(feature: Feature, value: float | bool | str | None, usual: float | bool | str | None = None) -> str:
    """A feature's value as a person says it, beside the usual one where that is known.

    "3 tickets open for more than 7 days, usually 0" where the label counts its unit; else "Plan: pro, usually basic";
    "Revenue in the last 90 days is not known". A value that reads like the usual one is "as usual".
    """
    head, rest = _parted(feature.label)
    if value is None:
        is_plural = any(word.endswith("s") and not word.endswith(("ss", "us", "is")) for word in (head[0], head[-1]))
        return f"{feature.label} {'are' if is_plural else 'is'} not known"
    counted = not isinstance(value, bool | str) and _place(head, feature.unit) is not None
    if counted:
        plain = replace(feature, unit="")
        shown, compared = words_of(value, plain), None if usual is None else words_of(usual, plain)
        said = " ".join([shown, *_counted(head, feature.unit, is_one=shown == "1"), *rest])
    else:
        shown, compared = words_of(value, feature), None if usual is None else words_of(usual, feature)
        said = f"{feature.label}: {shown}"
    if compared is None:
        return said
    return f"{said}, as usual" if compared == shown else f"{said}, usually {compared}"


def _parted(label: str) -> tuple[list[str], list[str]]:
    """A label's words before its first preposition, and the others."""
    words = label.split()
    end = next((place for place, word in enumerate(words) if place and word.lower() in _PREPOSITIONS), len(words))
    return words[:end], words[end:]


def _place(head: Sequence[str], unit: str) -> int | None:
    """Where a label names what it counts."""
    lower = [word.lower() for word in head]
    return lower.index(unit) if unit.endswith("s") and unit in lower else None


def _counted(head: Sequence[str], unit: str, *, is_one: bool) -> list[str]:
    place = _place(head, unit)
    words = [head[0][0].lower() + head[0][1:] if head[0][1:].islower() else head[0], *head[1:]]
    if is_one and place is not None:
        words[place] = unit[:-1]
    return words


def words_of(value: float | bool | str | None, feature: Feature) -> str:
    """A value in words: "74 days", "1,250.5 EUR", "25%" (of a share), "yes", "not known"."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if _is_share(feature):
        return f"{value:.0%}{feature.unit.removeprefix('share')}"
    shown = f"{value:,.0f}" if float(value).is_integer() else _short(value)
    if feature.unit.endswith("currency"):
        return f"{shown} in the {feature.unit}"
    unit = feature.unit[:-1] if shown == "1" and feature.unit.endswith("s") else feature.unit
    return f"{shown} {unit}".rstrip()


def coarse(values: FloatArray, feature: Feature) -> FloatArray:
    """Numbers no finer than they are said: whole from 100 on, with one decimal from 10 on, with two below."""
    if _is_share(feature):
        return np.round(values, 2) + 0.0
    sizes = np.abs(values)
    digits = np.where(sizes >= 100, 0, np.where(sizes >= 10, 1, 2))
    rounded = np.select([digits == place for place in range(3)], [np.round(values, place) for place in range(3)])
    return np.where(sizes >= 0.01, rounded, values)


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2
    return f"{value:.{decimals}f}" if abs(value) >= 0.01 else f"{value:.2g}"


def _is_share(feature: Feature) -> bool:
    return feature.unit.split(" ")[0] == "share"


def _other_text(part: float) -> str:
    direction = "raise the risk" if part > 0 else "lower the risk" if part < 0 else "change nothing"
    return _json(f"All other features together {direction}")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
