"""Scores say what they and their level rest on.

Revision 0027. Rows that are there stay as they are: their evidence has no level.
"""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

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
            || ', and whether that is too little to act on. Of a pool also both counts of it, rounded. '
            || 'With {level_dates, is_season_seen}: how many dates say how many have the outcome, and whether a '
            || 'second year has shown the season of the scores. With grounds: which rung the score stands on, and why.'
        );
    end loop;
end $$;
"""


def upgrade() -> None:
    """Say what evidence holds."""
    op.get_bind().exec_driver_sql(EVIDENCE.replace("%", "%%"))


def downgrade() -> None:
    """Say again what evidence held."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")
