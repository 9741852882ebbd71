"""Any task: a company switches tasks on, every table of ml says of which task a row is, and ids are of any entity.

Revision 0019. What stood in columns of the company (kind and horizon of churn) moves to its task churn; dbt's views on
these columns go with them, and the next run makes them again. Everything that stood in ml is churn's.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TASKS = """
create table ops.tasks (
    task text primary key check (task ~ '^[a-z][a-z0-9_]*$'),
    entity text not null check (entity ~ '^[a-z][a-z0-9_]*$')
);
comment on table ops.tasks is 'What can be predicted, and for whom or what. Written by `churn migrate`.';
insert into ops.tasks (task, entity) values ('churn', 'customer');

create table ops.company_tasks (
    company_id int not null references ops.companies,
    task text not null references ops.tasks,
    settings jsonb not null check (jsonb_typeof(settings) = 'object'),
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (company_id, task),
    constraint company_tasks_have_a_horizon check ((settings ->> 'horizon_days')::int > 0)
);
comment on table ops.company_tasks is
    'Which tasks a company has, with the settings that are that task''s own. One that is switched off keeps them.';

insert into ops.company_tasks (company_id, task, settings)
select company_id, 'churn', jsonb_strip_nulls(jsonb_build_object(
    'kind', churn_kind, 'horizon_days', horizon_days, 'inactivity_days', inactivity_days,
    'downgrade_share', downgrade_share
))
from ops.companies;

alter table ops.companies
    drop column churn_kind cascade,
    drop column horizon_days cascade,
    drop column inactivity_days cascade,
    drop column downgrade_share cascade;

create function ops.record_company_task_change() returns trigger
language plpgsql as $$
declare
    was jsonb;
    now_is jsonb;
begin
    if tg_op <> 'INSERT' and old.is_active then
        was := jsonb_build_object('tasks', jsonb_build_object(old.task, old.settings));
    end if;
    if tg_op <> 'DELETE' and new.is_active then
        now_is := jsonb_build_object('tasks', jsonb_build_object(new.task, new.settings));
    end if;
    if was is distinct from now_is then
        insert into ops.audit_log (actor, action, company_id, before, after)
        values (
            coalesce(nullif(current_setting('churn.actor', true), ''), session_user),
            case
                when was is null then 'company.task_switched_on'
                when now_is is null then 'company.task_switched_off'
                else 'company.task_changed'
            end,
            coalesce(new.company_id, old.company_id), was, now_is
        );
    end if;
    return null;
end $$;
comment on function ops.record_company_task_change is 'Writes ops.audit_log for every change of ops.company_tasks.';
create trigger company_tasks_are_audited after insert or update or delete on ops.company_tasks
    for each row execute function ops.record_company_task_change();
revoke execute on function ops.record_company_task_change from public;

grant select on ops.tasks, ops.company_tasks to churn_loader, churn_ml, churn_operator;
"""

ML = """
alter table ml.staged_scores rename column customer_id to entity_id;
alter table ml.staged_scores rename column churn_probability to probability;
alter table ml.staged_scores add column task text not null default 'churn';
alter table ml.staged_scores alter column task drop default;
drop index ml.staged_scores_by_company;
create index staged_scores_by_company on ml.staged_scores (company_id, task);

alter table ml.missing_features add column task text not null default 'churn';
alter table ml.missing_features alter column task drop default,
    drop constraint missing_features_pkey, add primary key (company_id, task, as_of_date);

alter table ml.explained_parts rename column customer_id to entity_id;
alter table ml.explained_parts add column task text not null default 'churn';
alter table ml.explained_parts alter column task drop default,
    drop constraint explained_parts_pkey, add primary key (company_id, task, entity_id);

alter table ml.score_moves rename column customer_id to entity_id;
alter table ml.score_moves add column task text not null default 'churn';
alter table ml.score_moves alter column task drop default,
    drop constraint score_moves_pkey, add primary key (company_id, task, as_of_date, entity_id);

alter table ml.publication_gates add column task text not null default 'churn';
alter table ml.publication_gates alter column task drop default;
drop index ml.publication_gates_by_company;
create index publication_gates_by_company on ml.publication_gates (company_id, task, as_of_date, staged_at);

alter table ml.held_flips drop constraint held_flips_company_id_as_of_date_fkey;
alter table ml.publication_holds add column task text not null default 'churn';
alter table ml.publication_holds alter column task drop default,
    drop constraint publication_holds_pkey, add primary key (company_id, task, as_of_date);
alter table ml.held_flips rename column customer_id to entity_id;
alter table ml.held_flips add column task text not null default 'churn';
alter table ml.held_flips alter column task drop default,
    drop constraint held_flips_pkey, add primary key (company_id, task, as_of_date, entity_id),
    add foreign key (company_id, task, as_of_date) references ml.publication_holds on delete cascade;

alter table ml.shadow_scores rename column customer_id to entity_id;
alter table ml.shadow_scores add column task text not null default 'churn';
alter table ml.shadow_scores alter column task drop default,
    drop constraint shadow_scores_pkey, add primary key (company_id, task, as_of_date, model_version, entity_id);

alter table ml.score_grades rename column customer_id to entity_id;

alter table ml.evaluations add column task text not null default 'churn';
alter table ml.evaluations alter column task drop default;

drop index ml.promotions_by_company;
create index promotions_by_company on ml.promotions (company_id, task, promotion_id desc);

alter table ml.feature_proofs
    add column task text not null default 'churn',
    add column matrix_version text;
update ml.feature_proofs set matrix_version = feature_version;
alter table ml.feature_proofs alter column task drop default, alter column matrix_version set not null;
comment on column ml.feature_proofs.task is 'The task whose matrix was proven: its population and its features.';
comment on column ml.feature_proofs.matrix_version is 'The version of the features below the task''s matrix.';

update ml.feature_drift set feature = 'probability' where feature = 'churn_probability';
update ml.drift_references
set profile = replace(profile::text, '"churn_probability"', '"probability"')::jsonb
where profile::text like '%"churn_probability"%';
"""

COMMENTS = """
comment on column ml.{table}.task is 'What was predicted, ops.tasks.';
"""

ENTITY_COMMENTS = """
comment on column ml.{table}.entity_id is 'Whom or what it was predicted for; of churn, the customer.';
"""


def upgrade() -> None:
    _execute(TASKS)
    _execute(ML)
    entities = ("staged_scores", "explained_parts", "score_moves", "held_flips", "shadow_scores", "score_grades")
    others = ("missing_features", "publication_gates", "publication_holds", "evaluations")
    for table in (*entities, *others):
        _execute(COMMENTS.format(table=table))
    for table in entities:
        _execute(ENTITY_COMMENTS.format(table=table))


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: rows of other tasks than churn would be lost.")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl.replace("%", "%%"))
