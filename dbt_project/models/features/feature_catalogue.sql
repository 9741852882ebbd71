{{ config(materialized='view', post_hook=[]) }}

with

companies as (

    select * from {{ ref('stg_ops__companies') }}

),

coverage as (

    select * from {{ ref('int_features__coverage') }}

),

proofs as (

    select * from {{ ref('stg_ml__feature_proofs') }}

),

described_features as (

    select * from (
        values
        {{ words_of_features() }}
    ) as features (feature, label, family, unit, kind, basis, model_name)

),

chosen_attributes as (

    select
        companies.company_id,
        'attribute_' || (attributes.attribute ->> 'name') as feature,
        attributes.attribute ->> 'label' as label,
        'customer' as family,
        attributes.attribute ->> 'unit' as unit,
        attributes.attribute ->> 'kind' as kind,
        case when (attributes.attribute ->> 'is_fixed')::boolean then 'event_times' else 'attributes' end as basis,
        'customer_features' as model_name
    from companies
    cross join lateral jsonb_array_elements(companies.custom_attributes) as attributes (attribute)

),

features_of_companies as (

    select
        companies.company_id,
        described_features.feature,
        described_features.label,
        described_features.family,
        case described_features.unit
            when 'company''s currency' then companies.currency
            else described_features.unit
        end as unit,
        described_features.kind,
        described_features.basis,
        described_features.model_name
    from companies
    cross join described_features

    union all

    select * from chosen_attributes

),

history as (

    select
        company_id,
        feature,
        (1 - sum(rows_known) / nullif(sum(rows_in_all), 0))::double precision as share_missing,
        min(as_of_date) filter (where rows_known > 0) as first_date_available
    from coverage
    group by company_id, feature

),

newest_date as (

    select distinct on (company_id, feature)
        company_id,
        feature,
        matrix_version,
        1 - rows_known::double precision / nullif(rows_in_all, 0) as share_missing,
        as_of_date
    from coverage
    order by company_id asc, feature asc, as_of_date desc

),

-- A proof speaks for the version that it compared, and for no other.
newest_proof as (

    select distinct on (company_id, feature, matrix_version) *
    from proofs
    order by company_id asc, feature asc, matrix_version asc, feature_proof_id desc

),

final as (

    select
        features_of_companies.company_id,
        features_of_companies.feature,
        features_of_companies.label,
        features_of_companies.family,
        features_of_companies.unit,
        features_of_companies.kind,
        features_of_companies.basis,
        features_of_companies.model_name,
        newest_date.matrix_version as feature_version,
        history.share_missing,
        newest_date.share_missing as share_missing_on_newest_date,
        newest_proof.rows_compared as proof_rows_compared,
        newest_proof.rows_differing as proof_rows_differing,
        newest_proof.is_passed as is_proven,
        history.first_date_available,
        newest_date.as_of_date as newest_date,
        newest_proof.as_of_date as proof_date,
        newest_proof.proved_at
    from features_of_companies
    left join history
        on features_of_companies.company_id = history.company_id
        and features_of_companies.feature = history.feature
    left join newest_date
        on features_of_companies.company_id = newest_date.company_id
        and features_of_companies.feature = newest_date.feature
    left join newest_proof
        on newest_date.company_id = newest_proof.company_id
        and newest_date.feature = newest_proof.feature
        and newest_date.matrix_version = newest_proof.matrix_version

)

select * from final
