"""What is watched: grades of published scores, drift of features, and what was held back from publication.

Revision 0008. Grades, drift and their references carry the task, so that one more task needs no more tables.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

GRADES = """
create table ml.score_grades (
    company_id int not null references ops.companies,
    task text not null,
    as_of_date date not null,
    customer_id text not null,
    probability double precision not null,
    model_version text not null,
    evidence_level text not null,
    segment text,
    outcome boolean,
    label_status text not null,
    label_version int not null,
    label_known_at timestamptz not null,
    graded_at timestamptz not null,
    corrections int not null default 0,
    primary key (company_id, task, as_of_date, customer_id)
);
comment on table ml.score_grades is
    'Each published score, the probability as it was published, and its outcome, once the label matured.';
comment on column ml.score_grades.outcome is 'Null where a correction took the outcome back.';
comment on column ml.score_grades.corrections is 'How often the outcome was corrected after it was first graded.';

create table ml.grades (
    company_id int not null references ops.companies,
    task text not null,
    as_of_month date,
    segment text not null,
    model_version text not null,
    evidence_level text not null,
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
    computed_at timestamptz not null,
    unique nulls not distinct (company_id, task, as_of_month, segment, model_version, evidence_level)
);
comment on table ml.grades is
    'How good graded scores were, over all months (as_of_month null) and by month, by segment, model and evidence.';
"""

DRIFT = """
create table ml.drift_references (
    company_id int not null references ops.companies,
    task text not null,
    model_version text not null,
    profile jsonb not null,
    created_at timestamptz not null,
    primary key (company_id, task, model_version)
);
comment on table ml.drift_references is
    'What the features were like when a champion was trained, in counts, and how much that moved by itself.';

create table ml.feature_drift (
    company_id int not null references ops.companies,
    task text not null,
    as_of_date date not null,
    feature text not null,
    label text not null,
    model_version text not null,
    psi double precision,
    distance double precision,
    importance double precision,
    usual double precision,
    is_drifted boolean not null,
    share_missing double precision,
    share_missing_in_training double precision,
    new_categories text[] not null default '{}',
    note text not null,
    measured_at timestamptz not null,
    primary key (company_id, task, as_of_date, feature)
);
comment on table ml.feature_drift is
    'How far each feature, the score, and all features together are from training, beside what a stable past shows.';
"""

HOLDS = """
create table ml.publication_holds (
    company_id int not null references ops.companies,
    as_of_date date not null,
    held_at timestamptz not null,
    reasons jsonb not null check (jsonb_typeof(reasons) = 'array'),
    model_version text,
    scores bigint not null,
    flips bigint not null,
    standing_date date,
    released_at timestamptz,
    release text check (release in ('published', 'replayed')),
    accepted_at timestamptz,
    accepted_by text,
    accepted_because text,
    primary key (company_id, as_of_date),
    check ((released_at is null) = (release is null))
);
comment on table ml.publication_holds is
    'Dates whose scores were held back, why, and what became of them. Until then the last published scores stand.';
comment on column ml.publication_holds.standing_date is 'The date of the published set that stands in its place.';
comment on column ml.publication_holds.release is
    'published: the date passed the gate later on; replayed: built anew after the repair and published.';

create table ml.held_flips (
    company_id int not null,
    as_of_date date not null,
    customer_id text not null,
    published_level text not null,
    held_level text not null,
    published_probability double precision not null,
    held_probability double precision not null,
    primary key (company_id, as_of_date, customer_id),
    foreign key (company_id, as_of_date) references ml.publication_holds on delete cascade
);
comment on table ml.held_flips is 'Whose risk level would have changed, had the scores of that date been published.';
"""

# When things happened, and no word about anybody: the gate counts them to see whether a source has fallen silent.
RIGHTS = """
grant select, insert, update, delete on
    ml.score_grades, ml.grades, ml.drift_references, ml.feature_drift, ml.publication_holds, ml.held_flips to churn_ml;
grant select on
    ml.score_grades, ml.grades, ml.drift_references, ml.feature_drift, ml.publication_holds, ml.held_flips
    to churn_operator;
grant select, update on ml.publication_holds to churn_publisher;

grant usage on schema raw, intermediate to churn_ml;
grant select (company_id, customer_id, created_at, known_at) on raw.customers to churn_ml;
grant select (company_id, ticket_id, opened_at, known_at) on raw.tickets to churn_ml;
grant select (company_id, payment_id, paid_at, failed_at, known_at) on raw.payments to churn_ml;
grant select (company_id, event_id, occurred_at, known_at) on raw.events to churn_ml;
"""


def upgrade() -> None:
    for ddl in (GRADES, DRIFT, HOLDS, RIGHTS):
        op.get_bind().exec_driver_sql(ddl)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the grades of published scores would be lost.")
