"""What is told to whom: each company's wishes, the messages that were sent, and the alerts that they told of.

Revision 0010.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NOTIFICATIONS = """
alter table ops.companies
    add column notifications jsonb not null default '{}' check (jsonb_typeof(notifications) = 'object');
comment on column ops.companies.notifications is
    'What is told to notification_addresses, and when; what is left out has the default of the registry.';

create table ops.notifications (
    company_id int references ops.companies,
    notification_id bigint generated always as identity primary key,
    kind text not null check (kind in ('digest', 'weekly_report')),
    recipient text not null,
    subject text not null,
    status text not null check (status in ('sending', 'sent', 'failed', 'doubtful')),
    claimed_at timestamptz not null,
    finished_at timestamptz,
    error text
);
create index notifications_by_company on ops.notifications (company_id, notification_id desc);
comment on table ops.notifications is
    'One row per message to one recipient. company_id null: to the operators, of all companies. Bodies are not kept.';
comment on column ops.notifications.recipient is
    'An e-mail address, or a reference with a fingerprint of the address that it stood for; never a secret.';
comment on column ops.notifications.status is
    'sending; sent; failed: surely not delivered, told again; doubtful: may have been delivered, not told again.';

create table ops.notified_alerts (
    company_id int references ops.companies,
    recipient text not null,
    alert_key text not null,
    customer_id text,
    notification_id bigint not null references ops.notifications,
    told_at timestamptz not null,
    unique nulls not distinct (company_id, recipient, alert_key)
);
create index notified_alerts_by_notification on ops.notified_alerts (notification_id);
comment on table ops.notified_alerts is
    'Each alert that a recipient was told of, once: claimed before its message leaves, freed if that surely failed.';

grant select on ops.notifications, ops.notified_alerts to churn_operator;
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(NOTIFICATIONS)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: what was sent would be lost, and sent again.")
