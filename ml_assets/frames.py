"""From a frame to a matrix of numbers: checks of what came in, and how categories become codes.

The matrix is float64, one column per feature in the model's order: numbers as they are, flags 0 or 1,
categories as a code of the stored vocabulary. Missing is NaN; so is a category that the fit never saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from foundation.counting import agreeing, counted, plural
from ml_assets.errors import (
    DuplicateRowError,
    FeatureMissingError,
    FeatureTypeError,
    FeatureVersionError,
    FrameError,
    InfiniteValueError,
    LabelError,
)
from ml_assets.task import ENTITY_ID, OUTCOME, Feature, PredictionTask

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]

Usual = Mapping[str, float | bool | str]

LARGEST_VOCABULARY = 50
VERSION_COLUMN = "feature_version"
MIXED_VERSION = "mixed"
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_NUMBERS_IN_OBJECTS = {"decimal", "floating", "integer", "mixed-integer-float", "boolean", "empty"}


@dataclass(frozen=True)
class FeatureEncoder:
    """The features of a model in order, and the vocabulary of each category.

    `usual` has each company's usual value of each feature among the fit rows, by the company's id as text: the
    median of a number, the most frequent value of a category or a flag. A company without rows has none.
    """

    features: tuple[Feature, ...]
    vocabularies: dict[str, tuple[str, ...]]
    usual: Mapping[str, Usual] = field(default_factory=dict)

    @classmethod
    def fit(cls, frame: pd.DataFrame, features: Sequence[Feature]) -> "FeatureEncoder":
        """Learn the vocabularies (the 50 most frequent values, alphabetically) from the fit rows alone."""
        check_features(frame, features)
        vocabularies = {}
        for feature in features:
            if feature.kind == "category":
                counts = pd.Series(_texts(frame[feature.name], feature)).value_counts()
                vocabularies[feature.name] = tuple(sorted(counts.index[:LARGEST_VOCABULARY]))
        usual = {}
        if "company_id" in frame.columns:
            usual = {str(company): usual_values(rows, features) for company, rows in frame.groupby("company_id")}
        return cls(features=tuple(features), vocabularies=vocabularies, usual=usual)

    def narrowed(self, kept: npt.NDArray[np.intp]) -> "FeatureEncoder":
        """With the features at these positions alone."""
        features = tuple(self.features[place] for place in kept)
        names = {feature.name for feature in features}
        vocabularies = {name: vocabulary for name, vocabulary in self.vocabularies.items() if name in names}
        usual = {
            company: {name: values[name] for name in values if name in names} for company, values in self.usual.items()
        }
        return FeatureEncoder(features, vocabularies, usual)

    def encode(self, frame: pd.DataFrame) -> FloatArray:
        """Rows x features. Raises a `FrameError` that names the feature when the frame does not fit."""
        check_features(frame, self.features)
        matrix = np.empty((len(frame), len(self.features)), dtype=np.float64, order="F")
        for position, feature in enumerate(self.features):
            matrix[:, position] = self._column(frame[feature.name], feature)
        return matrix

    def new_categories(self, frame: pd.DataFrame) -> dict[str, list[str]]:
        """Values of each category that the fit never saw and that therefore count as missing."""
        unseen = {}
        for feature in self.features:
            if feature.kind == "category":
                seen = set(pd.Series(_texts(frame[feature.name], feature)).dropna().unique())
                new = sorted(seen - set(self.vocabularies[feature.name]))
                if new:
                    unseen[feature.name] = new
        return unseen

    def _column(self, column: "pd.Series[Any]", feature: Feature) -> FloatArray:
        if feature.kind == "category":
            return self._codes(column, feature)
        return plain_values(column, feature)

    def _codes(self, column: "pd.Series[Any]", feature: Feature) -> FloatArray:
        vocabulary = pd.Index(self.vocabularies[feature.name], dtype=object)
        codes = vocabulary.get_indexer(pd.Index(_texts(column, feature), dtype=object)).astype(np.float64)
        codes[codes < 0] = np.nan
        return codes


def usual_values(frame: pd.DataFrame, features: Sequence[Feature]) -> dict[str, float | bool | str]:
    """Each feature's median (a number) or most frequent value (a category, a flag), where any row has one."""
    usual: dict[str, float | bool | str] = {}
    for feature in features:
        values = plain_values(frame[feature.name], feature)
        known = values[~pd.isna(values)]
        if len(known) == 0:
            continue
        if feature.kind == "number":
            usual[feature.name] = _median(known)
        else:
            most = pd.Series(known).value_counts().sort_index().idxmax()
            usual[feature.name] = bool(most) if feature.kind == "flag" else str(most)
    return usual


