"""What was known of outcomes at a past date. Frames in, frames out; where they come from belongs elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd

from ml_assets.task import ENTITY_ID, OUTCOME

COMPANY = "company_id"
KEYS = [COMPANY, ENTITY_ID, "as_of_date"]


@dataclass(frozen=True)
class Past:
    """All rows whose outcome was known at any time, what was said of each outcome and when, and how far labels look.

    `rows` has KEYS and the features; `versions` has KEYS, outcome (None where none counts) and known_at, the versions
    of a label in their order. `labels_since` says since when a company's labels of today's meaning were kept, by id.
    """

    rows: pd.DataFrame
    versions: pd.DataFrame
    horizon_days: int
    labels_since: Mapping[int, datetime]

    def as_known(self, month: date, *, only_keys: bool = False) -> pd.DataFrame:
        """The rows that a run at that date would have learned from, with their outcomes as they were known then.

        With ``only_keys`` without the features, to count.
        A label counts once its horizon is over, and as it was known by the end of that day. Of dates before labels
        were kept, what was known first stands for what was known: events tell when they happened.
        """
        end_of_day = pd.Timestamp(datetime(month.year, month.month, month.day, tzinfo=UTC) + timedelta(days=1))
        versions = self._placed
        is_mature = versions["as_of_date"] <= month - timedelta(days=self.horizon_days)
        is_known = (versions["known_at"] < end_of_day) | (versions["known_at"] <= versions["labels_since"])
        known = versions[is_mature & is_known].drop_duplicates("row", keep="last")
        known = known[known[OUTCOME].notna()].sort_values("row")
        rows = self.rows[KEYS] if only_keys else self.rows
        return rows.iloc[known["row"]].assign(**{OUTCOME: known[OUTCOME].to_numpy(dtype=bool)})

    @cached_property
    def _placed(self) -> pd.DataFrame:
        """The versions with the place of their row; those of rows that are not there left out."""
        places = self.rows[KEYS].assign(row=np.arange(len(self.rows)))
        since = self.versions[COMPANY].map(dict(self.labels_since))
        return self.versions.assign(labels_since=since).merge(places, on=KEYS, how="inner", validate="many_to_one")


def first_known(versions: pd.DataFrame) -> dict[int, datetime]:
    """When each company's labels were first kept, by id."""
    first = versions.groupby(COMPANY)["known_at"].min()
    return dict(zip(first.index.tolist(), first.tolist(), strict=True))
