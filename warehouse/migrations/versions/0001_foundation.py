"""The foundation: schemas, ops, raw, ml and predictions, with their rights and row-level security.

Revision 0001. The group roles exist already (warehouse/roles.py). The database is the
owner's; every table here belongs to whoever migrates, and forces row-level security
on the owner too where it is on, so that it needs a policy of his own.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMAS = """
create schema if not exists ops;
create schema raw;
create schema ml;
create schema predictions;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists features;
create schema if not exists analytics;
create schema mlflow;
create schema dagster;

comment on schema ops is 'Companies, sync cursors, load, run and audit logs. Written by Python.';
comment on schema raw is 'Append-only logs of record versions, as the CRMs gave them. Written by Python.';
comment on schema ml is
    'Training runs, evaluations, staged scores and the gate''s verdicts. Written by Python.';
comment on schema predictions is 'The published contract: scores, the newest of them, and what changed.';
comment on schema staging is 'Views, one per raw table. Written by dbt.';
comment on schema intermediate is 'Building blocks. Written by dbt.';
comment on schema features is 'Features and labels by company, customer and as_of_date. Written by dbt.';
comment on schema analytics is 'What dashboards show. Written by dbt.';
comment on schema mlflow is 'MLflow''s own tables.';
comment on schema dagster is 'Dagster''s own tables.';
"""

OPS = """
create table ops.companies (
    company_id int generated always as identity primary key,
    slug text not null unique check (slug ~ '^[a-z][a-z0-9_]{1,40}$'),
    name text not null check (name <> ''),
    is_active boolean not null default true,
    connector text not null check (connector in ('habari_api', 'sql_database', 'files')),
    connector_settings jsonb not null default '{}' check (jsonb_typeof(connector_settings) = 'object'),
    entities text[] not null default '{customers,tickets,payments}'
        check (entities <@ '{customers,tickets,payments}'::text[] and 'customers' = any (entities)),
    churn_kind text not null check (churn_kind in ('cancellation', 'inactivity')),
    inactivity_days int check (inactivity_days > 0),
    horizon_days int not null check (horizon_days > 0),
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    time_zone text not null,
    shares_training boolean not null default false,
    clock_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint companies_inactivity_has_days
        check ((churn_kind = 'inactivity') = (inactivity_days is not null))
);
comment on table ops.companies is 'The companies (tenants). Secrets stand here only as references.';

create table ops.sync_cursors (
    company_id int not null references ops.companies,
    entity text not null check (entity in ('customers', 'tickets', 'payments')),
    cursor_updated_at timestamptz,
    backfill_completed_at timestamptz,
    moved_at timestamptz not null default now(),
    primary key (company_id, entity)
);
comment on table ops.sync_cursors is
    'How far each company''s entity has been read; moves with the data, in one transaction.';

create table ops.load_log (
    load_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    entity text not null check (entity in ('customers', 'tickets', 'payments')),
    dagster_run_id text,
    is_backfill boolean not null,
    updated_since timestamptz,
    known_at timestamptz not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    status text not null check (status in ('running', 'succeeded', 'failed')),
    received bigint not null default 0 check (received >= 0),
    loaded bigint not null default 0 check (loaded >= 0),
    unchanged bigint not null default 0 check (unchanged >= 0),
    rejected bigint not null default 0 check (rejected >= 0),
    source_live bigint,
    source_deleted bigint,
    warehouse_live bigint,
    warehouse_deleted bigint,
    error text
);
create index load_log_by_company on ops.load_log (company_id, entity, load_id desc);
comment on table ops.load_log is
    'One row per load of one entity of one company: what was asked, received, loaded and rejected.';

create table ops.run_log (
    run_log_id bigint generated always as identity primary key,
    company_id int references ops.companies,
    stage text not null,
    dagster_run_id text,
    started_at timestamptz not null,
    finished_at timestamptz,
    status text not null check (status in ('running', 'succeeded', 'failed')),
    counts jsonb not null default '{}',
    error text
);
create index run_log_by_company on ops.run_log (company_id, run_log_id desc);
comment on table ops.run_log is 'One row per run of a stage, of one company or (company_id null) of all.';

