{{
    config(
        materialized='view',
        contract={'enforced': false},
        meta={'features_from': ['customer_feature_matrix']},
    )
}}

{{ task_feature_matrix(ref('churn_population'), ref('customer_feature_matrix'), 'customer_id') }}
