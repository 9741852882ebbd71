"""What is doubtful about what a load read stays with the load: records that stand in two files, for one.

Revision 0025. ops.load_log has a column for it; loads of before have none.
"""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table ops.load_log add column remarks text check (length(remarks) <= 4000)")
    op.execute(
        "comment on column ops.load_log.remarks is"
        " 'What a person should know about how the source was read: records in two files, for one.'"
    )


def downgrade() -> None:
    """Take it away; nothing rests on it."""
    op.execute("alter table ops.load_log drop column remarks")