create table ops.audit_log (
    audit_id bigint generated always as identity primary key,
    happened_at timestamptz not null default clock_timestamp(),
    actor text not null,
    action text not null,
    company_id int,
    before jsonb,
    after jsonb
);
comment on table ops.audit_log is
    'One row per change that somebody made to the set-up: who, what, before and after.';
"""

# The columns that every version log has besides its key. No foreign keys: they would
# be checked row by row on the way in, and companies are never deleted.
_VERSION = """
    updated_at timestamptz not null,
    known_at timestamptz not null,
    is_backfill boolean not null,
    is_deleted boolean not null,
    load_id bigint not null,
"""

RAW = f"""
create table raw.customers (
    company_id int not null,
    customer_id text not null,
    {_VERSION}
    name text,
    email text,
    phone text,
    status text,
    plan text,
    seats int,
    monthly_price numeric(18, 4),
    country text,
    currency text,
    time_zone text,
    signup_channel text,
    is_test boolean,
    created_at timestamptz,
    cancelled_at timestamptz,
    contract_end_at timestamptz,
    attributes jsonb,
    primary key (company_id, customer_id, updated_at)
);
comment on table raw.customers is 'Every version of every customer that we were given.';

create table raw.tickets (
    company_id int not null,
    ticket_id text not null,
    {_VERSION}
    customer_id text,
    subject text,
    category text,
    priority text,
    status text,
    channel text,
    satisfaction int check (satisfaction between 1 and 5),
    opened_at timestamptz,
    first_response_at timestamptz,
    resolved_at timestamptz,
    reopened_at timestamptz,
    attributes jsonb,
    primary key (company_id, ticket_id, updated_at)
);
comment on table raw.tickets is 'Every version of every support ticket that we were given.';

create table raw.payments (
    company_id int not null,
    payment_id text not null,
    {_VERSION}
    customer_id text,
    kind text check (kind in ('charge', 'refund')),
    status text check (status in ('pending', 'succeeded', 'failed', 'void')),
    amount numeric(18, 4) check (amount >= 0),
    currency text,
    method text,
    failed_attempts int,
    issued_at timestamptz,
    due_at timestamptz,
    paid_at timestamptz,
    failed_at timestamptz,
    attributes jsonb,
    primary key (company_id, payment_id, updated_at)
);
comment on table raw.payments is 'Every version of every charge and refund that we were given.';

create table raw.rejected_records (
    rejected_id bigint generated always as identity primary key,
    company_id int not null,
    entity text not null check (entity in ('customers', 'tickets', 'payments')),
    load_id bigint not null,
    record_id text,
    reason text not null,
    payload jsonb,
    rejected_at timestamptz not null default now(),
    payload_hash text not null,
    unique (company_id, entity, payload_hash, reason)
);
comment on table raw.rejected_records is
    'Records that broke the entity contract, once each, with the reason.';
"""

ML = """
create table ml.training_runs (
    training_run_id bigint generated always as identity primary key,
    task text not null,
    company_id int references ops.companies,
    rung text not null check (rung in ('own_model', 'pooled_model', 'rule')),
    status text not null check (status in ('promoted', 'kept_champion', 'too_few_outcomes', 'failed')),
    model_name text not null,
    model_version text,
    mlflow_run_id text,
    as_of_date date,
    rows bigint,
    customers bigint,
    outcomes bigint,
    decision jsonb,
    error text,
    created_at timestamptz not null default now()
);
create index training_runs_by_company on ml.training_runs (company_id, task, training_run_id desc);
comment on table ml.training_runs is
    'One row per training: what was tried, and whether it was promoted. company_id null: pooled.';

create table ml.evaluations (
    training_run_id bigint not null references ml.training_runs,
    company_id int references ops.companies,
    candidate text not null,
    metric text not null,
    value double precision,
    primary key (training_run_id, candidate, metric)
);
comment on table ml.evaluations is 'Figures of each candidate of a training run, on the same rows.';

create table ml.staged_scores (
    company_id int not null,
    customer_id text not null,
    as_of_date date not null,
    churn_probability double precision,
    risk_level text,
    percentile double precision,
    baseline_log_odds double precision,
    reasons jsonb,
    model_version text,
    evidence_level text,
    row_hash text,
    scored_at timestamptz,
    staged_at timestamptz not null default now(),
    primary key (company_id, customer_id)
);
comment on table ml.staged_scores is
    'Scores of a company that wait for the gate. No checks here: to find what is wrong is the gate''s work.';

