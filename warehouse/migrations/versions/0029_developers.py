"""A developer has a place: schemas and a login of their own, in which production is read and nothing of it written.

Revision 0029. Two tables and three functions; nothing that is there changes.
"""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TABLES = """
create table ops.developers (
    name text primary key check (name ~ '^[a-z][a-z0-9]{0,19}$'),
    sees_all_companies boolean not null,
    newest_dates integer check (newest_dates > 0),
    own_relations text[] not null default '{}',
    created_at timestamptz not null default now(),
    used_at timestamptz not null default now()
);
comment on table ops.developers is 'Places in which analytics engineers try what they change; `churn dev start`.';
comment on column ops.developers.newest_dates is 'How many of the newest dates a company has in it; null: all.';
comment on column ops.developers.own_relations is 'What was built in it, as `schema.name` of production.';

create table ops.developer_companies (
    company_id integer not null references ops.companies on delete cascade,
    developer text not null references ops.developers on delete cascade,
    primary key (company_id, developer)
);
comment on table ops.developer_companies is 'The companies that a developer may see who does not see all.';
"""

# Windows show production in a developer's schemas, by the owner's rights: the developer has none outside them. dbt
# drops a view with the table that it reads, so that they are opened again before each build.
OPEN_WINDOWS = """
create function ops.open_windows(developer_name text) returns setof text
language plpgsql as $function$
declare
    place ops.developers;
    login name := 'dev_' || developer_name;
    shown record;
    there record;
    conditions text[];
    own_schema text;
    rows_shown text;
    has_dates boolean := to_regclass('intermediate.int_as_of_dates') is not null;
begin
    perform ops.keep_own(developer_name);
    select * into strict place from ops.developers where name = developer_name for update;
    update ops.developers set used_at = now() where name = developer_name;
    for shown in
        with recursive asking as (
            select oid as view from pg_class
            where array_to_string(reloptions, ',') ~ 'security_invoker=(true|on|1|yes)'
            union
            select pg_rewrite.ev_class from asking
            inner join pg_depend on pg_depend.refobjid = asking.view and pg_depend.refclassid = 'pg_class'::regclass
                and pg_depend.classid = 'pg_rewrite'::regclass
            inner join pg_rewrite on pg_rewrite.oid = pg_depend.objid
        )
        select
            schemas.nspname as schema_name, classes.relname as name,
            classes.oid in (select view from asking) as asks_reader,
            array_agg(columns.attname::text order by columns.attnum) as columns
        from pg_class as classes
        inner join pg_namespace as schemas on schemas.oid = classes.relnamespace
        inner join pg_attribute as columns on columns.attrelid = classes.oid
        where schemas.nspname in ('ops', 'raw', 'staging', 'intermediate', 'features', 'ml', 'predictions', 'analytics')
            and classes.relkind in ('r', 'p', 'v')
            and not classes.relispartition
            and columns.attnum > 0
            and not columns.attisdropped
            and has_table_privilege('churn_operator', classes.oid, 'select')
        group by schemas.nspname, classes.relname, classes.oid
    loop
        own_schema := login || '_' || shown.schema_name;
        select
            classes.relowner = login::regrole as is_own,
            array_agg(columns.attname::text order by columns.attnum) as columns
        into there
        from pg_class as classes
        inner join pg_attribute as columns
            on columns.attrelid = classes.oid and columns.attnum > 0 and not columns.attisdropped
        where classes.oid = to_regclass(format('%I.%I', own_schema, shown.name))
        group by classes.relowner;

        if there.is_own or there.columns = shown.columns then
            continue;
        end if;
        if format('%s.%s', shown.schema_name, shown.name) = any (place.own_relations) then
            return next format('%s.%s', shown.schema_name, shown.name);
            continue;
        end if;

        conditions := '{}';
        if not place.sees_all_companies and 'company_id' = any (shown.columns) then
            conditions := conditions || format(
                'company_id in (select company_id from ops.developer_companies where developer = %L)', developer_name
            );
        end if;
        if has_dates and shown.schema_name in ('intermediate', 'features') and 'company_id' = any (shown.columns)
            and 'as_of_date' = any (shown.columns)
        then
            conditions := conditions || format(
                '(company_id, as_of_date) in (select company_id, as_of_date from ('
                'select company_id, as_of_date,'
                ' dense_rank() over (partition by company_id order by as_of_date desc) as age'
                ' from intermediate.int_as_of_dates) as dates'
                ' where age <= (select coalesce(newest_dates, 1000000) from ops.developers where name = %L))',
                developer_name
            );
        end if;
        if there.columns is not null then
            execute format('drop view %I.%I cascade', own_schema, shown.name);
        end if;
        rows_shown := format(
            'select * from %I.%I where %s', shown.schema_name, shown.name,
            coalesce(nullif(array_to_string(conditions, ' and '), ''), 'true')
        );
        -- A view that asks for its reader's own rights, or reads one that does, asks for the developer's through
        -- another view, too; not through a function.
        if shown.asks_reader then
            execute format('drop function if exists %I.%I', own_schema, shown.name);
            execute format(
                'create function %1$I.%2$I() returns setof %3$I.%2$I language sql stable security definer'
                ' set search_path = pg_catalog, pg_temp as %4$L',
                own_schema, shown.name, shown.schema_name, rows_shown
            );
            execute format('revoke execute on function %I.%I from public', own_schema, shown.name);
            execute format('grant execute on function %I.%I to %I', own_schema, shown.name, login);
            rows_shown := format('select * from %I.%I()', own_schema, shown.name);
        end if;
        execute format(
            'create view %I.%I with (security_barrier) as %s', own_schema, shown.name, rows_shown
        );
        execute format('grant select on %I.%I to %I', own_schema, shown.name, login);
    end loop;
end $function$;
comment on function ops.open_windows is
    'Shows production in a developer''s schemas, but for what was built there; returns what of that is gone.';
revoke execute on function ops.open_windows from public;
"""

KEEP_OWN = """
create function ops.keep_own(developer_name text) returns void
language sql as $function$
    update ops.developers
    set own_relations = array(
        select unnest(own_relations)
        union
        select format('%s.%s', substr(schemas.nspname, length('dev_' || name) + 2), classes.relname)
        from pg_class as classes
        inner join pg_namespace as schemas on schemas.oid = classes.relnamespace
        where classes.relkind in ('r', 'v')
            and pg_get_userbyid(classes.relowner) = 'dev_' || name
            and starts_with(schemas.nspname, 'dev_' || name || '_')
            and schemas.nspname not like '%dbt_test__audit'
        order by 1
    )
    where name = developer_name
$function$;
comment on function ops.keep_own is 'Notes what a developer has built, so that no window takes its place.';
revoke execute on function ops.keep_own from public;
"""


def upgrade() -> None:
    """Add the tables and functions."""
    for ddl in (TABLES, KEEP_OWN, OPEN_WINDOWS):
        op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))


def downgrade() -> None:
    """Places would stay behind without their list."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
