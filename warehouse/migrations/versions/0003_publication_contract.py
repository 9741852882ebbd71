"""The published contract, versioned: tables and views named _v1, and stable views in front of them.

Revision 0003. What was published stays: the tables are renamed, with their rows, policies, grants and comments.
The feed gets the reason of each change, what was last sent of each customer, and cursors.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VERSIONED = """
alter table predictions.churn_scores rename to churn_scores_v1;
alter table predictions.churn_publications rename to churn_publications_v1;
alter table predictions.churn_changes rename to churn_changes_v1;
alter view predictions.churn_current rename to churn_current_v1;
"""

# The feed is read page by page and never searched inside: json is handed out as it stands, in a fraction of the
# time that jsonb takes to be written out.
CHANGES = """
alter table predictions.churn_changes_v1
    drop constraint churn_changes_reasons_check,
    alter column reasons type json using reasons::json,
    add constraint churn_changes_reasons_check check (json_typeof(reasons) = 'array'),
    add column change_reason text not null default 'behaviour'
        check (change_reason in ('behaviour', 'model', 'correction'));
alter table predictions.churn_changes_v1 alter column change_reason drop default;
alter table predictions.churn_changes_v1 drop constraint churn_changes_pkey, add primary key (company_id, change_id);
drop index predictions.churn_changes_by_company;
"""

PUBLICATIONS = """
alter table predictions.churn_publications_v1 add column newest_cursor bigint not null default 0;
update predictions.churn_publications_v1 as publications set newest_cursor = changes.newest
from (
    select published.company_id, published.as_of_date, max(changes.change_id) as newest
    from predictions.churn_publications_v1 as published
    inner join predictions.churn_changes_v1 as changes
        on changes.company_id = published.company_id and changes.changed_at <= published.published_at
    group by published.company_id, published.as_of_date
) as changes
where changes.company_id = publications.company_id and changes.as_of_date = publications.as_of_date;
"""

SENT = """
create table predictions.churn_sent_v1 (
    company_id int not null,
    customer_id text not null,
    change_id bigint not null,
    churn_probability double precision not null,
    risk_level text not null,
    row_hash text not null,
    main_reason text,
    primary key (company_id, customer_id)
);

create table predictions.churn_cursors_v1 (
    company_id int not null primary key,
    newest_cursor bigint not null,
    oldest_cursor bigint not null default 0 check (oldest_cursor <= newest_cursor)
);

insert into predictions.churn_sent_v1
    (company_id, customer_id, change_id, churn_probability, risk_level, row_hash, main_reason)
select company_id, customer_id, change_id, churn_probability, risk_level, row_hash, reasons -> 0 ->> 'feature'
from (
    select distinct on (company_id, customer_id) *
    from predictions.churn_changes_v1
    order by company_id, customer_id, change_id desc
) as newest
where operation = 'upsert';

insert into predictions.churn_cursors_v1 (company_id, newest_cursor)
select company_id, max(change_id) from predictions.churn_changes_v1 group by company_id;
"""

SNAPSHOT = """
create view predictions.churn_snapshot_v1 with (security_invoker = true) as
select
    changes.company_id,
    changes.customer_id,
    changes.as_of_date,
    changes.churn_probability,
    changes.risk_level,
    changes.reasons,
    changes.model_version,
    changes.row_hash,
    changes.change_id,
    changes.changed_at,
    cursors.newest_cursor as next_cursor
from predictions.churn_sent_v1 as sent
inner join predictions.churn_changes_v1 as changes
    on changes.company_id = sent.company_id and changes.change_id = sent.change_id
inner join predictions.churn_cursors_v1 as cursors on cursors.company_id = sent.company_id;
"""

STABLE = ("churn_scores", "churn_current", "churn_changes", "churn_publications", "churn_snapshot", "churn_cursors")

POLICIES = """
alter table predictions.{table} enable row level security;
alter table predictions.{table} force row level security;
create policy owner_sees_all on predictions.{table} to current_user using (true) with check (true);
create policy publisher_writes_all on predictions.{table} to churn_publisher using (true) with check (true);
create policy services_read_all on predictions.{table} for select to churn_ml, churn_operator using (true);
create policy company_reads_its_own on predictions.{table} for select to churn_company, churn_company_sync
    using (company_id = split_part(current_user, '_', 2)::int);
