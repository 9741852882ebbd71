"""A score's range, evidence and families; what its parts were, and why it moved since the score before.

Revision 0009. New columns of the published scores stand at the end and are null in scores of before.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

COLUMNS = """
alter table {table}
    add column probability_low double precision,
    add column probability_high double precision,
    add column families jsonb,
    add column evidence jsonb;
"""

CHECKS = """
alter table predictions.churn_scores_v1
    add constraint churn_scores_range_check
        check (probability_low <= churn_probability and churn_probability <= probability_high),
    add constraint churn_scores_families_check check (jsonb_typeof(families) = 'object'),
    add constraint churn_scores_evidence_check check (jsonb_typeof(evidence) = 'object');
"""

PUBLISHED = (
    "company_id",
    "customer_id",
    "as_of_date",
    "churn_probability",
    "risk_level",
    "percentile",
    "baseline_log_odds",
    "reasons",
    "model_version",
    "evidence_level",
    "row_hash",
    "scored_at",
    "probability_low",
    "probability_high",
    "families",
    "evidence",
)

CURRENT = """
create or replace view predictions.churn_current_v1 with (security_invoker = true) as
select {columns}
from predictions.churn_scores_v1 as scores
inner join (
    select company_id, max(as_of_date) as as_of_date
    from predictions.churn_publications_v1
    group by company_id
) as newest_publications
    on newest_publications.company_id = scores.company_id and newest_publications.as_of_date = scores.as_of_date
"""

COMMENTS = {
    "probability_low": "Low end of the 95 percent range of churn_probability, by the data behind the score.",
    "probability_high": "High end of that range. Both are null in scores made before ranges were.",
    "families": (
        "Object from each family of features to the sum of its contributions, in log-odds: with baseline_log_odds "
        "they add up as the reasons do."
    ),
    "evidence": (
        "Object {customers, outcomes, is_thin}: how many customers the score was learned from, how many of them "
        "churned, and whether that is too little to act on."
    ),
}

EXPLAINED_PARTS = """
create table ml.explained_parts (
    company_id int not null,
    customer_id text not null,
    model_version text not null,
    signature bigint not null,
    parts bytea not null,
    primary key (company_id, customer_id)
);
comment on table ml.explained_parts is
    'The parts of each customer''s newest explained score, float64 in the order of the model''s features. The same '
    'model and signature (where the features fall between the model''s splits) have the same parts.';

grant select, insert, update, delete on ml.explained_parts to churn_ml;
grant select on ml.explained_parts to churn_operator;
"""

SCORE_MOVES = """
create table ml.score_moves (
    company_id int not null,
    customer_id text not null,
    as_of_date date not null,
    previous_as_of_date date not null check (previous_as_of_date < as_of_date),
    model_version text not null,
    previous_model_version text not null,
    previous_probability double precision not null,
    log_odds_change double precision not null,
    behaviour double precision not null,
    model double precision not null,
    correction double precision not null,
    main_feature text,
    main_feature_change double precision,
    primary key (company_id, as_of_date, customer_id),
    check (abs(log_odds_change - behaviour - model - correction) < 1e-9)
);
comment on table ml.score_moves is
    'Why a score differs from the one that was published before it, in log-odds. Customers whose score did not move '
    'have no row.';
comment on column ml.score_moves.behaviour is 'The features moved: the earlier model on the new and on the old date.';
comment on column ml.score_moves.model is 'Another model: both models on the new date''s features.';
comment on column ml.score_moves.correction is
    'The data of the earlier date are others today: the earlier model on them, against what was published.';
comment on column ml.score_moves.main_feature is
    'The feature whose part moved most; null where a new model, or a correction, hides it.';

grant select, insert, delete on ml.score_moves to churn_ml;
grant select on ml.score_moves to churn_operator;
"""


def upgrade() -> None:
    for table in ("predictions.churn_scores_v1", "ml.staged_scores"):
        _execute(COLUMNS.format(table=table))
    _execute(CHECKS)
    _execute(CURRENT.format(columns=", ".join(f"scores.{column}" for column in PUBLISHED)))
    for name in ("churn_scores", "churn_current"):
        _execute(
            f"create or replace view predictions.{name} with (security_invoker = true) as"  # noqa: S608 - our own names
            f" select {', '.join(PUBLISHED)} from predictions.{name}_v1"
        )
    for relation in ("churn_scores_v1", "churn_current_v1", "churn_scores", "churn_current"):
        for column, text in COMMENTS.items():
            _execute(f"comment on column predictions.{relation}.{column} is '{text}'")
    _execute(EXPLAINED_PARTS)
    _execute(SCORE_MOVES)


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead: ranges and moves would be lost.")


def _execute(ddl: str) -> None:
    op.get_bind().exec_driver_sql(ddl)
