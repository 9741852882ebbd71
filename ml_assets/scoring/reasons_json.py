"""The reasons and families of many rows at once, as the JSON texts that are published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_assets.frames import FloatArray, Usual, display_values, plain_values
from ml_assets.scoring.reasons import OTHER, Reason, Value, is_share
from ml_assets.task import Feature

TOP_REASONS = 5
_DECIMALS = 8
_OTHER = Feature(OTHER, "All other features together", unit="", family=OTHER, kind="number")


@dataclass(frozen=True)
class WrittenReasons:
    """Per row: the reasons as JSON text, and the names of its top features, best first ("" where fewer)."""

    json: list[str]
    top: npt.NDArray[np.object_]


def write_reasons(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    contributions: FloatArray,
    usual: Usual | None = None,
    *,
    noun: str,
) -> WrittenReasons:
    """The five largest parts of each row by size, then all the rest as "other".

    `usual` are the values that the words compare with, by feature; `noun` is what the parts raise or lower. Equal
    sizes are ordered by feature name; a part of exactly zero is no reason. Contributions are rounded to 8 decimals and
    "other" takes up the rounding, so that a row's reasons add up to its parts' sum.
    """
    order = sorted(range(len(features)), key=lambda position: features[position].name)
    sorted_parts = contributions[:, order]
    chosen = _largest(sorted_parts, min(TOP_REASONS, len(features)))
    rounded = np.round(np.take_along_axis(sorted_parts, chosen, axis=1), _DECIMALS)
    rest = np.round(contributions.sum(axis=1) - rounded.sum(axis=1), _DECIMALS) + 0.0
    columns = np.array(order)[chosen]
    named = _fragments(frame, features, columns, rounded, usual or {}, noun)
    texts = _joined(
        "[", *(pa.array(named[:, place], pa.string()) for place in range(named.shape[1])), _other(rest, noun), "]"
    )
    names = np.array([feature.name for feature in features], dtype=object)[columns]
    names[rounded == 0.0] = ""
    return WrittenReasons(texts.to_pylist(), names)


def write_unexplained(totals: FloatArray, *, noun: str) -> WrittenReasons:
    """Reasons of scores that nobody asked the parts of: everything, shape (rows,), under "other"."""
    left = np.round(totals, _DECIMALS) + 0.0
    texts = _joined("[", _other(left, noun), "]").to_pylist()
    return WrittenReasons(texts, np.full((len(totals), 1), "", dtype=object))


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
    frame: pd.DataFrame,
    features: Sequence[Feature],
    columns: np.ndarray,
    rounded: FloatArray,
    usual: Usual,
    noun: str,
) -> npt.NDArray[np.object_]:
    """The JSON object of each reason with a comma behind it, "" where its part is zero."""
    fragments = np.full(columns.shape, "", dtype=object)
    for position, feature in enumerate(features):
        rows, places = np.nonzero((columns == position) & (rounded != 0.0))
        if len(rows) == 0:
            continue
        column = frame[feature.name].iloc[rows]
        objects = _named(column, feature, usual.get(feature.name), rounded[rows, places], noun)
        fragments[rows, places] = _joined(objects, ",").to_numpy(zero_copy_only=False)
    return fragments


def _named(column: "pd.Series[Any]", feature: Feature, usual: Value, parts: FloatArray, noun: str) -> pa.Array:
    """The JSON objects of one feature's reasons, shape (rows,); a text is made once per value that reads alike."""
    codes: npt.NDArray[np.intp]
    distinct: npt.NDArray[Any]
    if feature.kind == "number":
        numbers = plain_values(column, feature)
        values = _numbers(numbers)
        codes, distinct = pd.factorize(_said_alike(numbers, feature), use_na_sentinel=False)
    else:
        codes, distinct = pd.factorize(display_values(column, feature), use_na_sentinel=False)
        values = pa.array([_json(_known(value)) for value in distinct]).take(pa.array(codes))
    kinds, of_a_kind = pd.factorize(codes * 2 + (parts > 0))
    texts = [
        _text_and_direction(_reason(feature, _known(distinct[kind // 2]), usual, 1.0 if kind % 2 else -1.0), noun)
        for kind in of_a_kind.tolist()
    ]
    return _objects(feature, values, _value_json(usual), pa.array(texts).take(pa.array(kinds)), parts)


def _other(left: FloatArray, noun: str) -> pa.Array:
    """The JSON object of what is left to all other features, shape (rows,)."""
    texts = pa.array([_text_and_direction(_reason(_OTHER, None, None, sign), noun) for sign in (-1.0, 0.0, 1.0)])
    return _objects(_OTHER, "null", "null", texts.take(pa.array(np.sign(left).astype(int) + 1)), left)


def _reason(feature: Feature, value: Value, usual: Value, contribution: float) -> Reason:
    return Reason(feature.name, feature.label, value, usual, feature.unit, feature.family, contribution)


def _objects(feature: Feature, values: pa.Array | str, usual: str, texts: pa.Array, parts: FloatArray) -> pa.Array:
    """A feature's reasons as JSON objects, from pieces of JSON: `texts` are what `_text_and_direction` gives."""
    head = _json({"feature": feature.name, "label": feature.label})[:-1]
    middle = _json({"unit": feature.unit, "family": feature.family})[1:-1]
    return _joined(
        f'{head},"value":', values, f',"usual":{usual},{middle},', texts, ',"contribution":', _numbers(parts), "}"
    )


def _text_and_direction(reason: Reason, noun: str) -> str:
    return _json({"text": reason.sentence(noun), "direction": reason.direction})[1:-1]


def _known(value: Any) -> Value:
    return None if value is None or value != value else value


def _value_json(value: Value) -> str:
    """As in a column of values, where 19.0 is 19."""
    is_number = isinstance(value, float) and not isinstance(value, bool)
    return str(_numbers(np.array([value]))[0].as_py()) if is_number else _json(value)


def _said_alike(values: FloatArray, feature: Feature) -> FloatArray:
    """Numbers to the digits that a reason's text has (see `reasons`), so that each is written once."""
    if is_share(feature.unit):
        return np.round(values, 2) + 0.0
    sizes = np.abs(values)
    digits = np.where(sizes >= 100, 0, np.where(sizes >= 10, 1, 2))
    rounded = np.select([digits == place for place in range(3)], [np.round(values, place) for place in range(3)])
    return np.where(sizes >= 0.01, rounded, values)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
