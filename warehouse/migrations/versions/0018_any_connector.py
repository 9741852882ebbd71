"""A company's connector is any that the application knows, which checks it where a person names one.

Revision 0018. A list of them in a constraint made each new connector a migration.
"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UP = "alter table ops.companies drop constraint companies_connector_check"

DOWN = """
alter table ops.companies
    add constraint companies_connector_check check (connector in ('habari_api', 'sql_database', 'files'))
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWN)
