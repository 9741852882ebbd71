"""The track record: what would have been said of past months, and what came of it.

Revision 0028. Tables of their own, so that nothing replayed enters what was published or its grades.
"""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

MONTHS = """
create table ml.track_record_months (
    company_id int not null references ops.companies,
    task text not null,
    as_of_date date not null check (extract(day from as_of_date) = 1),
    feature_version text not null,
    label_settings jsonb not null,
    labels_since timestamptz not null,
    rung text not null check (rung in ('own_model', 'pooled_model', 'rule')),
    candidate text not null,
    recipe jsonb,
    recipe_of date not null,
    rows bigint not null,
    customers bigint not null,
    outcomes bigint not null,
    replayed_at timestamptz not null,
    primary key (company_id, task, as_of_date)
);
comment on table ml.track_record_months is
    'Past months that were replayed: by which model, and what the replay rests on.';
comment on column ml.track_record_months.rows is 'The company''s own rows whose outcome was known by then.';
comment on column ml.track_record_months.label_settings is
    'The company''s settings of the task by which its labels were made; with others a month is replayed again.';
comment on column ml.track_record_months.labels_since is
    'Since when labels of these settings were kept: what was known of them before is taken as it was known then.';
comment on column ml.track_record_months.recipe is
    'The candidate, its features and its settings, which later months may start from; null of none.';
comment on column ml.track_record_months.recipe_of is
    'The month whose training chose them: this one where every candidate was tried.';
"""

SCORES = """
create table ml.track_record (
    company_id int not null,
    task text not null,
    as_of_date date not null,
    entity_id text not null,
    probability double precision not null check (probability > 0 and probability < 1),
    risk_level text not null check (risk_level in ('low', 'medium', 'high')),
    reasons jsonb not null,
    value_at_stake double precision,
    outcome boolean,
    is_replayed boolean not null default true check (is_replayed),
    primary key (company_id, task, as_of_date, entity_id),
    foreign key (company_id, task, as_of_date) references ml.track_record_months on delete cascade
);
comment on table ml.track_record is
    'Scores as they would have been published for past months; never published, and no part of the contract.';
comment on column ml.track_record.value_at_stake is
    'What the task''s value feature said at that date, in the company''s currency.';
comment on column ml.track_record.outcome is 'What came of it; null until its label is mature.';
alter table ml.track_record set (toast_tuple_target = 4080);
"""

GRADES = """
create table ml.track_record_grades (
    company_id int not null references ops.companies,
    task text not null,
    as_of_month date,
    first_month date not null,
    last_month date not null,
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
    bins jsonb not null,
    deciles jsonb not null,
    high_risk bigint not null,
    high_risk_outcomes bigint not null,
    high_risk_kept double precision,
    high_risk_kept_low double precision,
    high_risk_kept_high double precision,
    entities_with_outcome bigint not null,
    entities_named bigint not null,
    named_share double precision,
    named_share_low double precision,
    named_share_high double precision,
    value_lost double precision not null,
    value_lost_named double precision not null,
    is_replayed boolean not null default true check (is_replayed),
    computed_at timestamptz not null,
    unique nulls not distinct (company_id, task, as_of_month)
);
comment on table ml.track_record_grades is
    'How good replayed scores turned out to be: by month, and over the newest twelve graded ones (as_of_month null).';
comment on column ml.track_record_grades.entities_named is
    'Of those with the outcome, how many stood at high risk in a month in whose look-ahead it came.';
comment on column ml.track_record_grades.value_lost is
    'What was at stake of those with the outcome, each counted once, in the company''s currency.';
"""


def upgrade() -> None:
    """Make the tables; rights are declared in `warehouse.rights`."""
    for table in (MONTHS, SCORES, GRADES):
        op.get_bind().exec_driver_sql(table)


def downgrade() -> None:
    """Drop them: a run replays the months again."""
    for table in ("track_record_grades", "track_record", "track_record_months"):
        op.execute(f"drop table ml.{table}")
