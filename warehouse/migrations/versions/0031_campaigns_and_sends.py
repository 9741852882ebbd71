"""Campaigns, and what was sent to whom: two entities more, which a company may have or not.

Revision 0031. Who names neither stays as it was.
"""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_VERSION = """
    updated_at timestamptz not null,
    known_at timestamptz not null,
    is_backfill boolean not null,
    is_deleted boolean not null,
    load_id bigint not null,
    revision int not null default 0 check (revision >= 0),
    made_at timestamptz,
    is_vanished boolean not null default false,
"""

CAMPAIGNS = f"""
create table raw.campaigns (
    company_id int not null,
    campaign_id text not null,
    {_VERSION}
    name text,
    channel text,
    kind text,
    cost_per_send numeric(18, 4) check (cost_per_send >= 0),
    discount_share numeric(18, 4) check (discount_share between 0 and 1),
    starts_at timestamptz,
    ends_at timestamptz,
    attributes jsonb,
    primary key (company_id, campaign_id, updated_at, revision)
);
comment on table raw.campaigns is 'Every version of every campaign that we were given.';
comment on column raw.campaigns.cost_per_send is 'What one send costs, in the company''s currency.';
comment on column raw.campaigns.discount_share is 'The share of the price that the campaign gives away, 0 to 1.';
"""

SENDS = f"""
create table raw.sends (
    company_id int not null,
    send_id text not null,
    {_VERSION}
    campaign_id text,
    customer_id text,
    revenue numeric(18, 4) check (revenue >= 0),
    is_control boolean,
    sent_at timestamptz,
    opened_at timestamptz,
    clicked_at timestamptz,
    responded_at timestamptz,
    unsubscribed_at timestamptz,
    attributes jsonb,
    primary key (company_id, send_id, updated_at, revision)
);
comment on table raw.sends is 'Every version of everything that a campaign sent to a customer, and of its controls.';
comment on column raw.sends.revenue is 'What the response brought, in the company''s currency.';
comment on column raw.sends.is_control is 'A customer whom chance left out: nothing was sent.';
"""

COMMENTS = {
    f"raw.{table}.{column}": comment
    for table in ("campaigns", "sends")
    for column, comment in (
        ("revision", "Counts the versions that share an updated_at, as they became known; from 0."),
        ("made_at", "When the version was made, where that is not updated_at."),
        ("is_vanished", "A tombstone that is ours: the source no longer listed the record."),
    )
}

OF_BEFORE = "'customers', 'tickets', 'payments', 'events'"
OF_NOW = f"{OF_BEFORE}, 'campaigns', 'sends'"

ENTITY_TABLES = ("ops.sync_cursors", "ops.load_log", "ops.withheld_records", "raw.rejected_records")

WITHOUT_THEM = """
delete from ops.sync_cursors where entity in ('campaigns', 'sends');
delete from ops.load_log where entity in ('campaigns', 'sends');
delete from ops.withheld_records where entity in ('campaigns', 'sends');
delete from raw.rejected_records where entity in ('campaigns', 'sends');
"""


def upgrade() -> None:
    """Make the tables and let entities be named; rights are declared in `warehouse.rights`."""
    for statement in (CAMPAIGNS, SENDS):
        op.get_bind().exec_driver_sql(statement)
    for column, comment in COMMENTS.items():
        op.get_bind().exec_driver_sql(f"comment on column {column} is '{comment}'")
    _allow(OF_NOW)


def downgrade() -> None:
    """Drop them; what else stands of the two entities goes, and the source gives it again."""
    op.get_bind().exec_driver_sql(WITHOUT_THEM)
    op.execute("update ops.companies set entities = array_remove(array_remove(entities, 'campaigns'), 'sends')")
    _allow(OF_BEFORE)
    for table in ("sends", "campaigns"):
        op.execute(f"drop table raw.{table}")


def _allow(entities: str) -> None:
    for table in ENTITY_TABLES:
        name = f"{table.split('.')[1]}_entity_check"
        op.get_bind().exec_driver_sql(
            f"alter table {table} drop constraint {name}, add constraint {name} check (entity in ({entities}))"
        )
    op.get_bind().exec_driver_sql(
        "alter table ops.companies drop constraint companies_entities_check, add constraint companies_entities_check"
        f" check (entities <@ array[{entities}] and 'customers' = any (entities))"
    )
