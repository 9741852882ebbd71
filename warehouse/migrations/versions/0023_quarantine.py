"""A company that a shared step cannot work on is left out and named, and the others go on.

Revision 0023. Who is left out, why and since when stands in ops.quarantines; what every shared step works on is the
view ops.companies_at_work: those that are active and in no quarantine.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

QUARANTINES = """
create table ops.quarantines (
    quarantine_id bigint generated always as identity primary key,
    company_id int not null references ops.companies,
    step text not null check (length(step) <= 200),
    reason text not null check (length(reason) <= 2000),
    made_by text not null,
    dagster_run_id text,
    begun_at timestamptz not null default now(),
    ended_at timestamptz check (ended_at >= begun_at),
    ended_by text,
    check ((ended_at is null) = (ended_by is null))
);
create unique index quarantines_one_open_per_company on ops.quarantines (company_id) where ended_at is null;
create index quarantines_by_company on ops.quarantines (company_id, begun_at);
comment on table ops.quarantines is
    'Companies that a step for all companies fails on, and leaves out until ended_at.';
comment on column ops.quarantines.made_by is 'Fingerprint of the SQL that failed: with other SQL it is tried again.';

create view ops.companies_at_work as
select company_id from ops.companies
where is_active and not exists (
    select from ops.quarantines
    where quarantines.company_id = companies.company_id and quarantines.ended_at is null
);
comment on view ops.companies_at_work is 'The companies that shared steps work on: active, and in no quarantine.';

grant select on ops.quarantines, ops.companies_at_work to churn_operator;
"""


def upgrade() -> None:
    """Add the table and the view."""
    op.execute(QUARANTINES)


def downgrade() -> None:
    """Going back would let a company that breaks a shared step stop the others."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
