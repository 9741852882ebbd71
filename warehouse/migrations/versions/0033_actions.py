"""What companies can do for customers, dated; who is left alone by chance; who was decided for, and what it promised.

Revision 0033. No company has an action after it: nothing is decided until one is declared.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

revision = "0033"
down_revision = "0031"
branch_labels = None
depends_on = None

ACTIONS = """
create table ops.company_actions (
    company_id int not null references ops.companies,
    action text not null check (action ~ '^[a-z][a-z0-9_]*$'),
    settings jsonb not null check (jsonb_typeof(settings) = 'object' and settings ->> 'name' = action),
    valid_from timestamptz not null default clock_timestamp(),
    valid_to timestamptz check (valid_to >= valid_from),
    primary key (company_id, action, valid_from)
);
create unique index company_actions_that_hold on ops.company_actions (company_id, action)
    include (settings) where valid_to is null;
comment on table ops.company_actions is
    'What a company can do for a customer, in versions: one that changed or went keeps its row with an end.';

create function ops.record_company_action_change() returns trigger
language plpgsql as $$
declare
    was jsonb;
    now_is jsonb;
begin
    if tg_op <> 'INSERT' and old.valid_to is null then
        was := jsonb_build_object('actions', jsonb_build_object(old.action, old.settings));
    end if;
    if tg_op <> 'DELETE' and new.valid_to is null then
        now_is := jsonb_build_object('actions', jsonb_build_object(new.action, new.settings));
    end if;
    if was is distinct from now_is then
        insert into ops.audit_log (actor, action, company_id, before, after)
        values (
            coalesce(nullif(current_setting('churn.actor', true), ''), session_user),
            case when was is null then 'company.action_declared' else 'company.action_ended' end,
            coalesce(new.company_id, old.company_id), was, now_is
        );
    end if;
    return null;
end $$;
comment on function ops.record_company_action_change is 'Writes ops.audit_log for every change of ops.company_actions.';
create trigger company_actions_are_audited after insert or update or delete on ops.company_actions
    for each row execute function ops.record_company_action_change();
revoke execute on function ops.record_company_action_change from public;
"""

PROGRAMMES = """
create table ml.programmes (
    company_id int not null references ops.companies,
    action text not null,
    salt text not null default gen_random_uuid()::text,
    began_on date not null,
    stopped_on date,
    stopped_because text,
    primary key (company_id, action),
    check ((stopped_on is null) = (stopped_because is null))
);
comment on table ml.programmes is 'Each action as a standing programme: since when, and whether it stopped by itself.';
comment on column ml.programmes.salt is 'Makes the draw of the control group unlike that of every other programme.';

create table ml.control_groups (
    company_id int not null references ops.companies,
    action text not null,
    customer_id text not null,
    bucket smallint not null check (bucket between 0 and 9999),
    is_control boolean not null,
    propensity double precision not null check (propensity > 0 and propensity < 1),
    drawn_on date not null,
    primary key (company_id, action, customer_id)
);
comment on table ml.control_groups is
    'Whom chance leaves alone in a programme: drawn once, before anybody is scored, and kept for its life.';
comment on column ml.control_groups.propensity is 'With which probability chance allowed treatment when it was drawn.';

create table ml.enrolments (
    company_id int not null references ops.companies,
    action text not null,
    customer_id text not null,
    decided_on date not null,
    as_of_date date not null,
    is_control boolean not null,
    is_explored boolean not null,
    propensity double precision not null check (propensity > 0 and propensity <= 1),
    draw_propensity double precision not null check (draw_propensity > 0 and draw_propensity < 1),
    cost double precision not null check (cost >= 0),
    worth double precision not null,
    net_value_low double precision not null,
    net_value double precision not null,
    net_value_high double precision not null,
    rests_on text not null check (rests_on in ('believed', 'measured')),
    value_segment text not null,
    primary key (company_id, customer_id, decided_on),
    check (net_value_low <= net_value and net_value <= net_value_high)
);
create index enrolments_by_action on ml.enrolments (company_id, action, decided_on);
comment on table ml.enrolments is
    'For whom an action was decided, controls among them, with what it promised then: what is graded later.';
comment on column ml.enrolments.worth is 'The margin that was expected of the customer in twelve months.';
comment on column ml.enrolments.propensity is
    'With which probability this customer is treated: that of the draw, times that of being tried where explored.';

