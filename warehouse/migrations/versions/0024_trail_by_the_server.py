"""The trail takes time and login from the server, whoever writes it; a pool of two companies needs their consent.

Revision 0024. Rows that are there stay as they are.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TRAIL = """
create function ops.stamp_audit() returns trigger
language plpgsql as $$
begin
    new.happened_at := clock_timestamp();
    new.database_user := session_user;
    return new;
end $$;
comment on function ops.stamp_audit is
    'Gives a row of ops.audit_log the server''s time and the login, whatever it said.';
revoke execute on function ops.stamp_audit from public;
create trigger audit_log_is_stamped before insert on ops.audit_log
    for each row execute function ops.stamp_audit();
"""

CONSENT = """
alter table ops.companies add column allows_small_pool boolean not null default false;
comment on column ops.companies.allows_small_pool is
    'Whether a model may be trained of its data and fewer than two other companies'', who could tell its figures.';
"""

# Of the relations that are there; those of later tasks are described as churn's are.
EVIDENCE = """
do $$
declare
    relation regclass;
begin
    for relation in
        select attrelid from pg_attribute
        where attname = 'evidence' and attrelid in (
            select oid from pg_class where relnamespace = 'predictions'::regnamespace and relkind in ('r', 'v')
        )
    loop
        execute format(
            'comment on column %s.evidence is %L', relation,
            'Object {customers, outcomes, is_thin}: how many of the company''s customers the score was learned from, '
            || case when relation::text ~ '^predictions.churn_' then 'how many of them churned'
                else 'of how many of them the outcome came true' end
            || ', and whether that is too little to act on. Of a pool also both counts of it, rounded.'
        );
    end loop;
end $$;
"""


def upgrade() -> None:
    """Add the trigger and the column, and say what evidence counts."""
    for ddl in (TRAIL, CONSENT, EVIDENCE):
        op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))


def downgrade() -> None:
    """Going back would let the trail be forged, and companies' figures be told from a pool's."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
