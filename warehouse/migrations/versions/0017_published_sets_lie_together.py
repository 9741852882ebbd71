"""A published set lies together in its key, and is taken out of staging whole.

Revision 0017. The key begins with the date: a new set is added at one place of the index, where it touched every page
of all sets before it. What was read by company and date through the index by risk is read through the key.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UP = """
grant truncate on ml.staged_scores to churn_publisher;
alter table predictions.churn_scores_v1
    drop constraint churn_scores_pkey,
    add constraint churn_scores_pkey primary key (company_id, as_of_date, customer_id);
drop index predictions.churn_scores_by_risk;
"""

DOWN = """
create index churn_scores_by_risk
    on predictions.churn_scores_v1 (company_id, as_of_date, churn_probability desc);
alter table predictions.churn_scores_v1
    drop constraint churn_scores_pkey,
    add constraint churn_scores_pkey primary key (company_id, customer_id, as_of_date);
revoke truncate on ml.staged_scores from churn_publisher;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWN)
