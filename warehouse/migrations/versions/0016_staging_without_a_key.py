"""Staged scores have no key: their gate asks whether a customer stands twice, once for all rows and not row by row."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        "alter table ml.staged_scores drop constraint staged_scores_pkey;"
        "create index staged_scores_by_company on ml.staged_scores (company_id)"
    )


def downgrade() -> None:
    op.get_bind().exec_driver_sql(
        "drop index ml.staged_scores_by_company;alter table ml.staged_scores add primary key (company_id, customer_id)"
    )
