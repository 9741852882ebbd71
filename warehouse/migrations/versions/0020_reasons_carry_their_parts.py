"""The comments on reasons name what is usual and the direction, which published reasons carry from now on.

Revision 0020. Nothing but comments: what was published stays as it was.
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0017"
branch_labels = None
depends_on = None

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
    _comment(AFTER)


def downgrade() -> None:
    _comment(BEFORE)


def _comment(meaning: str) -> None:
    for relation in RELATIONS:
        for name in (relation, f"{relation}_v1"):
            op.get_bind().exec_driver_sql(f"comment on column predictions.{name}.reasons is '{meaning}'")
