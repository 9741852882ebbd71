"""The scores of a trial as CSV, for people who open it with a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import orjson
import pandas as pd

from foundation.private_files import private_file
from foundation.spreadsheets import harmless_cell
from ml_assets.scoring.reasons import OTHER
from ml_assets.scoring.reasons_json import write_reasons
from pipeline.trying.trial import Trial

REASONS = 3
NOUN = "risk"
_OWN = ("row", "fold", "probability", "probability_low", "probability_high", "risk_level")


def scores_frame(trial: Trial) -> pd.DataFrame:
    """A row per row of the file, in its order: who, what came of it, the score, its 95 percent range and its reasons.

    fold: which fifth the row stood in while others were learned from, from 0; empty where the outcome is not known.
    """
    scored = trial.scored
    fold = pd.Series(pd.NA, index=range(len(scored.probability)), dtype="Int64")
    fold[trial.is_known] = trial.validation.rows.folds
    reasons = reason_texts(trial)
    return pd.DataFrame(
        {
            "row": trial.read.numbers,
            **({_named(trial.customer): trial.names} if trial.customer else {}),
            _named(trial.outcome.column): trial.outcome.texts,
            "fold": fold,
            "probability": scored.probability,
            "probability_low": scored.low,
            "probability_high": scored.high,
            "risk_level": trial.levels,
            **{f"reason_{place + 1}": [each[place] for each in reasons] for place in range(REASONS)},
        }
    )


def reason_texts(trial: Trial) -> list[list[str]]:
    """Each row's three largest reasons as sentences, "" where there are fewer."""
    written = write_reasons(trial.typed.frame, trial.typed.features, trial.scored.contributions, trial.usual, noun=NOUN)
    texts = []
    for row in written.json:
        named = [reason["text"] for reason in orjson.loads(row) if reason["feature"] != OTHER][:REASONS]
        texts.append(named + [""] * (REASONS - len(named)))
    return texts


def write_scores(trial: Trial, path: Path) -> None:
    """Write the file; it takes its name only when all of it is written."""
    frame = scores_frame(trial)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(harmless_cell, frame.columns))
    for row in frame.astype(object).itertuples(index=False):
        writer.writerow(harmless_cell(value) if isinstance(value, str) else _plain(value) for value in row)
    with private_file(path) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _plain(value: object) -> object:
    return "" if value is None or value is pd.NA or value != value else value


def _named(column: str) -> str:
    """The file's own name of a column, unless we have a column of that name."""
    return f"{column} in the file" if column in _OWN or column.startswith("reason_") else column
