"""Training reads no person's name: churn_ml has no right to the staging views, and never needed one.

Revision 0012. dbt gave it to each view, and default privileges to each view that dbt makes again.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

RIGHTS = """
alter default privileges in schema staging revoke select on tables from churn_ml;
revoke all on all tables in schema staging from churn_ml;
revoke usage on schema staging from churn_ml;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(RIGHTS)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: names would be open to training again.")