def _median(known: FloatArray) -> float:
    """numpy's median of numbers of which none is NaN: one place is sought, and the one below is the largest before."""
    half = len(known) // 2
    parted = np.partition(known, half)
    below = parted[half] if len(known) % 2 else parted[:half].max()
    return float((below + parted[half]) / 2)


def check_features(frame: pd.DataFrame, features: Sequence[Feature]) -> None:
    """Raise `FeatureMissingError` when a feature is not a column of the frame."""
    missing = [feature.name for feature in features if feature.name not in frame.columns]
    if missing:
        raise FeatureMissingError(
            f"the feature matrix lacks {counted(len(missing), 'feature')} that the model needs: {', '.join(missing)}"
        )


def display_values(column: "pd.Series[Any]", feature: Feature) -> npt.NDArray[np.object_]:
    """A feature's values as a reader sees them: float, bool or str, and None where missing."""
    values = plain_values(column, feature)
    if feature.kind == "category":
        return values
    display = (values == 1.0).astype(object) if feature.kind == "flag" else values.astype(object)
    display[np.isnan(values)] = None
    return display


def plain_values(column: "pd.Series[Any]", feature: Feature) -> npt.NDArray[Any]:
    """A feature's values whatever the frame's types: texts (None where missing) or float64 (NaN)."""
    if feature.kind == "category":
        return _texts(column, feature)
    return _flags(column, feature) if feature.kind == "flag" else _numbers(column, feature)


def as_of_dates(frame: pd.DataFrame) -> DateArray:
    """The rows' as_of_date as datetime64[D]."""
    return pd.to_datetime(frame["as_of_date"]).to_numpy().astype("datetime64[D]")


def check_keys(frame: pd.DataFrame, task: PredictionTask) -> None:
    """Raise when a key column is missing or empty, or an entity stands twice at one as_of_date."""
    keys = ["company_id", ENTITY_ID, "as_of_date"]
    missing = [key for key in keys if key not in frame.columns]
    if missing:
        raise FrameError(
            f"the frame for task {task.name!r} lacks the key {plural(len(missing), 'column')} {', '.join(missing)}"
        )
    empty = [key for key in keys if frame[key].isna().any()]
    if empty:
        raise FrameError(f"the frame for task {task.name!r} has rows without {', '.join(empty)}")
    repeated = frame.duplicated(subset=keys)
    if repeated.any():
        row, number = frame.loc[repeated, keys].iloc[0], int(repeated.sum())
        raise DuplicateRowError(
            f"{counted(number, 'row')} of the feature matrix {agreeing(number, 'repeat')} "
            f"{'its' if number == 1 else 'their'} key, the first: company "
            f"{row['company_id']}, {task.entity} {row[ENTITY_ID]}, {row['as_of_date']}"
        )


