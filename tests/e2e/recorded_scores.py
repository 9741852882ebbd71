"""The demo's published scores as they were recorded: by release 0.1.0, and as they are now."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
PUBLISHED = """
        select
            slug, customer_id, as_of_date::text, churn_probability, risk_level, percentile, baseline_log_odds,
            probability_low, probability_high, evidence_level, row_hash,
            (
                select string_agg(format('%%s=%%s', item ->> 'feature', item ->> 'contribution'), ';' order by place)
                from jsonb_array_elements(reasons) with ordinality as listed (item, place)
            ) as reasons
        from predictions.churn_current
        inner join ops.companies using (company_id)
        where slug <> 'marketlane'
        order by slug collate "C", customer_id collate "C"
    """


def recorded_scores(release: str) -> list[dict[str, str]]:
    """The rows of a release, of the companies whose churn has meant the same since."""
    with (FIXTURES / f"published_by_release_{release}.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["slug"] != "marketlane"]


def assert_published_as_recorded(published: Sequence[Sequence[Any]], recorded: Sequence[dict[str, str]]) -> None:
    """Each row's values, numbers to within 1e-6; `published` are the rows of PUBLISHED."""
    assert len(published) == len(recorded) > 200
    for row, expected in zip(published, recorded, strict=True):
        for value, (column, text) in zip(row, expected.items(), strict=True):
            if column == "reasons":
                assert _contributions(value) == pytest.approx(_contributions(text), abs=1e-6), row[:2]
            elif isinstance(value, float):
                assert value == pytest.approx(float(text), abs=1e-6), (row[:2], column)
            else:
                assert value == text, (row[:2], column)


def _contributions(reasons: str) -> dict[str, float]:
    pairs = (reason.rsplit("=", 1) for reason in reasons.split(";"))
    return {feature: float(contribution) for feature, contribution in pairs}
