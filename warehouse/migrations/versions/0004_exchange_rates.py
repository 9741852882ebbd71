"""Exchange rates that an operator loads, in place of those that come with the project.

Revision 0004. The table is empty at first: the seed's rates go on counting.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RATES = """
create table ops.exchange_rates (
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    valid_from date not null,
    rate_to_eur numeric not null check (rate_to_eur > 0),
    primary key (currency, valid_from)
);
comment on table ops.exchange_rates is
    'Rates of one''s own, dated: a currency that stands here is not read from the seed exchange_rates.';
comment on column ops.exchange_rates.currency is 'ISO 4217 code, upper case.';
comment on column ops.exchange_rates.valid_from is 'First day of the rate; it holds until the currency''s next one.';
comment on column ops.exchange_rates.rate_to_eur is 'Euros for one unit.';
grant select on ops.exchange_rates to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(RATES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: what was loaded since would be lost.")
