"""What was held back from publication: which date of which company, why, and whose risk level would have changed.

While a date is held the last published scores stand. A hold ends when its date passes the gate after all, or is
replayed after the repair; somebody may also accept what held it, where it was no outage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.errors import WarehouseError
from warehouse.logs.operations import record_audit
from warehouse.publication.contract import Contract
from warehouse.relations import Relation

Release = Literal["published", "replayed"]

ACCEPTED_FOR = timedelta(days=7)
"""How long the same finding passes after it was accepted: a closed week is not to be accepted every morning."""


class NotHeld(WarehouseError):
    """The company has no hold of that date that is still open."""


@dataclass(frozen=True)
class Knowledge:
    """What scores rest on: the relation of their features, and the moment before which loads count."""

    matrix: Relation
    before: datetime

    @classmethod
    def of(cls, matrix: Relation, as_of_date: date) -> Knowledge:
        """That of an ordinary scoring: the stored matrix, and what was known before the date."""
        return cls(matrix, midnight_of(as_of_date))


def midnight_of(as_of_date: date) -> datetime:
    """The moment that a date speaks of."""
    return datetime.combine(as_of_date, time(), UTC)


@dataclass(frozen=True)
class Hold:
    """A date that was held. ``reasons`` are the gate's failed checks: name and detail."""

    as_of_date: date
    held_at: datetime
    reasons: list[dict[str, str]]
    model_version: str | None
    scores: int
    flips: int
    standing_date: date | None
    released_at: datetime | None
    release: str | None
    accepted_by: str | None

    @property
    def is_open(self) -> bool:
        """Whether its scores are still held."""
        return self.released_at is None

    @property
    def why(self) -> str:
        """What was seen and what is usual, of each check that failed."""
        return "; ".join(reason["detail"] for reason in self.reasons)

    def sentence(self, slug: str, task: str) -> str:
        """One sentence on what is held, and the commands that end it, for the company of this slug."""
        stands = f"those of {self.standing_date} stand" if self.standing_date else "none were published before"
        return (
            f"The scores for {self.as_of_date} are held back, {stands}: {self.why}. "
            f"{ways_out(slug, task, self.as_of_date)}"
        )


@dataclass(frozen=True)
class Flip:
    """An entity whose risk level the held scores would have changed, and from and to what."""

    entity_id: str
    published_level: str
    held_level: str
    published_probability: float
    held_probability: float


def ways_out(slug: str, task: str, as_of_date: date) -> str:
    """The commands that end a hold, ready to be typed: where what was found is right, and after a repair."""
    which = f"--company {slug} --task {task} --date {as_of_date}"
    return (
        f'If that is no outage: `churn holds accept {which} --because "..."`. '
        f"Once the source is repaired: `churn replay {which}`, from the day after."
    )


def hold(
    conn: psycopg.Connection[Any],
    contract: Contract,
    company_id: int,
    as_of_date: date,
    now: datetime,
    reasons: Mapping[str, str],
) -> None:
    """Keep that the staged scores of this date are held, and whose risk level they would have changed.

    A date that was held before is held again: reasons and flips are those of the last judgement.
    """
    values = {
        "company": company_id,
        "date": as_of_date,
        "now": now,
        "reasons": Jsonb([{"name": name, "detail": detail} for name, detail in reasons.items()]),
    }
    conn.execute(
        contract.compose("""
        insert into {publication_holds} as hold
            (company_id, task, as_of_date, held_at, reasons, model_version, scores, flips, standing_date)
        select %(company)s, {task}, %(date)s, %(now)s, %(reasons)s, min(model_version), count(*), 0,
            (select max(as_of_date) from {publications} where company_id = %(company)s)
        from {staged_scores} where company_id = %(company)s and task = {task} and as_of_date = %(date)s
        on conflict (company_id, task, as_of_date) do update set reasons = excluded.reasons, scores = excluded.scores,
            model_version = excluded.model_version, released_at = null, release = null,
            standing_date = coalesce(hold.standing_date, excluded.standing_date)
        """),
        values,
    )
    conn.execute(
        contract.compose(
            "delete from {held_flips} where company_id = %(company)s and task = {task} and as_of_date = %(date)s"
        ),
        values,
    )
    conn.execute(
        contract.compose("""
        with flips as (
            insert into {held_flips} (company_id, task, as_of_date, entity_id, published_level, held_level,
                published_probability, held_probability)
            select staged.company_id, staged.task, staged.as_of_date, staged.entity_id, standing.risk_level,
                staged.risk_level, standing.{probability}, staged.probability
            from {staged_scores} as staged
            inner join {publication_holds} as hold
                on hold.company_id = staged.company_id and hold.task = staged.task
                and hold.as_of_date = staged.as_of_date
            inner join {scores} as standing
                on standing.company_id = hold.company_id and standing.as_of_date = hold.standing_date
                and standing.{entity_id} = staged.entity_id
            where staged.company_id = %(company)s and staged.task = {task} and staged.as_of_date = %(date)s
                and staged.risk_level <> standing.risk_level and staged.probability is not null
            returning entity_id
        )
        update {publication_holds} set flips = (select count(*) from flips)
        where company_id = %(company)s and task = {task} and as_of_date = %(date)s
        """),
        values,
    )