def feature_version_of(frame: pd.DataFrame) -> str | None:
    """The version that made the frame's features: `<sql>.<settings>` of one company, `<sql>` of several.

    Companies need not share settings, for each has its own; but each company's rows must be of one version, and
    all of one SQL. None for a frame without rows, or without the column. Raises `FeatureVersionError`, which says
    which dates of which company are of which version.
    """
    if VERSION_COLUMN not in frame.columns or frame.empty:
        return None
    made_by = frame[["company_id", VERSION_COLUMN]].dropna().drop_duplicates()
    sql = sorted({sql_of(version) for version in made_by[VERSION_COLUMN]})
    if made_by["company_id"].duplicated().any() or len(sql) > 1 or MIXED_VERSION in sql:
        grouped = frame.groupby(["company_id", VERSION_COLUMN], sort=True)["as_of_date"]
        dates = grouped.agg(["min", "max", "nunique"]).reset_index()
        raise FeatureVersionError(
            "the rows were made by different feature versions and must not be mixed: "
            + "; ".join(
                f"company {company}: version {version} from {first} to {last} ({counted(count, 'date')})"
                for company, version, first, last, count in dates.itertuples(index=False)
            )
        )
    return str(made_by[VERSION_COLUMN].iloc[0]) if len(made_by) == 1 else sql[0]


def sql_of(version: str) -> str:
    """The part of a feature version that all companies share: which SQL made the row."""
    return version.partition(".")[0]


def is_same_version(trained_on: str | None, row_version: str | None) -> bool:
    """Whether a model may score a row. One trained on several companies goes by the SQL alone."""
    if trained_on is None or row_version is None:
        return False
    return trained_on == (row_version if "." in trained_on else sql_of(row_version))


def labelled_rows(frame: pd.DataFrame, task: PredictionTask) -> pd.DataFrame:
    """The rows whose label is known (and mature, where an `is_mature` column stands), with a fresh index."""
    if OUTCOME not in frame.columns:
        raise LabelError(f"the training frame lacks the label {OUTCOME!r} of task {task.name!r}")
    known = frame[OUTCOME].notna()
    if "is_mature" in frame.columns:
        known &= frame["is_mature"].isin([True])
    return frame[known].reset_index(drop=True)


def outcomes_of(frame: pd.DataFrame, task: PredictionTask) -> FloatArray:
    """The label as 0.0 and 1.0. Raises `LabelError` for anything else."""
    column = frame[OUTCOME]
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isin(values, (0.0, 1.0))
    if wrong.any():
        example = column[wrong].iloc[0]
        raise LabelError(
            f"label {OUTCOME!r} of task {task.name!r} must be true or false, found {example!r} "
            f"in {counted(int(wrong.sum()), 'row')}"
        )
    return values


def _numbers(column: "pd.Series[Any]", feature: Feature) -> FloatArray:
    if pd.api.types.is_object_dtype(column.dtype):
        inferred = pd.api.types.infer_dtype(column, skipna=True)
        if inferred not in _NUMBERS_IN_OBJECTS:
            raise _type_error(feature, inferred, "numbers")
    elif not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)):
        raise _type_error(feature, str(column.dtype), "numbers")
    if column.dtype == np.float64:
        values = column.to_numpy()
    else:
        values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    too_large = np.abs(values) > _LARGEST_FLOAT32
    if too_large.any():
        raise InfiniteValueError(
            f"feature {feature.name!r} is infinite in {int(too_large.sum())} of {len(values)} rows"
        )
    return values


def _flags(column: "pd.Series[Any]", feature: Feature) -> FloatArray:
    values = _numbers(column, feature)
    wrong = ~(np.isnan(values) | (values == 0.0) | (values == 1.0))
    if wrong.any():
        raise FeatureTypeError(f"feature {feature.name!r} is a flag, and holds {float(values[wrong][0])}")
    return values


def _texts(column: "pd.Series[Any]", feature: Feature) -> npt.NDArray[np.object_]:
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object, copy=True)
    values[missing] = None
    inferred = pd.api.types.infer_dtype(column.dropna(), skipna=True)
    if inferred not in ("string", "empty", "categorical"):
        raise _type_error(feature, inferred, "texts")
    return values


def _type_error(feature: Feature, actual: str, wanted: str) -> FeatureTypeError:
    return FeatureTypeError(
        f"feature {feature.name!r} is a {feature.kind} and must hold {wanted}, but the frame holds {actual}; "
        "mend the kind in the column's meta, or the column"
    )