create table ml.publication_gates (
    publication_gate_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    as_of_date date not null,
    staged_at timestamptz,
    checked_at timestamptz not null,
    is_passed boolean not null,
    checks jsonb not null
);
create index publication_gates_by_company on ml.publication_gates (company_id, as_of_date, staged_at);
comment on table ml.publication_gates is
    'One row per verdict of the gate on a staged set. checks: array of {name, passed, detail}.';
"""

PREDICTIONS = """
create table predictions.churn_scores (
    company_id int not null,
    customer_id text not null,
    as_of_date date not null,
    churn_probability double precision not null check (churn_probability between 0 and 1),
    risk_level text not null check (risk_level in ('low', 'medium', 'high')),
    percentile double precision not null check (percentile between 0 and 100),
    baseline_log_odds double precision not null,
    reasons jsonb not null check (jsonb_typeof(reasons) = 'array'),
    model_version text not null,
    evidence_level text not null check (evidence_level in ('own_model', 'pooled_model', 'rule')),
    row_hash text not null,
    scored_at timestamptz not null,
    primary key (company_id, customer_id, as_of_date)
);
create index churn_scores_by_risk
    on predictions.churn_scores (company_id, as_of_date, churn_probability desc);

create table predictions.churn_publications (
    company_id int not null,
    as_of_date date not null,
    model_version text not null,
    evidence_level text not null check (evidence_level in ('own_model', 'pooled_model', 'rule')),
    scores int not null check (scores >= 0),
    published_at timestamptz not null,
    primary key (company_id, as_of_date)
);

create table predictions.churn_changes (
    change_id bigint generated always as identity primary key,
    company_id int not null,
    customer_id text not null,
    operation text not null check (operation in ('upsert', 'delete')),
    as_of_date date not null,
    churn_probability double precision check (churn_probability between 0 and 1),
    risk_level text check (risk_level in ('low', 'medium', 'high')),
    reasons jsonb check (jsonb_typeof(reasons) = 'array'),
    model_version text,
    row_hash text,
    changed_at timestamptz not null,
    constraint churn_changes_upsert_has_score check (
        operation = 'delete'
        or (churn_probability is not null and risk_level is not null and row_hash is not null)
    )
);
create index churn_changes_by_company on predictions.churn_changes (company_id, change_id);

create view predictions.churn_current with (security_invoker = true) as
select
    churn_scores.company_id,
    churn_scores.customer_id,
    churn_scores.as_of_date,
    churn_scores.churn_probability,
    churn_scores.risk_level,
    churn_scores.percentile,
    churn_scores.baseline_log_odds,
    churn_scores.reasons,
    churn_scores.model_version,
    churn_scores.evidence_level,
    churn_scores.row_hash,
    churn_scores.scored_at
