"""Staged scores are kept out of the write-ahead log: they wait for minutes, and scoring makes them again.

Revision 0014. A server that crashes empties the table; what was published stands, and nothing else can be published.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql("alter table ml.staged_scores set unlogged")


def downgrade() -> None:
    op.get_bind().exec_driver_sql("alter table ml.staged_scores set logged")