create table ml.programme_plans (
    company_id int not null references ops.companies,
    action text not null,
    decided_on date not null,
    period_start date not null,
    label text not null,
    channel text not null,
    owner text not null,
    budget double precision not null,
    spent double precision not null,
    capacity bigint,
    treated bigint not null,
    controls bigint not null,
    eligible bigint not null,
    net_value_low double precision not null,
    net_value double precision not null,
    net_value_high double precision not null,
    at_most_more double precision not null check (at_most_more >= 0),
    net_value_with_tenth_more double precision not null,
    net_value_at_weaker_effect double precision not null,
    status text not null check (status in ('runs', 'nothing_earns', 'stopped')),
    primary key (company_id, action, decided_on)
);
comment on table ml.programme_plans is
    'Each programme on the days of decision: its period''s budget, and what it buys.';
comment on column ml.programme_plans.at_most_more is
    'No other choice within the same limits would bring more than this much more net value on that day.';
comment on column ml.programme_plans.net_value_with_tenth_more is
    'What that day''s choice would bring with a tenth more of budget and capacity for every programme.';
comment on column ml.programme_plans.net_value_at_weaker_effect is
    'The same customers, were the effect a fifth smaller.';
"""

CONTRACT = """
create table predictions.decisions_v1 (
    company_id int not null,
    customer_id text not null,
    as_of_date date not null,
    action text,
    is_control boolean not null,
    propensity double precision check (propensity > 0 and propensity <= 1),
    net_value_low double precision,
    net_value double precision,
    net_value_high double precision,
    cost double precision,
    rests_on text check (rests_on in ('believed', 'measured')),
    decided_on date,
    reasons jsonb not null check (jsonb_typeof(reasons) = 'array'),
    value_segment text,
    expected_value double precision,
    expected_low double precision,
    expected_high double precision,
    value_at_risk double precision,
    row_hash text not null,
    primary key (company_id, as_of_date, customer_id),
    check ((action is null) = (net_value is null) and (action is null) = (decided_on is null)),
    check (action is not null or not is_control),
    check (net_value_low <= net_value and net_value <= net_value_high)
);

create table predictions.decisions_publications_v1 (
    company_id int not null,
    as_of_date date not null,
    decisions bigint not null,
    to_treat bigint not null,
    controls bigint not null,
    published_at timestamptz not null,
    newest_cursor bigint not null,
    primary key (company_id, as_of_date)
);

create table predictions.decisions_changes_v1 (
    company_id int not null,
    change_id bigint generated always as identity,
    customer_id text not null,
    operation text not null check (operation in ('upsert', 'delete')),
    change_reason text not null check (change_reason in ('behaviour', 'correction')),
    as_of_date date not null,
    action text,
    is_control boolean,
    net_value double precision,
    reasons json check (json_typeof(reasons) = 'array'),
    decided_on date,
    row_hash text,
    changed_at timestamptz not null,
    primary key (company_id, change_id)
);

create table predictions.decisions_sent_v1 (
    company_id int not null,
    customer_id text not null,
    change_id bigint not null,
    row_hash text not null,
    primary key (company_id, customer_id)
);

create table predictions.decisions_cursors_v1 (
    company_id int not null primary key,
    newest_cursor bigint not null,
    oldest_cursor bigint not null default 0 check (oldest_cursor <= newest_cursor)
);

create view predictions.decisions_current_v1 with (security_invoker = true) as
select decisions.*
from predictions.decisions_v1 as decisions
inner join (
    select company_id, max(as_of_date) as as_of_date
    from predictions.decisions_publications_v1
    group by company_id
) as newest
    on newest.company_id = decisions.company_id and newest.as_of_date = decisions.as_of_date;

create view predictions.decisions_snapshot_v1 with (security_invoker = true) as
select
    changes.company_id,
    changes.customer_id,
    changes.as_of_date,
    changes.action,
    changes.is_control,
    changes.net_value,
    changes.reasons,
    changes.decided_on,
    changes.row_hash,
    changes.change_id,
    changes.changed_at,
    cursors.newest_cursor as next_cursor
from predictions.decisions_sent_v1 as sent
inner join predictions.decisions_changes_v1 as changes
    on changes.company_id = sent.company_id and changes.change_id = sent.change_id
inner join predictions.decisions_cursors_v1 as cursors on cursors.company_id = sent.company_id;
"""

TABLES = ("decisions_v1", *(f"decisions_{name}_v1" for name in ("publications", "changes", "cursors", "sent")))
STABLE = ("decisions", *(f"decisions_{name}" for name in ("current", "publications", "changes", "snapshot", "cursors")))

POLICIES = """
alter table predictions.{table} enable row level security;
alter table predictions.{table} force row level security;
create policy owner_sees_all on predictions.{table} to current_user using (true) with check (true);
create policy publisher_writes_all on predictions.{table} to churn_publisher using (true) with check (true);
create policy services_read_all on predictions.{table} for select to churn_ml, churn_operator using (true);
create policy company_reads_its_own on predictions.{table} for select to churn_company, churn_company_sync
    using (company_id = split_part(current_user, '_', 2)::int);
