{#- Which SQL and which settings made a feature row, so that rows of two makings are never mixed unseen:
    `<sql>.<settings>`. The first part is a hash of the model, of all models above it, of the macros that they call
    and of what their columns' meta.feature promises; the second of what the company says of itself. -#}


{#- The version of the row being built, the last column of every mart.

        {{ feature_version('customers') }} as feature_version

      record: a relation of the query that has the company_id -#}
{% macro feature_version(record) -%}
    {%- do ref('int_companies__clocks') -%}
    {%- if not execute or model.resource_type != 'model' -%}
        ''::text
    {%- else -%}
        ('{{ sql_version(model.unique_id) }}.' || (jsonb '{{ settings_versions() }}' ->> {{ record }}.company_id::text))
    {%- endif -%}
{%- endmacro %}


{#- The same for a model that is put together from other marts: `mixed` where one of their rows was not made by
    what stands in the project and the registry today.

        {{ feature_version_over(['customer_features', 'payment_features']) }} as feature_version

      clocks: the name in the query of int_companies__clocks -#}
{% macro feature_version_over(marts, clocks='clocks') -%}
    {%- if not execute or model.resource_type != 'model' -%}
        ''::text
    {%- else -%}
        case
            when
                {%- for mart in marts %}
                {{ 'and ' if not loop.first }}{{ mart }}.feature_version = {{ expected_version(model_named(mart).unique_id, clocks) }}
                {%- endfor %}
                and (customer_features.rates_version is not distinct from payment_features.rates_version)
                then {{ expected_version(model.unique_id, clocks) }}
            else 'mixed'
        end
    {%- endif -%}
{%- endmacro %}


{#- The version that a row of the model has if it is built today.

        built.feature_version is distinct from {{ expected_version(model.unique_id, 'clocks') }}

      clocks: the company's row of int_companies__clocks -#}
{% macro expected_version(unique_id, clocks) -%}
    ('{{ sql_version(unique_id) }}.' || {{ clocks }}.settings_version)
{%- endmacro %}


{#- Which exchange rates a row of amounts rests on: a hash of those from before its date. A rate that is edited, or that
    comes in late, so has the dates after it built again, and a new one those that begin to know it.

        {{ rates_version('customers.as_of_date') }} as rates_version

      date: SQL of the row's as_of_date -#}
{% macro rates_version(date) -%}
    {%- if model.resource_type != 'model' -%}
        ''::text
    {%- elif not execute -%}
        {%- do ref('int_exchange_rates__in_euros') -%}
        {%- do ref('int_as_of_dates') -%}
    {%- else -%}
        (jsonb '{{ rates_versions() }}' ->> {{ date }}::text)
    {%- endif -%}
{%- endmacro %}


{#- The same of all dates, as a JSON object by date.

        {{ rates_versions() }}  gives '{"2025-03-01": "5c3c6f83", ...}' -#}
{% macro rates_versions() %}
    {% set dates = load_relation(ref('int_as_of_dates')) %}
    {% set versions = {} %}
    {% if dates %}
        {% set query %}
            select
                dates.as_of_date::text,
                to_hex(bit_xor(rates.fingerprint))
            from (select distinct as_of_date from {{ dates }}) as dates
            inner join (
                select
                    valid_from,
                    hash_record_extended(row(currency, rate_to_eur, valid_from), 0) as fingerprint
                from {{ ref('int_exchange_rates__in_euros') }}
            ) as rates
                on dates.as_of_date > rates.valid_from
            group by dates.as_of_date
            order by dates.as_of_date
        {% endset %}
        {% for row in run_query(query) %}
            {% do versions.update({row[0]: row[1]}) %}
        {% endfor %}
    {% endif %}
    {% do return(tojson(versions)) %}
{% endmacro %}


{#- The settings' version of each company, as a JSON object by company_id.

        {{ settings_versions() }}  gives '{"1": "9f2a11c0", ...}' -#}
{% macro settings_versions() %}
    {% set clocks = load_relation(ref('int_companies__clocks')) %}
    {% set versions = {} %}
    {% if clocks %}
        {% for row in run_query('select company_id, settings_version from ' ~ clocks ~ ' order by company_id') %}
            {% do versions.update({row[0] | string: row[1]}) %}
        {% endfor %}
    {% endif %}
    {% do return(tojson(versions)) %}
{% endmacro %}
