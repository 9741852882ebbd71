"""The gate: what staged scores must be before they may be published.

It is judged per company, so that one company's held scores never hold another's. Half of the questions are about the
scores; the other half are about the data behind them, for an outage of a source looks like customers who left. What is
held is kept in `warehouse.publication.holds`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from foundation.counting import agreeing, counted, plural
from warehouse import relations
from warehouse.companies.definition import Company
from warehouse.landing.silence import silent_entities
from warehouse.prediction.feature_store import missing_shares
from warehouse.prediction.task_relations import TaskRelations
from warehouse.publication.holds import Knowledge, accepted_checks, hold, midnight_of

# A company whose newest set shrinks below this share of the one before has lost data, not customers.
SMALLEST_SHARE_OF_PREVIOUS = 0.5

# Features of a date that rest on loads older than this would show an outage as customers' silence. After a load that
# failed, one day.
OLDEST_LOAD_DAYS = 2

# A table of the source that lost more than this share since the last publication was not tidied up, but broke.
LARGEST_SHRINKAGE = 0.1

# A feature that so many more customers lack than at the last publication lost its source, not its meaning.
LARGEST_RISE_OF_MISSING = 0.2


@dataclass(frozen=True)
class GateCheck:
    """One question that staged scores must answer before they are published.

    ``name`` states what is good and is what an acceptance goes by. ``detail`` is for people: what was looked at, and
    where the check failed a sentence that says what is wrong, what was seen and what is usual.
    """

    name: str
    passed: bool
    detail: str


def run_gate(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company: Company,
    as_of_date: date,
    now: datetime,
    knowledge: Knowledge | None = None,
) -> list[GateCheck]:
    """Judge the company's staged scores of a task, and keep the verdict in ``ml.publication_gates``.

    Scores that do not pass are held, and whose risk level they would have changed is kept; a check that somebody has
    accepted passes. ``knowledge`` is what the scores rest on, where that is not what was known on their date.
    """
    known = knowledge or Knowledge.of(task.matrix, as_of_date)
    company_id = company.company_id
    with conn.transaction():
        conn.execute("set local work_mem = '64MB'")
        standing = _published_before(conn, task, company_id, as_of_date)
        accepted = accepted_checks(conn, company_id, task.name, as_of_date)
        staged = _read_staged(conn, task, company_id, as_of_date)
        checks = [
            _unless_accepted(check, accepted)
            for check in (
                _covers_the_matrix(conn, task, company_id, as_of_date, known),
                _probabilities_in_range(staged),
                _reasons_add_up(staged),
                _no_sudden_loss(conn, task, company_id, as_of_date, staged),
                _rests_on_fresh_loads(conn, company_id, as_of_date, known),
                _no_source_is_silent(conn, company, as_of_date, known, standing),
                _no_table_shrank(conn, company_id, known, standing),
                _no_feature_went_missing(conn, task, company_id, as_of_date, known, standing),
            )
        ]
        failed = [check for check in checks if not check.passed]
        conn.execute(
            relations.compose("""
            insert into {publication_gates} (company_id, task, as_of_date, staged_at, checked_at, is_passed, checks)
            values (%s, %s, %s, %s, %s, %s, %s)
            """),
            [
                company_id,
                task.name,
                as_of_date,
                staged.staged_at,
                now,
                not failed,
                Jsonb([{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]),
            ],
        )
        if failed:
            hold(conn, task.contract, company_id, as_of_date, now, {check.name: check.detail for check in failed})
    return checks


def _unless_accepted(check: GateCheck, accepted: Mapping[str, str]) -> GateCheck:
    if check.passed or check.name not in accepted:
        return check
    return replace(check, passed=True, detail=f"{check.detail}; accepted {accepted[check.name]}")


def _published_before(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date
) -> date | None:
    standing: date | None
    (standing,) = _single_row(
        conn,
        task.contract.compose("select max(as_of_date) from {publications} where company_id = %s and as_of_date < %s"),
        [company_id, as_of_date],
    )
    return standing


def _single_row(
    conn: psycopg.Connection[Any], query: sql.Composed, values: list[object] | dict[str, object]
) -> tuple[Any, ...]:
    row = conn.execute(query, values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return tuple(row)


def _covers_the_matrix(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date, known: Knowledge
) -> GateCheck:
    missing, extra, rows, entities = _single_row(
        conn,
        sql.SQL("""
        select count(*) filter (where staged.entity_id is null),
               count(*) filter (where matrix.entity_id is null),
               count(*),
               (select count(*) from {matrix} where company_id = %(company)s and as_of_date = %(date)s)
        from (
            select {entity} as entity_id from {matrix} where company_id = %(company)s and as_of_date = %(date)s
        ) matrix
        full join (
            select entity_id from {staged}
            where company_id = %(company)s and task = %(task)s and as_of_date = %(date)s
        ) staged using (entity_id)
        """).format(
            matrix=known.matrix.identifier,
            staged=relations.STAGED_SCORES.identifier,
            entity=sql.Identifier(task.contract.entity_id),
        ),
        {"company": company_id, "task": task.name, "date": as_of_date},
    )
    again = rows - extra - entities
    entity = task.contract.entity
    name = f"every active {entity} has a score"
    if rows > 0 and missing == extra == again == 0:
        return GateCheck(name, True, f"{counted(entities, entity)}, each with one score")
    detail = (
        f"the scores are not those of the {entities:,} active {plural(entities, entity)}: "
        f"{counted(missing, entity)} {agreeing(missing, 'have')} none, "
        f"{counted(extra, 'score')} {agreeing(extra, 'are')} without a feature row, {again:,} of a {entity} who "
        "has one already"
    )
    return GateCheck(name, False, detail)


@dataclass(frozen=True)
class _Staged:
    """What reading the staged scores finds: how many are of the date, and how many are wrong, by question."""

    staged_at: datetime | None
    of_the_date: int
    out_of_range: int
    not_adding_up: int


_MISSES: LiteralString = """
    case when probability > 0 and probability < 1 then abs(
        baseline_log_odds + coalesce(total, 0) - ln(probability / (1 - probability))
    ) > 1e-6 end