"""

# With statistics of a column, anybody could ask the planner for other companies' values.
ESTIMATES = """
do $$
declare
    place record;
begin
    for place in
        select attrelid::regclass::text as relation, attname from pg_attribute
        where attrelid in (
            select oid from pg_class
            where relnamespace = 'predictions'::regnamespace and relkind = 'r' and relname ~ '^decisions_'
        ) and attnum > 0 and attname <> all (array['company_id', 'as_of_date'])
    loop
        execute format('alter table %s alter column %I set statistics 0', place.relation, place.attname);
    end loop;
end $$;
"""

RELATION_COMMENTS = {
    "table predictions.decisions_v1": "What is best done for each customer: one row per company, customer and date.",
    "table predictions.decisions_publications_v1": "One row per published set of decisions: all there, or none.",
    "table predictions.decisions_changes_v1":
        "The feed of what is to be done: read on from the highest change_id seen so far.",
    "view predictions.decisions_current_v1": "The decisions of each company's newest publication.",
    "view predictions.decisions_snapshot_v1":
        "What a follower of the feed holds after its last row: where a newcomer starts.",
    "table predictions.decisions_cursors_v1": "How far each company's feed goes, and how far back it is complete.",
    "table predictions.decisions_sent_v1":
        "The publisher's own note of what the feed last said of each customer. No part of the contract.",
}  # fmt: skip

COLUMN_COMMENTS = {
    "company_id": "The company.",
    "customer_id": "The customer, unique in the company.",
    "as_of_date": "The date of the score that the decision rests on.",
    "action": "What to do, by the name it has among the company's actions; null: nothing.",
    "is_control": "Chance leaves this customer alone, so that the action's effect can be known: do nothing for them.",
    "propensity": "With which probability a customer like this one is treated; null without an action.",
    "net_value_low": "The net value below which it falls only if the effect is weaker than believed, or measured.",
    "net_value": "What the action is expected to bring, less its cost, in the company's currency; null without one.",
    "net_value_high": "The net value at the high end of effect and risk.",
    "cost": "What the action costs for this customer, what is given away included; of a control, what it would.",
    "rests_on": "believed (what the company says of the effect) or measured (what treated and controls showed).",
    "decided_on": "The company's day on which it was decided; it stands until the action's period ends.",
    "reasons": "Why this, or why nothing: array of sentences, of what weighed most first.",
    "value_segment": "vip, steady, at_risk, prospect or lost.",
    "expected_value": "Margin to expect in the next twelve months, in the company's currency; null where unknown.",
    "expected_low": "Low end of its range: eight outcomes of ten lie in it.",
    "expected_high": "High end of its range.",
    "value_at_risk": "Expected value times the published probability of churn.",
    "row_hash": "Hash of action, control and day: equal hashes need no second write.",
    "decisions": "Customers of the set.",
    "to_treat": "Customers for whom something is to be done.",
    "controls": "Customers with an action whom chance leaves alone.",
    "published_at": "When the set was published.",
    "newest_cursor": "The newest change_id of the company's feed; of a publication, when it was published.",
    "oldest_cursor": "A follower whose cursor is below this has missed compacted changes, and takes a snapshot.",
    "change_id": "The feed's cursor: it grows in the order of commits.",
    "operation": "upsert (an action is to be done, or left) or delete (nothing is to be done any longer).",
    "change_reason": "behaviour (another date), or correction (a date was published again, or a person forgotten).",
    "changed_at": "When the change was published.",
    "next_cursor": "Where following the feed goes on after this snapshot; the same in every row of a company.",
}


def upgrade() -> None:
    """Make the tables and views; rights are declared in `warehouse.rights`."""
    for ddl in (ACTIONS, PROGRAMMES, CONTRACT, ESTIMATES):
        _execute(ddl)
    for table in TABLES:
        _execute(POLICIES.format(table=table))
    for name in STABLE:
        _execute(
            f"create view predictions.{name} with (security_invoker = true) as"  # noqa: S608 - names of our own
            f" select * from predictions.{name}_v1"
        )
        _execute(f"comment on view predictions.{name} is 'The newest version of this contract: {name}_v1.'")
    for relation, text in RELATION_COMMENTS.items():
        _execute(f"comment on {relation} is {_quoted(text)}")
    for relation in (*STABLE, *(f"{name}_v1" for name in STABLE), "decisions_sent_v1"):
        for column in inspect(op.get_bind()).get_columns(relation, schema="predictions"):
            name = column["name"]
            _execute(f"comment on column predictions.{relation}.{name} is {_quoted(COLUMN_COMMENTS[name])}")


def downgrade() -> None:
    """Going back would forget who was in which control group."""
    raise NotImplementedError("Restore the backup that was made before the upgrade.")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
