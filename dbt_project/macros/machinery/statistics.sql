{#- Statistics for the planner, when a run has written to the model's table, and of the columns that queries join and
    select by: an analysis reads the same sample of every column however little is new, and a matrix has 140 of them.
      columns: those to look at; all where none are named
      from_share: of the table's rows, how many must be new or gone before it is worth it

        post_hook='{{ analyze_if_written(["company_id", "as_of_date"]) }}' -#}
{% macro analyze_if_written(columns=[], from_share=0) -%}
    do $$
    begin
        if exists (
            select
            from pg_stat_xact_all_tables as written
            inner join pg_class as relation on written.relid = relation.oid
            where
                relation.oid = '{{ this.include(database=false) }}'::regclass
                and written.n_tup_ins + written.n_tup_del > {{ from_share }} * greatest(relation.reltuples, 0)
        ) then
            analyze {{ this }}{{ ' (' ~ columns | join(', ') ~ ')' if columns }};
        end if;
    end $$
{%- endmacro %}


{#- Settings for the planner until the model's transaction ends, in one statement.

        +pre-hook: "{{ plan_with(enable_nestloop='off', work_mem='64MB') }}" -#}
{% macro plan_with() -%}
    select
    {%- for name, value in kwargs.items() %}
        set_config('{{ name }}', '{{ value }}', true){{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