def release(
    conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date, now: datetime, how: Release
) -> bool:
    """Note that a held date was published after all; False where it was not held."""
    done = conn.execute(
        relations.compose(
            "update {publication_holds} set released_at = %s, release = %s"
            " where company_id = %s and task = %s and as_of_date = %s and released_at is null"
        ),
        [now, how, company_id, task, as_of_date],
    )
    return done.rowcount > 0


def accept(
    conn: psycopg.Connection[Any],
    company_id: int,
    task: str,
    as_of_date: date,
    now: datetime,
    actor: str,
    because: str,
) -> None:
    """Take what held this date as it is: the same checks pass for it, and for ACCEPTED_FOR after it.

    The audit log tells who said so. Raises NotHeld.
    """
    done = conn.execute(
        relations.compose(
            "update {publication_holds} set accepted_at = %s, accepted_by = %s, accepted_because = %s"
            " where company_id = %s and task = %s and as_of_date = %s and released_at is null returning reasons"
        ),
        [now, actor, because, company_id, task, as_of_date],
    ).fetchone()
    if done is None:
        raise NotHeld(f"No {task} scores of {as_of_date} are held; `churn holds` lists those that are.")
    record_audit(
        conn,
        actor=actor,
        action="publication.accepted",
        company_id=company_id,
        after={"task": task, "as_of_date": as_of_date.isoformat(), "reasons": done[0], "because": because},
    )


def accepted_checks(conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date) -> dict[str, str]:
    """The checks that somebody accepted for this date or shortly before it, and by whom and why."""
    rows = conn.execute(
        relations.compose(
            "select reason ->> 'name', format('by %%s for %%s: %%s', accepted_by, as_of_date, accepted_because)"
            " from {publication_holds} cross join lateral jsonb_array_elements(reasons) as reason"
            " where company_id = %s and task = %s and accepted_at is not null and as_of_date between %s and %s"
            " order by as_of_date"
        ),
        [company_id, task, as_of_date - ACCEPTED_FOR, as_of_date],
    ).fetchall()
    return dict(rows)


def list_holds(conn: psycopg.Connection[Any], company_id: int, task: str, *, only_open: bool = False) -> list[Hold]:
    """The company's holds of a task, the newest first."""
    with conn.cursor(row_factory=class_row(Hold)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from {} where company_id = %s and task = %s and (released_at is null or not %s)"
                " order by as_of_date desc"
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, Hold.__dataclass_fields__)),
                relations.PUBLICATION_HOLDS.identifier,
            ),
            [company_id, task, only_open],
        ).fetchall()


def list_flips(conn: psycopg.Connection[Any], company_id: int, task: str, as_of_date: date) -> list[Flip]:
    """Whose risk level a hold kept as it was, the largest change of probability first."""
    with conn.cursor(row_factory=class_row(Flip)) as cursor:
        return cursor.execute(
            relations.compose(
                "select entity_id, published_level, held_level, published_probability, held_probability"
                " from {held_flips} where company_id = %s and task = %s and as_of_date = %s"
                " order by abs(held_probability - published_probability) desc, entity_id"
            ),
            [company_id, task, as_of_date],
        ).fetchall()
