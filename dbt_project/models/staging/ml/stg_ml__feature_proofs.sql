with

source as (

    select * from {{ source('ml', 'feature_proofs') }}
    where {{ is_at_work() }}

),

final as (

    select
        feature_proof_id,
        company_id,
        task,
        feature,
        feature_version,
        matrix_version,
        rows_compared,
        rows_differing,
        rows_differing = 0 as is_passed,
        as_of_date,
        proved_at
    from source

)

select * from final
