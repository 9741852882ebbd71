"""Published reasons carry what is usual and the direction: the comments name them, and rows have room for them.

Revision 0020. What was published stays as it was. A row with full reasons is now longer than the 2 kB from which
Postgres compresses, which would take longer than all else of writing a set.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

LONG_ROWS = ("ml.staged_scores", "predictions.churn_scores_v1", "predictions.churn_changes_v1")
RELATIONS = ("churn_scores", "churn_current", "churn_changes", "churn_snapshot")
MEANING = (
    "Array of {{{keys}}}: the five largest by absolute contribution, then one with feature other for the rest. "
    "Contributions are in log-odds.{since}"
)
BEFORE = MEANING.format(keys="feature, label, value, unit, family, contribution, text", since="")
AFTER = MEANING.format(
    keys="feature, label, value, usual, unit, family, contribution, direction, text",
    since=" Scores made before usual and direction were have neither.",
)


def upgrade() -> None:
    for table in LONG_ROWS:
        op.get_bind().exec_driver_sql(f"alter table {table} set (toast_tuple_target = 4080)")
    _comment(AFTER)


def downgrade() -> None:
    for table in LONG_ROWS:
        op.get_bind().exec_driver_sql(f"alter table {table} reset (toast_tuple_target)")
    _comment(BEFORE)


def _comment(meaning: str) -> None:
    for relation in RELATIONS:
        for name in (relation, f"{relation}_v1"):
            op.get_bind().exec_driver_sql(f"comment on column predictions.{name}.reasons is '{meaning}'")