"""


def _read_staged(conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date) -> _Staged:
    """Scores with a single reason are most of a large set, and are added up on several cores; others one by one."""
    *fields, others = _single_row(
        conn,
        sql.SQL("""
        select max(staged_at),
            count(*) filter (where as_of_date = %s),
            count(*) filter (
                where not (probability > 0 and probability < 1) or percentile is null
            ),
            count(*) filter (where is_single and {misses}),
            count(*) filter (where not is_single)
        from (
            select *, coalesce(jsonb_array_length(reasons), 0) = 1 as is_single,
                (reasons -> 0 ->> 'contribution')::double precision as total
            from {staged} where company_id = %s and task = %s
        ) as staged
        """).format(misses=sql.SQL(_MISSES), staged=relations.STAGED_SCORES.identifier),
        [as_of_date, company_id, task.name],
    )
    staged = _Staged(*fields)
    if not others:
        return staged
    (missed,) = _single_row(
        conn,
        sql.SQL("""
        select count(*) filter (where {misses})
        from {staged}
        cross join lateral (
            select (
                select sum((reason ->> 'contribution')::double precision)
                from jsonb_array_elements(reasons) as reason
            ) as total
        ) as parts
        where company_id = %s and task = %s and jsonb_array_length(reasons) is distinct from 1
        """).format(misses=sql.SQL(_MISSES), staged=relations.STAGED_SCORES.identifier),
        [company_id, task.name],
    )
    return replace(staged, not_adding_up=staged.not_adding_up + missed)


def _probabilities_in_range(staged: _Staged) -> GateCheck:
    bad = staged.out_of_range
    detail = (
        f"{counted(bad, 'score')} {agreeing(bad, 'have')} a probability outside 0 to 1, or no percentile"
        if bad
        else "none lies outside"
    )
    return GateCheck("probabilities lie between 0 and 1", bad == 0, detail)


def _reasons_add_up(staged: _Staged) -> GateCheck:
    bad = staged.not_adding_up
    detail = (
        f"the reasons of {counted(bad, 'score')} do not add up to their log-odds" if bad else "those of every score do"
    )
    return GateCheck("reasons add up to the published log-odds", bad == 0, detail)


def _no_sudden_loss(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date, staged: _Staged
) -> GateCheck:
    (before,) = _single_row(
        conn,
        task.contract.compose("""
        select coalesce((select scores from {publications}
                         where company_id = %s and as_of_date < %s order by as_of_date desc limit 1), 0)
        """),
        [company_id, as_of_date],
    )
    now = staged.of_the_date
    is_enough = now >= SMALLEST_SHARE_OF_PREVIOUS * before
    finding = f"{now:,} {task.contract.entity}s after {before:,} in the set before"
    return GateCheck(
        f"no sudden loss of {task.contract.entity}s",
        is_enough,
        finding if is_enough else f"more than half of the {task.contract.entity}s are gone: {finding}",
    )


def _rests_on_fresh_loads(
    conn: psycopg.Connection[Any], company_id: int, as_of_date: date, known: Knowledge
) -> GateCheck:
    rows = conn.execute(
        relations.compose("""
        select wanted.entity, max(load.known_at) filter (where load.status = 'succeeded')
        from {companies} as company
        cross join lateral unnest(company.entities) as wanted (entity)
        left join {load_log} as load
            on load.company_id = company.company_id and load.entity = wanted.entity
            and (load.is_backfill or load.known_at < %(known)s)
        where company.company_id = %(company)s
        group by wanted.entity
        having coalesce(max(load.known_at) filter (where load.status = 'succeeded'), '-infinity') < (
            %(date)s::date - case
                when max(load.known_at) filter (where load.status = 'failed')
                    > max(load.known_at) filter (where load.status = 'succeeded') then 1
                else %(days)s::int
            end
        )::timestamp at time zone 'UTC'
        order by wanted.entity
        """),
        {"company": company_id, "date": as_of_date, "days": OLDEST_LOAD_DAYS, "known": known.before},
    ).fetchall()
    stale = ", ".join(
        f"{entity} were last loaded on {at:%Y-%m-%d at %H:%M} UTC" if at else f"{entity} were never loaded"
        for entity, at in rows
    )
    detail = (
        f"the data is too old for {as_of_date}: {stale}; usual is within {OLDEST_LOAD_DAYS} days before the date, "
        "or one where a load failed since"
        if stale
        else f"every table was loaded within {OLDEST_LOAD_DAYS} days before {as_of_date}"
    )
    return GateCheck("features rest on fresh loads", not stale, detail)


def _no_source_is_silent(
    conn: psycopg.Connection[Any],
    company: Company,
    as_of_date: date,
    known: Knowledge,
    standing: date | None,
) -> GateCheck:
    """A source that answers and gives nothing. Before the first publication no better scores stand instead."""
    name = "no source fell silent"
    if standing is None:
        return GateCheck(name, True, "nothing is published yet that could stand instead")
    silent = silent_entities(conn, company.company_id, company.entities, midnight_of(as_of_date), known.before)
    detail = "; ".join(map(str, silent)) or f"as much as usual from {', '.join(company.entities)}"
    return GateCheck(name, not silent, detail)


def _no_table_shrank(
    conn: psycopg.Connection[Any],
    company_id: int,
    known: Knowledge,
    standing: date | None,
) -> GateCheck:
    """By the source's own count of its records, where it can count, at the loads behind the two publications."""
    name = "no table shrank"
    if standing is None:
        return GateCheck(name, True, "no earlier publication to compare with")
    rows = conn.execute(
        relations.compose("""
        select now.entity, before.source_live, now.source_live
        from (
            select distinct on (entity) entity, source_live from {load_log}
            where company_id = %(company)s and status = 'succeeded' and source_live is not null
                and known_at < %(known)s
            order by entity, load_id desc
        ) as now
        inner join (
            select distinct on (entity) entity, source_live from {load_log}
            where company_id = %(company)s and status = 'succeeded' and source_live is not null
                and (is_backfill or known_at < %(standing)s)
            order by entity, load_id desc
        ) as before using (entity)
        where now.source_live < (1 - %(shrinkage)s) * before.source_live
        order by now.entity
        """),
        {
            "company": company_id,
            "known": known.before,
            "standing": midnight_of(standing),
            "shrinkage": LARGEST_SHRINKAGE,
        },
    ).fetchall()
    shrunk = "; ".join(
        f"the source lost {entity}: it counts {now:,} after {before:,} at the last publication"
        for entity, before, now in rows
    )
    return GateCheck(name, not shrunk, shrunk or f"no table lost more than {LARGEST_SHRINKAGE:.0%} of its records")


def _no_feature_went_missing(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    known: Knowledge,
    standing: date | None,
) -> GateCheck:
    """Each feature's share of customers without it, against the date of the published set."""
    name = "no feature went missing for many at once"
    if standing is None:
        return GateCheck(name, True, "no earlier publication to compare with")
    now = missing_shares(conn, task, company_id, as_of_date, known.matrix)
    before = missing_shares(conn, task, company_id, standing)
    risen = {
        feature: (before[feature], share)
        for feature, share in now.items()
        if feature in before and share - before[feature] > LARGEST_RISE_OF_MISSING
    }
    gone = "; ".join(
        f"{feature} is missing for {share:.0%} of {task.contract.entity}s, {was:.0%} on {standing}"
        for feature, (was, share) in sorted(risen.items(), key=lambda item: item[1][0] - item[1][1])
    )
    return GateCheck(
        name, not gone, gone or f"none is missing for {LARGEST_RISE_OF_MISSING:.0%} more {task.contract.entity}s"
    )
