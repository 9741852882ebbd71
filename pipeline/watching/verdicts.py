"""What an operator should know of the watched scores, over all companies that have a task: verdicts with figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from foundation.counting import counted
from ml_assets.judging.drift import BASE_RATE, WHOLE
from pipeline.watching.grades_and_drift import whole_grade
from warehouse.companies.registry import companies_with
from warehouse.prediction.drift_log import read_drift
from warehouse.prediction.score_grades import read_grades
from warehouse.publication.holds import list_holds, ways_out


@dataclass(frozen=True)
class WatchVerdict:
    """What is wrong, by company, and every company's figures in words."""

    faults: Mapping[str, str]
    figures: Mapping[str, str]


def broken_promises(conn: psycopg.Connection[Any], task: str) -> WatchVerdict:
    """Companies whose mean probability lies outside the interval of what came true."""
    faults, figures = {}, {}
    for company in companies_with(conn, task):
        whole = whole_grade(read_grades(conn, company.company_id, task))
        if whole is None:
            figures[company.slug] = "nothing graded yet"
            continue
        summary = (
            f"{whole.promised:.1%} promised, {whole.kept:.1%} kept ({whole.kept_low:.1%} to {whole.kept_high:.1%}), "
            f"{whole.outcomes:,} of {counted(whole.scores, 'score')}"
        )
        figures[company.slug] = summary
        if not whole.is_kept:
            faults[company.slug] = summary
    return WatchVerdict(faults, figures)


def drifted_companies(conn: psycopg.Connection[Any], task: str) -> WatchVerdict:
    """Companies whose newest measurement says that all features together, the score or the base rate have drifted."""
    faults, figures = {}, {}
    for company in companies_with(conn, task):
        measured = read_drift(conn, company.company_id, task)
        if measured is None:
            figures[company.slug] = "not measured yet"
            continue
        as_of_date, rows = measured
        drifted = {row.feature: row.note for row in rows if row.is_drifted}
        heaviest = [name for name in drifted if name not in WHOLE][:3]
        summary = f"{as_of_date}: {', '.join(heaviest) or 'no feature'} drifted"
        if BASE_RATE in drifted:
            summary += f"; the base rate is {drifted[BASE_RATE]}"
        figures[company.slug] = summary
        if not drifted.keys().isdisjoint(WHOLE):
            faults[company.slug] = summary
    return WatchVerdict(faults, figures)


def open_holds(conn: psycopg.Connection[Any], task: str) -> WatchVerdict:
    """Companies with dates that are held, how many risk levels these would have changed, and the newest reasons."""
    faults, figures = {}, {}
    for company in companies_with(conn, task):
        holds = list_holds(conn, company.company_id, task, only_open=True)
        if not holds:
            figures[company.slug] = "nothing held"
            continue
        newest = holds[0]
        faults[company.slug] = figures[company.slug] = (
            f"{counted(len(holds), 'date')} held, the newest {newest.as_of_date} "
            f"({counted(newest.flips, 'risk level')} would have "
            f"changed): {newest.why}. {ways_out(company.slug, task, newest.as_of_date)}"
        )
    return WatchVerdict(faults, figures)
