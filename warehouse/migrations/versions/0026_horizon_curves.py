"""A score says its risk within several horizons: horizon_curve, beside the probability of the task's own.

Revision 0026. Scores of before have none. Every task's relations get the column, as churn's do.
"""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

COLUMN = "horizon_curve"
MEANING = (
    "Object {within, reach_days, expected_days}: the probability within each number of days, which never falls and has "
    "that of the company''s horizon among them; the last of these days; and how many days without the outcome to "
    "expect until then. Null in scores made before curves were."
)
STORED = """
alter table {table}
    add column horizon_curve jsonb,
    add constraint churn_scores_horizon_curve_check check (jsonb_typeof(horizon_curve) = 'object')
"""
CURRENT = """
create or replace view predictions.{task}_current_v1 with (security_invoker = true) as
select {columns}
from predictions.{task}_scores_v1 as scores
inner join (
    select company_id, max(as_of_date) as as_of_date
    from predictions.{task}_publications_v1
    group by company_id
) as newest_publications
    on newest_publications.company_id = scores.company_id and newest_publications.as_of_date = scores.as_of_date
"""
SHOWN = """
create or replace view predictions.{task}_{name} with (security_invoker = true) as
select {columns} from predictions.{task}_{name}_v1
"""


def upgrade() -> None:
    """Add the column to what is staged and to each task's scores, and show it in the views on them."""
    op.get_bind().exec_driver_sql("alter table ml.staged_scores add column horizon_curve jsonb")
    for (task,) in _rows(
        "select task from ops.tasks where to_regclass('predictions.' || task || '_scores_v1') is not null order by task"
    ):
        _add_curve(task)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the curves would be lost.")


def _add_curve(task: str) -> None:
    names = [
        name
        for (name,) in _rows(
            "select attname from pg_attribute where attrelid = 'predictions.{task}_current_v1'::regclass"
            " and attnum > 0 and not attisdropped order by attnum",
            task=task,
        )
    ]
    columns = [*names, COLUMN]
    _execute(STORED, table=f"predictions.{task}_scores_v1")
    _execute(CURRENT, task=task, columns=", ".join(f"scores.{column}" for column in columns))
    for name in ("scores", "current"):
        _execute(SHOWN, task=task, name=name, columns=", ".join(columns))
    for relation in ("scores_v1", "current_v1", "scores", "current"):
        _execute(
            "comment on column predictions.{relation}.horizon_curve is '{meaning}'",
            relation=f"{task}_{relation}",
            meaning=MEANING,
        )


def _rows(query: str, **names: str) -> list[tuple[str]]:
    return [(str(name),) for (name,) in op.get_bind().exec_driver_sql(_filled(query, names)).fetchall()]


def _execute(statement: str, **names: str) -> None:
    op.get_bind().exec_driver_sql(_filled(statement, names))


def _filled(statement: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        statement = statement.replace("{" + name + "}", value)
    return statement
