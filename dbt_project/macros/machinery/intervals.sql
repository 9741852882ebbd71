{#- Tables of intervals, kept up to date record by record: a run works out again the records that a load has touched since
    the last one, and leaves the others. What a table was made from stands beside it, in <table>_loads: per company and
    load how many versions there were, and a fingerprint of their keys.

    A load that is not there yet touches its own records. One whose versions are no longer the same (it was still
    running then, or somebody was forgotten since), or other SQL, settings or rates, touch all records of the company.
    Nothing is concluded from the order of load ids: chunks of an older load may land after a newer one.

    A model of this kind begins with `{{ kept_up_by_record(...) }}` and reads its versions
    `where {{ is_touched(record_id) }}`. -#}


{#- versions: the model that has the versions
    record_id: its column that names the record
    also_rests_on: models whose content, too, the rows are made from

        {{ kept_up_by_record(versions='stg_crm__ticket_versions', record_id='ticket_id') }} -#}
{% macro kept_up_by_record(versions, record_id, also_rests_on=()) -%}
    {{ config(
        materialized='incremental',
        incremental_strategy='delete_record_insert',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['company_id', 'customer_id']}] + (
            [{'columns': ['company_id', record_id]}] if record_id != 'customer_id' else []
        ),
        meta={'record_id': record_id, 'versions': versions, 'also_rests_on': also_rests_on | list},
        pre_hook=[
            "{{ create_loads_table() }}",
            "{{ note_loads('" ~ versions ~ "', '" ~ record_id ~ "', " ~ (also_rests_on | list) ~ ") }}",
            "{{ note_touched_records('" ~ versions ~ "', '" ~ record_id ~ "') }}",
        ],
        post_hook=["{{ forget_loads_of_before() }}", "{{ keep_loads() }}", "{{ analyze_if_written(from_share=0.05) }}"],
    ) }}
{%- endmacro %}


