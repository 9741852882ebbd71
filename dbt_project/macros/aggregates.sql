{#- What a feature counts and sums, of the type that its YAML names. -#}


{#- How many records a condition holds for, an integer; 0 where there is none.

        {{ count_where(in_window('days_since_refund', 30)) }} as refunds_30d -#}
{% macro count_where(condition) -%}
    (count(*) filter (where {{ condition }}))::integer
{%- endmacro %}


{#- The sum over the records that a condition holds for, double precision; 0 where there is none.

        {{ sum_where('revenue', in_window('days_since_paid', 90)) }} as revenue_90d -#}
{% macro sum_where(amount, condition) -%}
    coalesce(sum({{ amount }}) filter (where {{ condition }}), 0)::double precision
{%- endmacro %}
