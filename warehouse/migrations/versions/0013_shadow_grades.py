"""What came of challengers' scores: their grades beside those of the published ones, on the same rows.

Revision 0013. A table of its own, so that nothing unpublished enters promised against kept.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SHADOW_GRADES = """
create table ml.shadow_grades (
    company_id int not null references ops.companies,
    task text not null,
    model_version text not null,
    scored_by text not null check (scored_by in ('challenger', 'champion')),
    first_date date not null,
    last_date date not null,
    scores bigint not null check (scores > 0),
    customers bigint not null,
    outcomes bigint not null,
    promised double precision not null,
    kept double precision not null,
    kept_low double precision not null,
    kept_high double precision not null,
    auc double precision,
    auc_low double precision,
    auc_high double precision,
    average_precision double precision,
    average_precision_low double precision,
    average_precision_high double precision,
    log_loss double precision,
    log_loss_low double precision,
    log_loss_high double precision,
    brier double precision,
    calibration_error double precision,
    lift_top_decile double precision,
    computed_at timestamptz not null,
    primary key (company_id, task, model_version, scored_by)
);
comment on table ml.shadow_grades is
    'Two rows per challenger that scored in shadow: how good its scores were, and the published ones of the same '
    'customers and dates.';
comment on column ml.shadow_grades.model_version is 'The challenger, in both rows.';

grant select, insert, update, delete on ml.shadow_grades to churn_ml;
grant select on ml.shadow_grades to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SHADOW_GRADES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the grades of challengers would be lost.")
