{#- A statement that needs a table for itself, tried a few times for a few seconds each: in the pauses readers who queue
    behind it go on. When somebody keeps the table the error says who: process, role, application, since when.
      statement: one that locks `relation`, as SQL text

        {% call statement('rename') %}{{ patiently('alter table a.b rename to c', relation) }}{% endcall %} -#}
{% macro patiently(statement, relation) -%}
    do $patiently$
    declare
        usual_timeout constant text := current_setting('lock_timeout');
        who text;
    begin
        perform set_config('lock_timeout', '{{ var("lock_wait_seconds") }}s', true);
        for attempt in 1..{{ var('lock_attempts') }} loop
            begin
                execute $statement${{ statement }}$statement$;
                perform set_config('lock_timeout', usual_timeout, true);
                return;
            exception when lock_not_available then
                null;
            end;
            perform pg_sleep(1);
        end loop;
        select string_agg(
            format(
                'process %s (role %s, application %s, since %s)',
                session.pid,
                session.usename,
                coalesce(nullif(session.application_name, ''), 'unnamed'),
                coalesce(
                    to_char(coalesce(session.xact_start, session.backend_start) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
                    'a time that only a member of pg_read_all_stats may see'
                )
            ),
            '; '
        )
        into who
        from pg_locks as held
        inner join pg_stat_activity as session using (pid)
        where held.granted
            and held.relation = to_regclass('{{ relation.include(database=false) }}')
            and held.database = (select oid from pg_database where datname = current_database())
            and held.pid <> pg_backend_pid();
        raise exception using
            errcode = 'lock_not_available',
            message = format(
                '{{ relation.schema }}.{{ relation.identifier }} is in use and cannot be replaced: %s',
                coalesce(who, 'who held it has ended meanwhile')
            ),
            hint = 'Let that session end, or end it by select pg_terminate_backend(PID), and run this again.';
    end $patiently$
{%- endmacro %}

{#- dbt's own way to put a new table in the place of the old one, but patiently. -#}
{% macro postgres__rename_relation(from_relation, to_relation) -%}
    {%- set name = adapter.quote_as_configured(to_relation.identifier, 'identifier') -%}
    {%- call statement('rename_relation') -%}
        {{ patiently('alter table ' ~ from_relation.render() ~ ' rename to ' ~ name, from_relation) }}
    {%- endcall -%}
{%- endmacro %}

{#- dbt's own way to drop a relation, but patiently. -#}
{% macro postgres__drop_relation(relation) -%}
    {%- call statement('drop_relation', auto_begin=False) -%}
        {{ patiently(get_drop_sql(relation), relation) }}
    {%- endcall -%}
{%- endmacro %}
