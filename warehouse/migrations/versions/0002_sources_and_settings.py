"""Events as an entity, discounts on payments, and what a company may say of itself.

Revision 0002. Every new column has a default, so that companies and records of before stand as they are.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EVENTS = """
create table raw.events (
    company_id int not null,
    event_id text not null,
    updated_at timestamptz not null,
    known_at timestamptz not null,
    is_backfill boolean not null,
    is_deleted boolean not null,
    load_id bigint not null,
    customer_id text,
    name text,
    amount numeric(18, 4),
    occurred_at timestamptz,
    attributes jsonb,
    primary key (company_id, event_id, updated_at)
);
comment on table raw.events is 'Every version of every thing a customer did in the product that we were given.';
grant select, insert on raw.events to churn_loader;
"""

ENTITIES = """
alter table {table} drop constraint {name}_entity_check;
alter table {table} add constraint {name}_entity_check
    check (entity in ('customers', 'tickets', 'payments', 'events'));
"""

ENTITY_TABLES = ("ops.sync_cursors", "ops.load_log", "raw.rejected_records")

PAYMENTS = """
alter table raw.payments add column discount_amount numeric(18, 4) check (discount_amount >= 0);
"""

COMPANIES = """
alter table ops.companies
    drop constraint companies_entities_check,
    drop constraint companies_churn_kind_check,
    add constraint companies_entities_check check (
        entities <@ '{customers,tickets,payments,events}'::text[] and 'customers' = any (entities)
    ),
    add constraint companies_churn_kind_check check (churn_kind in ('cancellation', 'inactivity', 'downgrade')),
    add column downgrade_share double precision check (downgrade_share > 0 and downgrade_share <= 1),
    add column business_hours jsonb check (jsonb_typeof(business_hours) = 'object'),
    add column custom_attributes jsonb not null default '[]' check (jsonb_typeof(custom_attributes) = 'array'),
    add column segment_by text not null default 'country',
    add column personal_data text not null default 'keep' check (personal_data in ('keep', 'hash', 'drop')),
    add column notification_addresses text[] not null default '{}',
    add constraint companies_downgrade_has_share check ((churn_kind = 'downgrade') = (downgrade_share is not null));

comment on column ops.companies.downgrade_share is
    'With churn_kind downgrade: the share of the monthly price whose loss counts as churn, above 0 to 1.';
comment on column ops.companies.business_hours is
    'Weekday (monday ... sunday) to [opens, closes], HH:MM in the company''s time zone; null: every hour counts.';
comment on column ops.companies.custom_attributes is
    'Of a customer''s attributes, those that are features: [{name, kind, is_fixed, label, unit}].';
comment on column ops.companies.segment_by is
    'What customers are compared within: country, signup_channel, or a custom attribute that is fixed.';
comment on column ops.companies.personal_data is
    'What loading does with name, e-mail and phone: keep, hash or drop.';
comment on column ops.companies.notification_addresses is 'Who is told: addresses without secrets, or references.';
"""


def upgrade() -> None:
    _execute(EVENTS)
    for table in ENTITY_TABLES:
        _execute(ENTITIES.format(table=table, name=table.split(".")[1]))
    _execute(PAYMENTS)
    _execute(COMPANIES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: what was loaded since would be lost.")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl)
