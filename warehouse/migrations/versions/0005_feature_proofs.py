"""The record of proofs: a past date's features, rebuilt from what is loaded today, against the stored ones.

Revision 0005.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FEATURE_PROOFS = """
create table ml.feature_proofs (
    feature_proof_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    as_of_date date not null,
    feature text not null,
    feature_version text not null,
    rows_compared bigint not null check (rows_compared >= 0),
    rows_differing bigint not null check (rows_differing between 0 and rows_compared),
    proved_at timestamptz not null default now()
);
create index feature_proofs_by_feature on ml.feature_proofs (company_id, feature, feature_proof_id desc);
comment on table ml.feature_proofs is
    'One row per proof and feature: of how many rows of a past date the rebuilt value differed from the stored one.';

grant select, insert on ml.feature_proofs to churn_ml;
grant select on ml.feature_proofs to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(FEATURE_PROOFS)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the record of proofs would be lost.")
