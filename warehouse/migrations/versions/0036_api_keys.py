"""Keys of the HTTP API: each belongs to one company, and is a login of its own in Postgres.

Revision 0036. Two tables; nothing that is there changes.
"""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

KEYS = """
create table ops.api_keys (
    key_prefix text primary key check (key_prefix ~ '^churn_[0-9a-f]{12}$'),
    company_id int not null references ops.companies,
    digest bytea not null check (length(digest) = 32),
    note text not null check (length(note) <= 200),
    scopes text[] not null check (scopes <@ array['read', 'score'] and cardinality(scopes) > 0),
    requests_per_minute int not null check (requests_per_minute between 1 and 1000000),
    created_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null check (expires_at > created_at),
    revoked_at timestamptz,
    revoked_by text,
    check ((revoked_at is null) = (revoked_by is null))
);
create index api_keys_by_company on ops.api_keys (company_id);
comment on table ops.api_keys is 'Keys of the HTTP API; the key itself is nowhere, only its prefix and SHA-256 digest.';
comment on column ops.api_keys.note is 'What its maker said that it is for.';
"""

USE = """
create table ops.api_use (
    key_prefix text primary key references ops.api_keys on delete cascade,
    company_id int not null references ops.companies,
    spent_until timestamptz not null,
    used_at timestamptz not null
) with (fillfactor = 50);
comment on table ops.api_use is 'When each key was last used, and how much of its allowance is spent.';
comment on column ops.api_use.spent_until is
    'Each request moves it on by its share of a minute; one that would move it more than a minute ahead is refused.';
"""


def upgrade() -> None:
    """Make the tables; rights are declared in `warehouse.rights`."""
    for statement in (KEYS, USE):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Drop them, and with them every key; logins of keys are dropped with their companies."""
    for table in ("api_use", "api_keys"):
        op.execute(f"drop table ops.{table}")