grant select, insert, update, delete on predictions.{table} to churn_publisher;
"""

READERS = "churn_ml, churn_publisher, churn_operator, churn_company, churn_company_sync"

RELATION_COMMENTS = {
    "table predictions.churn_scores_v1": "Published churn scores: one row per company, customer and as_of_date.",
    "table predictions.churn_publications_v1": "One row per published set of scores: all there, or none.",
    "table predictions.churn_changes_v1": "The change feed: read on from the highest change_id seen so far.",
    "view predictions.churn_current_v1": "The scores of each company's newest publication.",
    "view predictions.churn_snapshot_v1":
        "What a follower of the feed holds after its last row: where a newcomer starts.",
    "table predictions.churn_cursors_v1": "How far each company's feed goes, and how far back it is complete.",
    "table predictions.churn_sent_v1":
        "The publisher's own note of what the feed last said of each customer. No part of the contract.",
}  # fmt: skip

COLUMN_COMMENTS = {
    "change_reason": (
        "Why: behaviour (what the customer did, joining and leaving included), model (another model scores than at "
        "the publication before), correction (a date was published again)."
    ),
    "change_id": "The feed's cursor: it grows in the order of commits.",
    "row_hash": "Hash of risk level, whole percent and the three main reasons: equal hashes need no second write.",
    "next_cursor": "Where following the feed goes on after this snapshot; the same in every row of a company.",
    "newest_cursor": "The newest change_id of the company's feed; of a publication, when it was published.",
    "oldest_cursor": "A follower whose cursor is below this has missed compacted changes, and takes a snapshot.",
    "main_reason": "The feature that the reasons last sent began with.",
}

COPIED_COMMENTS = """
select attribute.attname, col_description(attribute.attrelid, attribute.attnum)
from pg_attribute as attribute
where attribute.attrelid in ('predictions.churn_scores_v1'::regclass, 'predictions.churn_changes_v1'::regclass,
        'predictions.churn_publications_v1'::regclass)
    and attribute.attnum > 0 and col_description(attribute.attrelid, attribute.attnum) is not null
"""


def upgrade() -> None:
    for ddl in (VERSIONED, CHANGES, PUBLICATIONS, SENT, SNAPSHOT):
        _execute(ddl)
    for table in ("churn_sent_v1", "churn_cursors_v1"):
        _execute(POLICIES.format(table=table))
    for name in STABLE:
        columns = ", ".join(_columns(f"{name}_v1"))
        _execute(
            f"create view predictions.{name} with (security_invoker = true) as"  # noqa: S608 - names of our own
            f" select {columns} from predictions.{name}_v1"
        )
    relations = [*STABLE, *(f"{name}_v1" for name in (*STABLE, "churn_sent"))]
    _execute(f"grant select on {', '.join(f'predictions.{name}' for name in relations)} to {READERS}")
    _comment(relations)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: the feed's cursors would be lost.")


def _comment(relations: list[str]) -> None:
    for relation, text in RELATION_COMMENTS.items():
        _execute(f"comment on {relation} is {_quoted(text)}")
    for name in STABLE:
        _execute(f"comment on view predictions.{name} is 'The newest version of this contract: {name}_v1.'")
    known = dict(op.get_bind().exec_driver_sql(COPIED_COMMENTS).fetchall()) | COLUMN_COMMENTS
    for relation in relations:
        for column in _columns(relation):
            _execute(f"comment on column predictions.{relation}.{column} is {_quoted(known[column])}")


def _columns(relation: str) -> list[str]:
    return [column["name"] for column in inspect(op.get_bind()).get_columns(relation, schema="predictions")]


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
