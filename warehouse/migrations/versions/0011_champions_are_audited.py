"""The trail tells which model publishes as well: a trigger copies every change of a champion.

Revision 0011. The trainer may write ml.promotions and not ops.audit_log, so the trigger runs with its owner's rights.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TRAIL = """
create function ops.record_champion_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into ops.audit_log (actor, action, company_id, before, after)
    values (
        new.actor, 'model.' || new.event, new.company_id,
        jsonb_build_object('model', new.model_name, 'version', new.from_version),
        ops.without_secrets(jsonb_build_object(
            'model', new.model_name, 'version', new.to_version, 'why', new.why, 'promotion_id', new.promotion_id
        ))
    );
    return null;
end $$;
comment on function ops.record_champion_change is
    'Writes ops.audit_log for every decision of ml.promotions that lets another version publish.';
revoke execute on function ops.record_champion_change from public;

create trigger champions_are_audited after insert on ml.promotions
    for each row when (new.event <> 'kept') execute function ops.record_champion_change();
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(TRAIL)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the trail would have gaps.")
