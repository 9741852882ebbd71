{#- One number against another. -#}


{#- One number against another as a share or a multiple. Null where there is nothing above zero to compare with; at
    most 100 either way, since beyond that it only says that there was next to nothing before.

        {{ ratio('refunded_365d', 'charged_365d') }} as refunded_share_365d -#}
{% macro ratio(part, whole) -%}
    {{ at_most_a_hundred('(%s) / nullif(greatest(%s, 0), 0)' % (part, whole)) }}
{%- endmacro %}


{#- A ratio kept within -100 and 100. least() and greatest() pass over nulls, which must stay nulls.

        {{ at_most_a_hundred('last_amount / nullif(amount_before, 0)') }} as last_amount_against_one_before -#}
{% macro at_most_a_hundred(ratio) -%}
    case when {{ ratio }} is not null then least(greatest({{ ratio }}, -100), 100) end::double precision
{%- endmacro %}


{#- What the last so many days brought against the customer's own year before them, at the same length. A customer
    younger than a year is compared with the days there were; null until those are as many as the last ones.

        {{ against_own_year('payments_90d', 'payments_365d', 90, 'tenure_days') }} as payments_against_own_year

      last, year: what the last days, and what the year with them, brought
      last_days: how many days the last ones are -#}
{% macro against_own_year(last, year, last_days, tenure_days) -%}
    case
        when {{ tenure_days }} >= {{ 2 * last_days }}
            then {{ ratio(
                last ~ ' * (least(' ~ tenure_days ~ ', 365) - ' ~ last_days ~ ')::numeric / ' ~ last_days,
                year ~ ' - ' ~ last
            ) }}
    end
{%- endmacro %}


{#- The median of ratios where half of them lie within a twentieth of it, else 1.

        {{ shared_by_half('quartiles_of_changes') }} as common_change

      quartiles: their three quartiles, an array -#}
{% macro shared_by_half(quartiles) -%}
    case
        when {{ quartiles }}[1] >= 0.95 * {{ quartiles }}[2] and {{ quartiles }}[3] <= 1.05 * {{ quartiles }}[2]
            then {{ quartiles }}[2]
        else 1
    end
{%- endmacro %}
