"""What else is told of scores: why one moved, what was decided, how such scores did, and how the model is.

As a company's own login, as in `warehouse.publication.served`.
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

# Moves are kept of churn alone.
_MOVE: LiteralString = """
    select previous_as_of_date, previous_probability, previous_model_version, main_cause, main_feature,
        main_feature_label, move_text as text, log_odds_change, behaviour, model, correction
    from analytics.score_moves
    where company_id = %s and customer_id = %s and as_of_date = %s and model_version = %s and %s = 'churn'
"""

# Decisions rest on churn alone.
_DECISION: LiteralString = """
    select as_of_date, action, is_control, propensity, net_value_low, net_value, net_value_high, cost, rests_on,
        decided_on, reasons, value_segment, expected_value, expected_low, expected_high, value_at_risk
    from predictions.decisions_current
    where company_id = %s and customer_id = %s and %s = 'churn'
"""

_GRADES: LiteralString = """
    select scores, customers, outcomes, promised, kept, kept_low, kept_high, auc, auc_low, auc_high, log_loss,
        calibration_error, lift_top_decile, is_kept, false as is_replayed
    from analytics.score_grades
    where company_id = %(company)s and task = %(task)s
        and segment = 'all' and model_version = 'all' and evidence_level = 'all'
    union all
    select scores, customers, outcomes, promised, kept, kept_low, kept_high, auc, auc_low, auc_high, log_loss,
        calibration_error, lift_top_decile, is_kept, true
    from analytics.track_record
    where company_id = %(company)s and task = %(task)s
    order by is_replayed
"""

_EVENTS: LiteralString = """
    select happened_at, event, model_version, previous_model_version, cause, status, evidence_level, decision, auc,
        auc_low, auc_high, log_loss
    from analytics.model_history where company_id = %s and task = %s order by happened_at desc, event_id limit %s
"""

_DRIFT: LiteralString = """
    select feature, label, as_of_date, model_version, psi, importance, share_missing, share_missing_in_training,
        is_drifted
    from analytics.feature_drift
    where company_id = %(company)s and task = %(task)s
        and as_of_date = (
            select max(as_of_date) from analytics.feature_drift where company_id = %(company)s and task = %(task)s
        )
    order by is_drifted desc nulls last, psi desc nulls last, feature
    limit 500
"""


def move_of(connection: Connection, company_id: int, task: str, score: Row) -> Row | None:
    """Why this score is another than the one published before; None where it is the first, or nothing is said."""
    asked = [company_id, score["customer_id"], score["as_of_date"], score["model_version"], task]
    return next(iter(_rows(connection, _MOVE, asked)), None)


def decision_of(connection: Connection, company_id: int, customer_id: str, task: str) -> Row | None:
    """What was decided for the customer; None where the company has no actions, and of tasks other than churn."""
    return next(iter(_rows(connection, _DECISION, [company_id, customer_id, task])), None)


def grades_of(connection: Connection, company_id: int, task: str) -> list[Row]:
    """How the company's published scores of the task did, then how the replayed ones would have; either may lack."""
    return _rows(connection, _GRADES, {"company": company_id, "task": task})


def model_events(connection: Connection, company_id: int, task: str, most: int) -> list[Row]:
    """Trainings and changes of champion, the newest first."""
    return _rows(connection, _EVENTS, [company_id, task, most])


def drift_of(connection: Connection, company_id: int, task: str) -> list[Row]:
    """How far each feature of the newest measured date is from what the model learned from."""
    return _rows(connection, _DRIFT, {"company": company_id, "task": task})


def customer_is_known(connection: Connection, company_id: int, customer_id: str) -> bool:
    """Whether the company has such a customer."""
    query = "select from analytics.customer_overview where company_id = %s and customer_id = %s"
    return connection.execute(query, [company_id, customer_id]).fetchone() is not None


def _rows(connection: Connection, query: LiteralString, asked: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, asked).fetchall()
