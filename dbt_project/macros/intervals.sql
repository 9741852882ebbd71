{#- Tables of intervals, kept up to date record by record: a run works out anew the records that a load has touched since
    the last one, and leaves the others. What a table was made from stands beside it, in <table>_loads: per company and
    load how many versions there were, and a fingerprint of their keys.

    A load that is not there yet touches its own records. One whose versions are no longer the same (it was still
    running then, or somebody was forgotten since), or other SQL, settings or rates, touch all records of the company.
    Nothing is concluded from the order of load ids: chunks of an older load may land after a newer one.

    A model of this kind begins with `{{ kept_up_by_record(...) }}` and reads its versions
    `where {{ is_touched(record_id) }}`. -#}


{#- versions: the model that has the versions
    record_id: its column that names the record
    also_rests_on: models whose content, too, the rows are made from -#}
{% macro kept_up_by_record(versions, record_id, also_rests_on=()) -%}
    {{ config(
        materialized='incremental',
        incremental_strategy='delete_record_insert',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['company_id', 'customer_id']}],
        meta={'record_id': record_id},
        pre_hook=[
            "{{ create_loads_table() }}",
            "{{ note_loads('" ~ versions ~ "', '" ~ record_id ~ "', " ~ (also_rests_on | list) ~ ") }}",
            "{{ note_touched_records('" ~ versions ~ "', '" ~ record_id ~ "') }}",
        ],
        post_hook=["{{ forget_loads_of_before() }}", "{{ keep_loads() }}", "analyze {{ this }}"],
    ) }}
{%- endmacro %}


{#- The table that says what the model's table was made from. -#}
{% macro loads_of(relation) -%}
    {{ relation.include(database=false, identifier=false) }}.{{ adapter.quote(relation.identifier ~ '_loads') }}
{%- endmacro %}


{% macro create_loads_table() -%}
    create table if not exists {{ loads_of(this) }} (
        company_id int not null,
        load_id bigint not null,
        versions bigint not null,
        fingerprint bigint not null,
        made_by text not null,
        primary key (company_id, load_id)
    )
{%- endmacro %}


{#- What there is to be read now. Taken before the versions are read: what lands in between is found again next time. -#}
{% macro note_loads(versions, record_id, also_rests_on) -%}
    {#- Named outside the branch, so that dbt knows of the dependencies when it parses. -#}
    {%- do ref('int_companies__clocks') -%}
    {%- for name in also_rests_on %}{% do ref(name) %}{% endfor -%}
    {%- if execute %}
    create temporary table loads_now on commit drop as
    select
        loads.company_id,
        loads.load_id,
        loads.versions,
        loads.fingerprint,
        {{ made_by(also_rests_on) }} as made_by
    from (
        select
            company_id,
            load_id,
            count(*) as versions,
            bit_xor(hash_record_extended(row({{ record_id }}, updated_at), 0)) as fingerprint
        from {{ ref(versions) }}
        group by company_id, load_id
    ) as loads
    left join {{ ref('int_companies__clocks') }} as clocks
        on loads.company_id = clocks.company_id
    {%- endif %}
{%- endmacro %}


{#- The model's SQL, the company's settings and the content of what else the rows rest on. -#}
{% macro made_by(also_rests_on) -%}
    concat_ws(
        '.',
        '{{ sql_version(model.unique_id) }}',
        clocks.settings_version
        {%- for name in also_rests_on %},
        (select md5(string_agg(content::text, ';' order by content::text)) from {{ ref(name) }} as content)
        {%- endfor %}
    )
{%- endmacro %}


{% macro note_touched_records(versions, record_id) -%}
    {%- if execute %}
    create temporary table touched_records on commit drop as
    {%- if is_incremental() %}
    with

    changes as (

        select
            coalesce(loads_now.company_id, loads_then.company_id) as company_id,
            loads_now.load_id,
            loads_then.load_id is not null as was_there
        from loads_now
        full join {{ loads_of(this) }} as loads_then
            on loads_now.company_id = loads_then.company_id
            and loads_now.load_id = loads_then.load_id
        where
            (loads_now.versions, loads_now.fingerprint, loads_now.made_by)
            is distinct from (loads_then.versions, loads_then.fingerprint, loads_then.made_by)

    )

    select
        versions.company_id,
        versions.{{ record_id }}
    from {{ ref(versions) }} as versions
    inner join changes
        on versions.company_id = changes.company_id
        and versions.load_id = changes.load_id

    union

    select
        versions.company_id,
        versions.{{ record_id }}
    from {{ ref(versions) }} as versions
    inner join (select distinct company_id from changes where was_there) as companies
        on versions.company_id = companies.company_id

    union

    select
        intervals.company_id,
        intervals.{{ record_id }}
    from {{ this }} as intervals
    inner join (select distinct company_id from changes where was_there) as companies
        on intervals.company_id = companies.company_id
    {%- else %}
    select 1 where false
    {%- endif %}
    {%- endif %}
{%- endmacro %}


{% macro forget_loads_of_before() -%}
    delete from {{ loads_of(this) }}
{%- endmacro %}


{% macro keep_loads() -%}
    insert into {{ loads_of(this) }} table loads_now
{%- endmacro %}


{#- Whether a version belongs to a record to be worked out anew. -#}
{% macro is_touched(record_id) -%}
    {%- if execute and model.resource_type == 'model' and is_incremental() -%}
        (company_id, {{ record_id }}) in (select touched.company_id, touched.{{ record_id }} from touched_records as touched)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{% macro get_incremental_delete_record_insert_sql(arg_dict) %}
    {%- set record_id = config.get('meta').record_id -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where (company_id, {{ record_id }}) in (select company_id, {{ record_id }} from touched_records);

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
