"""Events that web pages and apps send to the collector, and the keys by which they may.

Revision 0035. Three tables, four functions, and a role that may do nothing else; rows of before stand as they are.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

EVENTS = """
create table raw.tracked_events (
    company_id int not null,
    message_id text not null,
    source text not null,
    kind text not null check (kind in ('track', 'identify', 'alias')),
    name text,
    anonymous_id text,
    customer_id text,
    previous_id text,
    properties jsonb,
    context jsonb,
    stated_at timestamptz,
    original_at timestamptz,
    sent_at timestamptz,
    received_at timestamptz not null,
    occurred_at timestamptz not null,
    known_at timestamptz not null default now(),
    primary key (company_id, message_id)
);
create index tracked_events_by_customer on raw.tracked_events (company_id, customer_id)
    where customer_id is not null;
create index tracked_events_by_visitor on raw.tracked_events (company_id, anonymous_id)
    where anonymous_id is not null;
comment on table raw.tracked_events is
    'What pages and apps sent to the collector, once per message_id of a company for as long as the row stands.';
comment on column raw.tracked_events.customer_id is 'The event''s userId: the customer''s id in the company''s CRM.';
comment on column raw.tracked_events.previous_id is 'Of an alias: the id that the customer had before.';
comment on column raw.tracked_events.properties is 'The event''s properties, or an identify''s traits.';
comment on column raw.tracked_events.stated_at is 'The event''s timestamp, as it was sent.';
comment on column raw.tracked_events.original_at is 'Its originalTimestamp: the device''s clock when it happened.';
comment on column raw.tracked_events.sent_at is 'Its sentAt: the same clock when it was sent.';
comment on column raw.tracked_events.received_at is 'Our clock when it arrived.';
comment on column raw.tracked_events.occurred_at is
    'When it happened by our clock: received_at less the time between original_at and sent_at.';
comment on column raw.tracked_events.known_at is 'The transaction that landed it.';
"""

COUNTS = """
create table ops.collected_events (
    company_id int not null references ops.companies,
    source text not null,
    received_on date not null,
    collector text not null,
    received bigint not null,
    loaded bigint not null check (loaded >= 0),
    duplicate bigint not null check (duplicate >= 0),
    rejected bigint not null check (rejected >= 0),
    dropped bigint not null check (dropped >= 0),
    primary key (company_id, source, received_on, collector),
    check (received = loaded + duplicate + rejected + dropped)
);
comment on table ops.collected_events is
    'What became of the events that arrived, by day; a collector has rows of its own, so that none waits for another.';
comment on column ops.collected_events.dropped is 'Without consent, or of somebody who was forgotten: not kept.';
"""

KEYS = """
create table ops.write_keys (
    company_id int not null references ops.companies,
    prefix text primary key,
    digest bytea not null,
    source text not null check (source ~ '^[a-z][a-z0-9_]{0,39}$'),
    origins text[] not null default '{}',
    consent_categories text[],
    events_per_second int not null check (events_per_second > 0),
    event_bytes int not null check (event_bytes > 0),
    created_at timestamptz not null default now(),
    revoked_at timestamptz
);
comment on table ops.write_keys is
    'Keys by which pages and apps may add events of one company, by prefix and SHA-256: `churn write-key`.';
comment on column ops.write_keys.origins is 'Web origins that may use it; none: programs only; *: every page.';
comment on column ops.write_keys.consent_categories is 'The categories of events that it takes; null: every event.';
"""

ENTITIES = """
alter table raw.rejected_records drop constraint rejected_records_entity_check;
alter table raw.rejected_records add constraint rejected_records_entity_check
    check (entity in ('customers', 'tickets', 'payments', 'events', 'campaigns', 'sends', 'tracked_events'));
alter table raw.rejected_records alter column load_id drop not null;
comment on column raw.rejected_records.load_id is 'The load that brought it; null: it came to the collector.';
alter table ops.withheld_records drop constraint withheld_records_entity_check;
alter table ops.withheld_records add constraint withheld_records_entity_check
    check (entity in ('customers', 'tickets', 'payments', 'events', 'campaigns', 'sends', 'visitors'));
"""

FIND_KEY = """
create function ops.find_write_key(asked_prefix text) returns table (
    company_id int, slug text, digest bytea, source text, origins text[], consent_categories text[],
    events_per_second int, event_bytes int
)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select keys.company_id, companies.slug, keys.digest, keys.source, keys.origins, keys.consent_categories,
        keys.events_per_second, keys.event_bytes
    from ops.write_keys as keys
    inner join ops.companies using (company_id)
    where keys.prefix = asked_prefix and keys.revoked_at is null and companies.is_active
$function$;
comment on function ops.find_write_key is 'What a write key that holds may do: the collector asks with each new one.';

create function ops.write_key_origins() returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select distinct unnest(keys.origins)
    from ops.write_keys as keys
    inner join ops.companies using (company_id)
    where keys.revoked_at is null and companies.is_active
$function$;
comment on function ops.write_key_origins is 'Web origins that some write key allows: a preflight names no key.';
"""

COLLECTING = """
create function ops.collecting_companies(asked_ids int[]) returns table (company_id int, has_forgotten boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $function$
    select
        companies.company_id,
        exists (select from ops.erasures where erasures.company_id = companies.company_id)
    from ops.companies
    where companies.company_id = any (asked_ids) and companies.is_active
$function$;
comment on function ops.collecting_companies is
    'Those of these companies that are there and active, and whether any customer of theirs was forgotten.';
"""

# HMAC-SHA256 as `warehouse.landing.erased` has it, so that the collector needs no look at the key.
FORGOTTEN = """
create function ops.forgotten(company_ids int[], kinds text[], ids text[]) returns setof int
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $function$
declare
    secret bytea;
    inner_pad bytea := ''::bytea;
    outer_pad bytea := ''::bytea;
begin
    if not exists (select from ops.erasures where company_id = any (company_ids)) then
        return;
    end if;
    select key || decode(repeat('00', 64 - length(key)), 'hex') into strict secret from ops.erasure_key;
    for place in 0..63 loop
        inner_pad := inner_pad || set_byte('\\x00'::bytea, 0, get_byte(secret, place) # 54);
        outer_pad := outer_pad || set_byte('\\x00'::bytea, 0, get_byte(secret, place) # 92);
    end loop;
    return query
    select asked.number::int
    from unnest(company_ids, kinds, ids) with ordinality as asked (company_id, kind, id, number)
    cross join lateral (
        select sha256(outer_pad || sha256(
            inner_pad || convert_to(asked.company_id || ' ' || asked.kind || ' ' || asked.id, 'UTF8')
        )) as value
    ) as hash
    where case
        when asked.kind = 'customer' then exists (
            select from ops.erasures
            where erasures.company_id = asked.company_id and erasures.customer_hash = hash.value
        )
        else exists (
            select from ops.withheld_records
            where withheld_records.company_id = asked.company_id and withheld_records.entity = 'visitors'
                and withheld_records.record_hash = hash.value
        )
    end;
end $function$;
comment on function ops.forgotten is
    'Which of these ids are of somebody who was forgotten, by their places from 1 on.';
"""


def upgrade() -> None:
    """Make the tables and functions; rights are declared in `warehouse.rights`."""
    for ddl in (EVENTS, COUNTS, KEYS, ENTITIES, FIND_KEY, COLLECTING, FORGOTTEN):
        op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))


def downgrade() -> None:
    """Events that arrived would be lost."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
