"""Customers may pause: from when, and until when. Versions that were loaded before say nothing of it.

Revision 0021.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        "alter table raw.customers add column paused_at timestamptz, add column resumes_at timestamptz"
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "alter table raw.customers drop column paused_at cascade, drop column resumes_at cascade"
    )
