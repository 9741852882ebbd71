"""Content decides what a version is, and a load knows which columns and records it should see.

Revision 0022. Versions of a record that share an updated_at are told apart by `revision`, counted from 0 in the order
in which they became known. `made_at` stands where the source's updated_at is not when the version was made. Every row
of before is the first version of its updated_at.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

KEYS = {"customers": "customer_id", "tickets": "ticket_id", "payments": "payment_id", "events": "event_id"}

UP = """
alter table raw.{table}
    add column revision int not null default 0 check (revision >= 0),
    add column made_at timestamptz,
    add column is_vanished boolean not null default false,
    drop constraint {table}_pkey,
    add primary key (company_id, {key}, updated_at, revision);
comment on column raw.{table}.revision is 'Counts the versions that share an updated_at, as they became known; from 0.';
comment on column raw.{table}.made_at is 'When the version was made, where that is not updated_at.';
comment on column raw.{table}.is_vanished is 'A tombstone that is ours: the source no longer listed the record.';
"""

DOWN = """
update raw.{table} set updated_at = made_at where made_at is not null;
alter table raw.{table}
    drop constraint {table}_pkey,
    add primary key (company_id, {key}, updated_at),
    drop column revision,
    drop column made_at,
    drop column is_vanished;
"""

UP_OPS = """
alter table ops.sync_cursors
    add column compared_at timestamptz,
    add column still_unaccounted bigint,
    add column filled_columns text[] not null default '{}',
    add column accepted_columns text[] not null default '{}',
    add column deletions_accepted_at timestamptz;
comment on column ops.sync_cursors.compared_at is 'When ids were last compared with those that the source lists.';
comment on column ops.sync_cursors.still_unaccounted is 'By how many records the two differed after that.';
comment on column ops.sync_cursors.filled_columns is 'Columns that loads have filled, under the contract''s names.';
comment on column ops.sync_cursors.accepted_columns is 'The source''s columns that somebody said may be missing.';
comment on column ops.sync_cursors.deletions_accepted_at is 'When somebody said that many deletions may come at once.';
alter table ops.load_log
    add column late bigint not null default 0,
    add column vanished bigint not null default 0;
comment on column ops.load_log.late is 'Of loaded: versions that syncs had passed over, found by comparing ids.';
comment on column ops.load_log.vanished is 'Records that the source no longer lists; each got a tombstone.';
"""

DOWN_OPS = """
alter table ops.load_log drop column late, drop column vanished;
alter table ops.sync_cursors drop column compared_at, drop column still_unaccounted, drop column filled_columns,
    drop column accepted_columns, drop column deletions_accepted_at;
"""


def upgrade() -> None:
    for table, key in KEYS.items():
        op.get_bind().exec_driver_sql(UP.format(table=table, key=key))
    op.get_bind().exec_driver_sql(UP_OPS)


def downgrade() -> None:
    op.get_bind().exec_driver_sql(DOWN_OPS)
    for table, key in KEYS.items():
        op.get_bind().exec_driver_sql(DOWN.format(table=table, key=key))
