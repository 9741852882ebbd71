{{
    config(
        incremental_strategy='append',
        full_refresh=false,
        indexes=[{'columns': ['company_id', 'as_of_date', 'customer_id', 'label_version'], 'unique': true}],
        post_hook=['{{ analyze_if_written() }}', "{{ note_recorded_periods('int_churn_labels__periods') }}"],
    )
}}

{{ label_versions(
    ref('churn_labels'), ref('int_churn_labels__periods'), 'customer_id', 'is_churned', 'churned_at'
) }}
