"""Why a company was trained, who made which model champion and on what figures, and what challengers would have said.

Revision 0006.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MODEL_HISTORY = """
alter table ml.training_runs add column cause text
    check (cause in ('first', 'schedule', 'drift', 'grade', 'feature_version', 'asked'));
comment on column ml.training_runs.cause is
    'Why it was trained: first, schedule, drift, grade, feature_version, or asked for by a person.';

create table ml.promotions (
    promotion_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    task text not null,
    event text not null check (event in ('first', 'promoted', 'replaced', 'kept', 'rolled_back', 'chosen')),
    model_name text not null,
    from_version text,
    to_version text not null,
    why text not null,
    figures jsonb not null,
    actor text not null,
    training_run_id bigint references ml.training_runs,
    decided_at timestamptz not null default now()
);
create index promotions_by_company on ml.promotions (company_id, promotion_id desc);
create index promotions_by_training_run on ml.promotions (training_run_id);
comment on table ml.promotions is
    'One row per decision about a champion: first; promoted or kept after a comparison; replaced, as it fits no '
    'more; rolled_back or chosen by a person. With kept, to_version is the challenger that stays one.';

create table ml.shadow_scores (
    company_id int not null references ops.companies,
    customer_id text not null,
    as_of_date date not null,
    model_version text not null,
    probability double precision not null check (probability between 0 and 1),
    scored_at timestamptz not null,
    primary key (company_id, as_of_date, model_version, customer_id)
);
comment on table ml.shadow_scores is
    'What a challenger would have published: nobody outside reads it, and it is graded beside the champion.';

grant select, insert on ml.promotions to churn_ml;
grant select, insert, delete on ml.shadow_scores to churn_ml;
grant select on ml.promotions, ml.shadow_scores to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(MODEL_HISTORY)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the history of champions would be lost.")