{#- The table that says what the model's table was made from.

        select * from {{ loads_of(this) }} -#}
{% macro loads_of(relation) -%}
    {{ relation.include(database=false, identifier=false) }}.{{ adapter.quote(relation.identifier ~ '_loads') }}
{%- endmacro %}


{#- The statement that makes that table where it is not there.

        pre_hook="{{ create_loads_table() }}" -#}
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


{#- What there is to be read now. Taken before the versions are read: what lands in between is found again next time.

        pre_hook="{{ note_loads('stg_crm__ticket_versions', 'ticket_id', []) }}" -#}
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
        {{ made_by(model.unique_id, also_rests_on, 'clocks') }} as made_by
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


{#- The model's SQL, the company's settings and the content of what else the rows rest on.
      clocks: the company's row of int_companies__clocks

        where read.made_by <> {{ made_by(model.unique_id, ['exchange_rates'], 'clocks') }} -#}
{% macro made_by(unique_id, also_rests_on, clocks) -%}
    concat_ws(
        '.',
        '{{ sql_version(unique_id) }}',
        {{ clocks }}.settings_version
        {%- for name in also_rests_on %},
        (select md5(string_agg(content::text, ';' order by content::text)) from {{ relation_named(name) }} as content)
        {%- endfor %}
    )
{%- endmacro %}


{#- Which records this run works out again, as the temporary table touched_records.

        pre_hook="{{ note_touched_records('stg_crm__ticket_versions', 'ticket_id') }}" -#}
{% macro note_touched_records(versions, record_id) -%}
    {%- if execute %}
    {%- set changed_loads = run_query(changed_loads_query()) if is_incremental() else [] %}
    {%- set companies = changed_loads | selectattr('was_there') | map(attribute='company_id') | unique | list %}
    create temporary table touched_records on commit drop as
    select
        versions.company_id,
        versions.{{ record_id }}
    from {{ ref(versions) }} as versions
    where
        false
        {%- for load in changed_loads if load.company_id not in companies %}
        or (versions.company_id = {{ load.company_id }} and versions.load_id = {{ load.load_id }})
        {%- endfor %}
    {%- if companies %}

    union

    select
        versions.company_id,
        versions.{{ record_id }}
    from {{ ref(versions) }} as versions
    where versions.company_id in ({{ companies | join(', ') }})

    union

    select
        intervals.company_id,
        intervals.{{ record_id }}
    from {{ this }} as intervals
    where intervals.company_id in ({{ companies | join(', ') }})
    {%- endif %};
    -- A few are looked up one by one, many are read past once: the planner has to know how many there are.
    analyze touched_records
    {%- endif %}
{%- endmacro %}


{#- The loads that are not, or no longer, as they were when the table was last made.

        {% set changed_loads = run_query(changed_loads_query()) %} -#}
{% macro changed_loads_query() -%}
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
{%- endmacro %}


{#- After the table was built: what it was made from before no longer holds ...

        post_hook=["{{ forget_loads_of_before() }}", ...] -#}
{% macro forget_loads_of_before() -%}
    delete from {{ loads_of(this) }}
{%- endmacro %}


{#- ... and this is what it was made from.

        post_hook=[..., "{{ keep_loads() }}"] -#}
{% macro keep_loads() -%}
    insert into {{ loads_of(this) }} table loads_now
{%- endmacro %}


{#- Whether a version belongs to a record to be worked out again.

        where {{ is_touched('ticket_id') }} -#}
{% macro is_touched(record_id) -%}
    {%- if execute and model.resource_type == 'model' and is_incremental() -%}
        (company_id, {{ record_id }}) in (select touched.company_id, touched.{{ record_id }} from touched_records as touched)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#- delete_record_insert: what was touched goes, and what this run made of it comes. dbt calls it, for models with

        incremental_strategy='delete_record_insert' -#}
{% macro get_incremental_delete_record_insert_sql(arg_dict) %}
    {%- set record_id = config.get('meta').record_id -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where (company_id, {{ record_id }}) in (select company_id, {{ record_id }} from touched_records);

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}


{#- Before a mart is built: fails where intervals that it reads are not up to date, since it was built without them. A
    load that ended after this run of dbt began is the next one's.

        +pre-hook: "{{ refuse_old_intervals() }}" -#}
{% macro refuse_old_intervals() -%}
    {%- do ref('stg_ops__loads') -%}
    {%- if execute and model.resource_type == 'model' %}
    {%- for intervals in intervals_read_by(model) %}
    {%- for row in run_query(loads_not_read(intervals)) %}
        {{ exceptions.raise_compiler_error(
            model.name ~ ' reads ' ~ intervals.name ~ ', which is older than ' ~ row.reason ~ ' of company '
            ~ row.company_id ~ '. Build what it reads, too: --select +' ~ model.name
        ) }}
    {%- endfor %}
    {%- endfor %}
    {%- endif %}
{%- endmacro %}


{#- The tables of intervals that a model reads, itself or through views, as nodes of the graph.

        {% for intervals in intervals_read_by(model) %} {{ intervals.name }} {% endfor %} -#}
{% macro intervals_read_by(node) %}
    {% set waiting = node.depends_on.nodes | list %}
    {% set intervals = {} %}
    {# Each step looks at one more model; a view that is read twice is looked at twice. #}
    {% for _ in range(1000) if waiting %}
        {% set name = waiting.pop() %}
        {% set parent = graph.nodes.get(name, {}) %}
        {% if parent.get('config', {}).get('meta', {}).record_id %}
            {% do intervals.update({name: parent}) %}
        {% elif parent.get('config', {}).materialized == 'view' %}
            {% do waiting.extend(parent.depends_on.nodes) %}
        {% endif %}
    {% endfor %}
    {% do return(intervals.values() | list) %}
{% endmacro %}


{#- What a table of intervals has not taken in: the newest load, and SQL, settings or rates.
      node: the table's node of the graph

        {% for row in run_query(loads_not_read(node)) %} {{ row.company_id }}: {{ row.reason }} {% endfor %} -#}
{% macro loads_not_read(node) -%}
    {%- set loads_read = loads_of(relation_named(node.name)) -%}
    select
        loads.company_id,
        'load ' || max(loads.load_id) as reason
    from {{ ref('stg_ops__loads') }} as loads
    where
        loads.entity = '{{ node.config.meta.record_id | replace('_id', 's') }}'
        and loads.records_loaded > 0
        and loads.finished_at < '{{ run_started_at.isoformat() }}'
        and loads.load_id > coalesce(
            (select max(read.load_id) from {{ loads_read }} as read where read.company_id = loads.company_id), 0
        )
        and exists (
            select
            from {{ relation_named(node.config.meta.versions) }} as versions
            where versions.company_id = loads.company_id and versions.load_id = loads.load_id
        )
    group by loads.company_id

    union all

    select
        read.company_id,
        'the SQL, settings or rates' as reason
    from {{ loads_read }} as read
    inner join {{ ref('int_companies__clocks') }} as clocks
        on read.company_id = clocks.company_id
    where read.made_by <> {{ made_by(node.unique_id, node.config.meta.also_rests_on, 'clocks') }}
    group by read.company_id
{%- endmacro %}


{#- A model's or seed's relation, wherever this run of dbt has it.

        select * from {{ relation_named('exchange_rates') }} -#}
{% macro relation_named(name) %}
    {% set node = graph.nodes.values() | selectattr('resource_type', 'in', ['model', 'seed'])
        | selectattr('name', 'equalto', name) | first %}
    {% do return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.name)) %}
{% endmacro %}
