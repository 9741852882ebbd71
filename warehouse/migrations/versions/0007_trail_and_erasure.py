"""The trail of changes, kept by the database itself; erasure of a person; canaries; estimates that name nobody.

Revision 0007. A trigger writes ops.audit_log for every change of ops.companies, whoever makes it and by whatever
means, and another refuses to change what the log says. Who asked stands in the setting `churn.actor` of the
transaction; which login it was, the server says.
"""

from __future__ import annotations

import secrets

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TRAIL = r"""
alter table ops.audit_log add column database_user text not null default session_user;
comment on column ops.audit_log.actor is 'Who asked for it, as the command or the setting churn.actor said.';
comment on column ops.audit_log.database_user is 'The login that did it, as the server knows it.';

create function ops.without_secrets(value jsonb, name text default '') returns jsonb
language plpgsql immutable as $$
declare
    words text;
begin
    case jsonb_typeof(value)
        when 'object' then
            return (
                select coalesce(jsonb_object_agg(key, ops.without_secrets(item, key)), '{}')
                from jsonb_each(value) as parts (key, item)
            );
        when 'array' then
            return (
                select coalesce(jsonb_agg(ops.without_secrets(item, name) order by position), '[]')
                from jsonb_array_elements(value) with ordinality as parts (item, position)
            );
        when 'null' then
            return value;
        else
            words := value #>> '{}';
    end case;
    if words like 'encrypted:%' then
        return to_jsonb('encrypted:#' || left(encode(sha256(convert_to(words, 'UTF8')), 'hex'), 8));
    elsif words ~ '^(env|file):' then
        return value;
    elsif name ~* '(^|_)((api|access|secret|private)_?key|password|passwd|secret|token|credentials?)$'
        or (name = 'notification_addresses' and words like '%://%')
    then
        return to_jsonb('***'::text);
    elsif jsonb_typeof(value) = 'string' then
        return to_jsonb(regexp_replace(words, '(://[^/@\s:]*:)[^/@\s]+@', '\1***@', 'g'));
    end if;
    return value;
end $$;
comment on function ops.without_secrets is
    'The same JSON with encrypted secrets as fingerprints, and what stands in clear under a secret''s name as ***.';

create function ops.record_company_change() returns trigger
language plpgsql as $$
declare
    asked_by text := coalesce(nullif(current_setting('churn.actor', true), ''), session_user);
    was jsonb := '{}';
    now_is jsonb := '{}';
    changed text[];
    told text;
begin
    if tg_op <> 'INSERT' then
        was := to_jsonb(old) - '{created_at,updated_at}'::text[];
    end if;
    if tg_op <> 'DELETE' then
        now_is := to_jsonb(new) - '{created_at,updated_at}'::text[];
    end if;
    if tg_op = 'UPDATE' then
        select array_agg(field) into changed
        from jsonb_object_keys(was || now_is) as fields (field)
        where was -> field is distinct from now_is -> field;
        if changed is null then
            return null;
        end if;
        select jsonb_object_agg(field, was -> field), jsonb_object_agg(field, now_is -> field)
        into was, now_is from unnest(changed) as fields (field);
    end if;
    told := case
        when tg_op = 'INSERT' then 'company.added'
        when tg_op = 'DELETE' then 'company.removed'
        when changed = '{is_active}' then case when new.is_active then 'company.enabled' else 'company.disabled' end
        when changed = '{clock_at}' then 'company.clock_set'
        else coalesce(nullif(current_setting('churn.action', true), ''), 'company.changed')
    end;
    insert into ops.audit_log (actor, action, company_id, before, after)
    values (
        asked_by, told, coalesce(new.company_id, old.company_id),
        case when tg_op <> 'INSERT' then ops.without_secrets(was) end,
        case when tg_op <> 'DELETE' then ops.without_secrets(now_is) end
    );
    return null;
end $$;
comment on function ops.record_company_change is 'Writes ops.audit_log for every change of ops.companies.';

create trigger companies_are_audited after insert or update or delete on ops.companies
    for each row execute function ops.record_company_change();

create function ops.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '%.% is append-only: % is refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'insufficient_privilege', hint = 'docs/security.md says what to do in an emergency.';
end $$;
comment on function ops.refuse_change is 'Keeps a table append-only, for its owner too.';

create trigger audit_log_is_append_only before update or delete or truncate on ops.audit_log
    for each statement execute function ops.refuse_change();
create trigger companies_are_not_truncated before truncate on ops.companies
    for each statement execute function ops.refuse_change();

revoke execute on function ops.without_secrets, ops.record_company_change, ops.refuse_change from public;
"""

ERASURE = """
create table ops.erasure_key (
    is_only boolean primary key default true check (is_only),
    key bytea not null check (length(key) = 32)
);
comment on table ops.erasure_key is
    'What the hashes of erased customers and their records are keyed with: made once, never rotated.';

create table ops.erasures (
    erasure_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    customer_hash bytea not null,
    erased_at timestamptz not null default clock_timestamp(),
    actor text not null,
    rows_erased jsonb not null check (jsonb_typeof(rows_erased) = 'object'),
    models jsonb not null check (jsonb_typeof(models) = 'array')
);
create index erasures_by_customer on ops.erasures (company_id, customer_hash);
comment on table ops.erasures is
    'Receipts of erased customers, without personal data. What stands here does not come back by a later sync.';
comment on column ops.erasures.customer_hash is 'HMAC-SHA256 of the customer''s id with ops.erasure_key.';
comment on column ops.erasures.rows_erased is 'Relation to rows that went.';
comment on column ops.erasures.models is 'Models that learned from the customer: [{model, version, retrained_at}].';

create table ops.withheld_records (
    company_id int not null references ops.companies,
    entity text not null check (entity in ('customers', 'tickets', 'payments', 'events')),
    record_hash bytea not null,
    primary key (company_id, entity, record_hash)
);
comment on table ops.withheld_records is
    'Records of erased customers that a source goes on giving, by keyed hash: why it counts more than we hold.';

create table ops.canaries (
    company_id int not null references ops.companies,
    customer_id text not null,
    marks text[] not null check (cardinality(marks) > 0),
    marked_at timestamptz not null default clock_timestamp(),
    primary key (company_id, customer_id)
);
comment on table ops.canaries is
    'Customers of each company whose marks may stand in no row, file or log outside it: `churn canaries check`.';
comment on column ops.canaries.marks is 'The customer''s id, name, e-mail or phone, as far as nobody else has them.';

grant select on ops.erasure_key to churn_loader;
grant select (company_id, customer_hash) on ops.erasures to churn_loader;
grant select, insert on ops.withheld_records to churn_loader;
revoke all on ops.erasure_key, ops.canaries from churn_operator;
grant select on ops.erasures, ops.withheld_records to churn_operator;
"""

# EXPLAIN shows every reader what the planner estimates, and that comes from all companies' rows: with a histogram of
# ids, anybody could search for its bounds. One bound is left at each end; the count of distinct ids stays as it was.
ESTIMATES = """
alter table predictions.{table} alter column customer_id set statistics 1;
analyze predictions.{table};
"""


def upgrade() -> None:
    _execute(TRAIL)
    _execute(ERASURE)
    op.get_bind().exec_driver_sql("insert into ops.erasure_key (key) values (%s)", (secrets.token_bytes(32),))
    for table in ("churn_scores_v1", "churn_changes_v1", "churn_sent_v1"):
        _execute(ESTIMATES.format(table=table))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: receipts of erasures would be lost.")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))
