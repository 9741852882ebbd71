"""What programmes earned: the difference between treated and control customers, in outcome and in money.

Revision 0034.
"""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

LEDGER = """
create table ml.uplift_ledger (
    company_id int not null references ops.companies,
    action text not null,
    scope text not null check (scope in ('programme', 'month', 'segment')),
    part text not null,
    enrolled bigint not null,
    matured bigint not null,
    treated bigint not null,
    controls bigint not null,
    treated_left bigint not null,
    controls_left bigint not null,
    saved_low double precision,
    saved double precision,
    saved_high double precision,
    earned_low double precision,
    earned double precision,
    earned_high double precision,
    promised double precision not null,
    spent double precision not null,
    customers_needed bigint,
    expected_end date,
    graded_on date not null,
    primary key (company_id, action, scope, part),
    check (saved_low <= saved and saved <= saved_high),
    check (earned_low <= earned and earned <= earned_high)
);
comment on table ml.uplift_ledger is
    'Treated against controls, of each programme as a whole, by month of the decision and by segment; each customer''s '
    'first decision counts.';
comment on column ml.uplift_ledger.part is 'all, the first day of the month, or the segment.';
comment on column ml.uplift_ledger.matured is 'Customers whose outcome is known.';
comment on column ml.uplift_ledger.saved is
    'Of all treated, the share that stayed because of the action; null while too few outcomes are known.';
comment on column ml.uplift_ledger.earned is
    'What treating earned after its cost, over all treated whose outcome is known, in the company''s currency.';
comment on column ml.uplift_ledger.promised is 'What was promised for the same customers when it was decided.';
comment on column ml.uplift_ledger.customers_needed is
    'Known outcomes at which the range would leave out nothing earned, were the promise true.';
"""


def upgrade() -> None:
    """Make the table; rights are declared in `warehouse.rights`."""
    op.get_bind().exec_driver_sql(LEDGER)


def downgrade() -> None:
    """Drop it: the next run makes it again."""
    op.execute("drop table ml.uplift_ledger")
