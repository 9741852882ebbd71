"""How many customers lacked each feature when a date was scored, so that the gate need not count them again.

Revision 0015. A date without a row is counted in the stored features, as before.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

DDL = """
create table ml.missing_features (
    company_id int not null,
    as_of_date date not null,
    feature_version text not null,
    customers int not null check (customers > 0),
    missing jsonb not null check (jsonb_typeof(missing) = 'object'),
    primary key (company_id, as_of_date)
);
comment on table ml.missing_features is
    'One row per scored date. missing: object from each feature to the number of customers without it, of all the '
    'customers that were scored; it holds while the stored features are of this feature_version.';

grant select, insert, update on ml.missing_features to churn_ml;
grant select on ml.missing_features to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(DDL)


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop table ml.missing_features")
