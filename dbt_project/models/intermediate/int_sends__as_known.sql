with

as_of_dates as (

    select * from {{ ref('int_as_of_dates') }}

),

sends as (

    select * from {{ ref('int_sends__intervals') }}

),

-- To a control nothing was sent. Whoever unsubscribed stays so, however long ago: such a send never leaves the view.
final as (

    select
        as_of_dates.company_id,
        sends.send_id,
        sends.campaign_id,
        sends.customer_id,
        case
            when sends.responded_date < as_of_dates.as_of_date
                then {{ known_attribute('sends.revenue', 'as_of_dates.as_of_at') }}
        end as revenue,
        as_of_dates.as_of_date,
        {{ days_since('sends.sent_date', 'as_of_dates.as_of_date') }} as days_since_sent,
        {{ days_since('sends.opened_date', 'as_of_dates.as_of_date') }} as days_since_opened,
        {{ days_since('sends.clicked_date', 'as_of_dates.as_of_date') }} as days_since_clicked,
        {{ days_since('sends.responded_date', 'as_of_dates.as_of_date') }} as days_since_responded,
        {{ days_since('sends.unsubscribed_date', 'as_of_dates.as_of_date') }} as days_since_unsubscribed
    from as_of_dates
    inner join sends
        on as_of_dates.company_id = sends.company_id
        and {{ is_in_force('sends', 'as_of_dates.as_of_at') }}
        and sends.sent_date < as_of_dates.as_of_date
        and not sends.is_control
        and (
            {{ has_recent_event([
                'sends.sent_date', 'sends.opened_date', 'sends.clicked_date', 'sends.responded_date',
            ], 'as_of_dates.as_of_date') }}
            or sends.unsubscribed_date < as_of_dates.as_of_date
        )

)

select * from final