from predictions.churn_scores
inner join (
    select company_id, max(as_of_date) as as_of_date
    from predictions.churn_publications
    group by company_id
) as newest_publications using (company_id, as_of_date);
"""

RELATION_COMMENTS = {
    "table predictions.churn_scores": "Published churn scores: one row per company, customer and as_of_date.",
    "table predictions.churn_publications": "One row per published set of scores: all there, or none.",
    "table predictions.churn_changes": "The change feed: read on from the highest change_id seen so far.",
    "view predictions.churn_current": "The scores of each company's newest publication.",
}

COLUMN_COMMENTS = {
    "company_id": "The company (tenant), ops.companies.",
    "customer_id": "The customer's id in the company's CRM.",
    "as_of_date": "The moment spoken of, 00:00 UTC of this day: only what was known before it was used.",
    "churn_probability": ("Calibrated probability, 0 to 1, that the customer churns within the company's horizon."),
    "risk_level": "low, medium or high.",
    "percentile": "Percent (0 to 100) of the company's scores of that day that are not above this one.",
    "baseline_log_odds": (
        "Log-odds before any reason; plus all contributions it is the log-odds of churn_probability."
    ),
    "reasons": (
        "Array of {feature, label, value, unit, family, contribution, text}: the five largest by absolute "
        "contribution, then one with feature other for the rest. Contributions are in log-odds."
    ),
    "model_version": "Version of the model, or name of the rule, that made the score.",
    "evidence_level": ("own_model: trained on this company; pooled_model: on all that share; rule: too few outcomes."),
    "row_hash": "Changes when the published content changes in a way that matters to a consumer.",
    "scored_at": "When the score was computed (the injected clock).",
    "scores": "How many scores the set holds.",
    "published_at": "When the set became visible (the injected clock).",
    "change_id": "Ever-growing cursor of the feed.",
    "operation": "upsert: the score is new or changed; delete: the customer has no current score any more.",
    "changed_at": "When the change was published (the injected clock).",
}

COMMENTED_RELATIONS = ("churn_scores", "churn_publications", "churn_changes", "churn_current")
PROTECTED_TABLES = ("churn_scores", "churn_publications", "churn_changes")

POLICIES = """
alter table predictions.{table} enable row level security;
alter table predictions.{table} force row level security;
create policy owner_sees_all on predictions.{table} to current_user using (true) with check (true);
create policy publisher_writes_all on predictions.{table} to churn_publisher using (true) with check (true);
create policy services_read_all on predictions.{table} for select to churn_ml, churn_operator using (true);
create policy company_reads_its_own on predictions.{table} for select to churn_company, churn_company_sync
    using (company_id = split_part(current_user, '_', 2)::int);
"""

GRANTS = """
grant usage on schema ops to churn_loader, churn_ml, churn_publisher;
grant usage on schema raw to churn_loader;
grant usage on schema ml to churn_ml, churn_publisher;
grant usage on schema staging, features to churn_ml;
grant usage on schema predictions to churn_publisher, churn_ml, churn_company, churn_company_sync;
grant usage on schema analytics to churn_company;
grant usage on schema ops, raw, staging, intermediate, features, ml, predictions, analytics, mlflow, dagster
    to churn_operator;

grant select on ops.companies to churn_loader, churn_ml;
grant select, insert, update on ops.sync_cursors, ops.load_log to churn_loader;
grant select on ops.load_log to churn_ml;
grant select, insert, update on ops.run_log to churn_loader, churn_publisher;
grant select, insert on raw.customers, raw.tickets, raw.payments, raw.rejected_records to churn_loader;

grant select, insert on ml.training_runs, ml.evaluations, ml.publication_gates to churn_ml;
grant select, insert, delete on ml.staged_scores to churn_ml;
grant select, delete on ml.staged_scores to churn_publisher;
grant select on ml.publication_gates to churn_publisher;

grant select on all tables in schema predictions to churn_ml, churn_company, churn_company_sync;
grant select, insert, update, delete
    on predictions.churn_scores, predictions.churn_publications, predictions.churn_changes to churn_publisher;
grant select on predictions.churn_current to churn_publisher;

grant select on all tables in schema ops, raw, ml, predictions to churn_operator;

-- What the owner makes later (dbt's tables, the tools' own) is readable by the services from the start.
-- Not by companies: their right to a mart comes with its policy, by dbt's own grants.
alter default privileges
    in schema ops, raw, staging, intermediate, features, ml, predictions, analytics, mlflow, dagster
    grant select on tables to churn_operator;
alter default privileges in schema staging, features grant select on tables to churn_ml;
"""


def upgrade() -> None:
    for ddl in (SCHEMAS, OPS, RAW, ML, PREDICTIONS):
        _execute(ddl)
    for relation, comment in RELATION_COMMENTS.items():
        _execute(f"comment on {relation} is {_quoted(comment)}")
    for relation in COMMENTED_RELATIONS:
        _comment_columns(relation)
    for table in PROTECTED_TABLES:
        _execute(POLICIES.format(table=table))
    _execute(GRANTS)


def downgrade() -> None:
    raise NotImplementedError("The foundation is not taken back: drop the database instead.")


def _comment_columns(relation: str) -> None:
    for column in inspect(op.get_bind()).get_columns(relation, schema="predictions"):
        name = column["name"]
        _execute(f"comment on column predictions.{relation}.{name} is {_quoted(COLUMN_COMMENTS[name])}")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
