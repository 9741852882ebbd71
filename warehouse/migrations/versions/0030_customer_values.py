"""What customers are worth: values of the next twelve months, segments, and how a company counts money.

Revision 0030. A company that says nothing counts revenue as it is: the whole of it, and next year's like today's.
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

TERMS = """
alter table ops.companies
    add column margin_share double precision not null default 1 check (margin_share > 0 and margin_share <= 1),
    add column yearly_discount double precision not null default 0
        check (yearly_discount >= 0 and yearly_discount <= 1);
comment on column ops.companies.margin_share is 'The share of revenue that stays with the company.';
comment on column ops.companies.yearly_discount is 'What a year of waiting for money costs, as a share of it.';
"""

VALUES = """
create table ml.customer_values (
    company_id int not null references ops.companies,
    customer_id text not null,
    valued_on date not null,
    method text check (method in ('purchases', 'contract')),
    expected_low double precision,
    expected_value double precision,
    expected_high double precision,
    value_at_risk double precision,
    probability_alive double precision check (probability_alive between 0 and 1),
    value_segment text not null check (value_segment in ('vip', 'steady', 'at_risk', 'prospect', 'lost')),
    primary key (company_id, customer_id),
    check ((method is null) = (expected_value is null)),
    check (expected_low <= expected_value and expected_value <= expected_high)
);
comment on table ml.customer_values is
    'What each customer is expected to bring in the next twelve months, as of the last run, and their segment.';
comment on column ml.customer_values.method is
    'purchases (no contract: BG/NBD and Gamma-Gamma) or contract (the score''s curve); null where neither can be said.';
comment on column ml.customer_values.expected_value is
    'Margin of the next twelve months, discounted, in the company''s currency; eight outcomes of ten lie in the range.';
comment on column ml.customer_values.value_at_risk is
    'The expected value times the published probability of churn; null without a score.';
comment on column ml.customer_values.probability_alive is
    'Without a contract, the chance that the customer still buys; null with one.';
"""

THRESHOLDS = """
create table ml.value_thresholds (
    company_id int not null references ops.companies,
    valid_from date not null check (extract(day from valid_from) = 1),
    vip_from double precision not null check (vip_from > 0),
    customers bigint not null,
    primary key (company_id, valid_from)
);
comment on table ml.value_thresholds is
    'From which expected value on a customer is a VIP, by month: what stands holds until the next month begins.';
"""

MOVES = """
create table ml.segment_moves (
    company_id int not null references ops.companies,
    customer_id text not null,
    moved_on date not null,
    value_segment text not null,
    previous_segment text not null check (previous_segment <> value_segment),
    cause text not null,
    primary key (company_id, customer_id, moved_on)
);
comment on table ml.segment_moves is 'Who changed their segment, when, and what moved them.';
"""


def upgrade() -> None:
    """Make the columns and tables; rights are declared in `warehouse.rights`."""
    for statement in (TERMS, VALUES, THRESHOLDS, MOVES):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Drop them: a run values customers again, and segments begin again."""
    for table in ("segment_moves", "value_thresholds", "customer_values"):
        op.execute(f"drop table ml.{table}")
    op.execute("alter table ops.companies drop column margin_share, drop column yearly_discount")
