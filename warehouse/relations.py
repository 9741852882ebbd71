"""Every table and view that Python touches, named once."""

from __future__ import annotations

from typing import LiteralString, NamedTuple

from psycopg import sql


class Relation(NamedTuple):
    """A table or view by schema and name."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name, to compose SQL with."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


COMPANIES = Relation("ops", "companies")
COMPANY_TASKS = Relation("ops", "company_tasks")
TASKS = Relation("ops", "tasks")
COMPANY_ACTIONS = Relation("ops", "company_actions")
QUARANTINES = Relation("ops", "quarantines")
COMPANIES_AT_WORK = Relation("ops", "companies_at_work")
SYNC_CURSORS = Relation("ops", "sync_cursors")
LOAD_LOG = Relation("ops", "load_log")
RUN_LOG = Relation("ops", "run_log")
AUDIT_LOG = Relation("ops", "audit_log")
NOTIFICATIONS = Relation("ops", "notifications")
NOTIFIED_ALERTS = Relation("ops", "notified_alerts")
ERASURE_KEY = Relation("ops", "erasure_key")
ERASURES = Relation("ops", "erasures")
WITHHELD_RECORDS = Relation("ops", "withheld_records")
CANARIES = Relation("ops", "canaries")
MIGRATIONS = Relation("ops", "alembic_version")
API_KEYS = Relation("ops", "api_keys")
API_USE = Relation("ops", "api_use")
DEVELOPERS = Relation("ops", "developers")
DEVELOPER_COMPANIES = Relation("ops", "developer_companies")
WRITE_KEYS = Relation("ops", "write_keys")
COLLECTED_EVENTS = Relation("ops", "collected_events")

RAW_CUSTOMERS = Relation("raw", "customers")
RAW_TICKETS = Relation("raw", "tickets")
RAW_PAYMENTS = Relation("raw", "payments")
RAW_EVENTS = Relation("raw", "events")
TRACKED_EVENTS = Relation("raw", "tracked_events")
RAW_CAMPAIGNS = Relation("raw", "campaigns")
RAW_SENDS = Relation("raw", "sends")
REJECTED_RECORDS = Relation("raw", "rejected_records")

CUSTOMER_FEATURES = Relation("features", "customer_features")
CUSTOMER_FEATURE_MATRIX = Relation("features", "customer_feature_matrix")
FEATURE_CATALOGUE = Relation("features", "feature_catalogue")
COMPANY_CLOCKS = Relation("intermediate", "int_companies__clocks")
CUSTOMERS_SEGMENTS = Relation("intermediate", "int_customers__segments")
CUSTOMERS_STANDING = Relation("intermediate", "int_customers__standing")

TRAINING_RUNS = Relation("ml", "training_runs")
EVALUATIONS = Relation("ml", "evaluations")
PROMOTIONS = Relation("ml", "promotions")
SHADOW_SCORES = Relation("ml", "shadow_scores")
SHADOW_GRADES = Relation("ml", "shadow_grades")
FEATURE_PROOFS = Relation("ml", "feature_proofs")
STAGED_SCORES = Relation("ml", "staged_scores")
MISSING_FEATURES = Relation("ml", "missing_features")
EXPLAINED_PARTS = Relation("ml", "explained_parts")
SCORE_MOVES = Relation("ml", "score_moves")
PUBLICATION_GATES = Relation("ml", "publication_gates")
PUBLICATION_HOLDS = Relation("ml", "publication_holds")
HELD_FLIPS = Relation("ml", "held_flips")
SCORE_GRADES = Relation("ml", "score_grades")
GRADES = Relation("ml", "grades")
DRIFT_REFERENCES = Relation("ml", "drift_references")
FEATURE_DRIFT = Relation("ml", "feature_drift")
TRACK_RECORD = Relation("ml", "track_record")
TRACK_RECORD_MONTHS = Relation("ml", "track_record_months")
TRACK_RECORD_GRADES = Relation("ml", "track_record_grades")
CUSTOMER_VALUES = Relation("ml", "customer_values")
VALUE_THRESHOLDS = Relation("ml", "value_thresholds")
SEGMENT_MOVES = Relation("ml", "segment_moves")
PROGRAMMES = Relation("ml", "programmes")
CONTROL_GROUPS = Relation("ml", "control_groups")
ENROLMENTS = Relation("ml", "enrolments")
PROGRAMME_PLANS = Relation("ml", "programme_plans")
UPLIFT_LEDGER = Relation("ml", "uplift_ledger")

DECISION_TABLES = tuple(
    Relation("predictions", name)
    for name in (
        *("decisions_v1", "decisions_publications_v1", "decisions_changes_v1"),
        *("decisions_cursors_v1", "decisions_sent_v1"),
    )
)
"""What is written where readers see decisions."""
DECISION_VIEWS = tuple(
    Relation("predictions", name)
    for name in (
        *("decisions", "decisions_current", "decisions_publications", "decisions_changes"),
        *("decisions_snapshot", "decisions_cursors", "decisions_current_v1", "decisions_snapshot_v1"),
    )
)

CUSTOMER_OVERVIEW = Relation("analytics", "customer_overview")
CHURNED_CUSTOMERS = Relation("analytics", "churned_customers")

MLFLOW_SCHEMA = "mlflow"
DAGSTER_SCHEMA = "dagster"

ENTITY_RELATIONS = {
    "customers": RAW_CUSTOMERS,
    "tickets": RAW_TICKETS,
    "payments": RAW_PAYMENTS,
    "events": RAW_EVENTS,
    "campaigns": RAW_CAMPAIGNS,
    "sends": RAW_SENDS,
}
"""The raw version log of each entity of the CRM contract."""

_BY_NAME = {relation.name: relation.identifier for relation in list(vars().values()) if isinstance(relation, Relation)}


def compose(text: LiteralString, **more: sql.Composable) -> sql.Composed:
    """SQL that names relations of this page in braces, without their schema: ``select * from {staged_scores}``.

    ``more`` gives further names, which go before.
    """
    return sql.SQL(text).format(**{**_BY_NAME, **more})
