"""Every asset key, group and owner. No other file spells one."""

from dataclasses import dataclass

import dagster as dg

from pipeline.prediction import tasks as prediction_tasks
from warehouse.prediction.task_relations import TaskRelations
from warehouse.relations import Relation


class Group:
    """Asset groups, numbered so that Dagster's UI lists them in the order data flows.

    Plain strings: Dagster sends them to its UI and serialises no enum of ours.
    """

    crm = "1_crm"
    raw = "2_raw"
    staging = "3_staging"
    features = "4_features"
    models = "5_models"
    watching = "5_watching"
    predictions = "6_predictions"
    decisions = "6_decisions"
    analytics = "7_analytics"
    dashboards = "8_dashboards"
    messages = "8_messages"
    proofs = "9_proofs"
    guards = "9_guards"
    backups = "9_backups"


class Owner:
    """Who is told when an asset fails."""

    operations = "team:operations"
    analytics_engineering = "team:analytics-engineering"
    data_science = "team:data-science"


def crm(entity: str) -> dg.AssetKey:
    """A table in a company's CRM."""
    return dg.AssetKey(["crm", entity])


def raw(entity: str) -> dg.AssetKey:
    """The version log of a CRM table."""
    return dg.AssetKey(["raw", entity])


def dbt_model(layer: str, name: str) -> dg.AssetKey:
    """A dbt model, by the schema it is built in."""
    return dg.AssetKey([layer, name])


REJECTED_RECORDS = dg.AssetKey(["raw", "rejected_records"])

COMPANIES = dg.AssetKey(["ops", "companies"])
COMPANY_TASKS = dg.AssetKey(["ops", "company_tasks"])
EXCHANGE_RATES = dg.AssetKey(["ops", "exchange_rates"])
SYNC_CURSORS = dg.AssetKey(["ops", "sync_cursors"])
LOAD_LOG = dg.AssetKey(["ops", "load_log"])
RUN_LOG = dg.AssetKey(["ops", "run_log"])

FEATURE_PROOFS = dg.AssetKey(["ml", "feature_proofs"])
CUSTOMERS_STANDING = dg.AssetKey(["intermediate", "int_customers__standing"])
CONTROL_GROUPS = dg.AssetKey(["ml", "control_groups"])
DECISIONS = dg.AssetKey(["predictions", "decisions"])
CUSTOMER_FEATURES = dg.AssetKey(["features", "customer_features"])


@dataclass(frozen=True)
class TaskKeys:
    """The keys of one task's assets."""

    relations: TaskRelations

    @property
    def feature_matrix(self) -> dg.AssetKey:
        """What its models learn from and score."""
        return _relation(self.relations.matrix)

    @property
    def labels(self) -> dg.AssetKey:
        """What came of each row of the matrix."""
        return _relation(self.relations.labels)

    @property
    def times(self) -> dg.AssetKey:
        """When each outcome came, whatever the horizon."""
        return _relation(self.relations.times)

    @property
    def label_versions(self) -> dg.AssetKey:
        """What each label said, and when that was known."""
        return _relation(self.relations.label_versions)

    @property
    def scores(self) -> dg.AssetKey:
        """What is published."""
        return _relation(self.relations.contract.scores)

    @property
    def publications(self) -> dg.AssetKey:
        """Which sets were published."""
        return _relation(self.relations.contract.publications)

    @property
    def changes(self) -> dg.AssetKey:
        """The change feed."""
        return _relation(self.relations.contract.changes)

    def ml(self, table: str) -> dg.AssetKey:
        """The task's rows of a table of schema ml."""
        return dg.AssetKey(["ml", f"{self.relations.name}_{table}"])


TASK_TABLES = (
    *("training_runs", "evaluations", "promotions", "shadow_scores", "grades", "shadow_grades", "feature_drift"),
    *("publication_holds", "held_flips", "replays", "staged_scores", "score_moves"),
    *("track_record", "track_record_months", "track_record_grades"),
)
"""The tables of ml that each task writes its own rows of, an asset per task."""

TASKS = {binding.name: TaskKeys(binding.relations) for binding in prediction_tasks.TASKS}


def shared(table: str) -> dg.AssetKey:
    """A table of ml as dbt's sources call it, with the rows of all tasks."""
    return dg.AssetKey(["ml", table])


def of_all_tasks(table: str) -> list[dg.AssetKey]:
    """A table of ml, an asset per task."""
    return [task.ml(table) for task in TASKS.values()]


def _relation(relation: Relation) -> dg.AssetKey:
    return dg.AssetKey([relation.schema, relation.name])


METABASE_DASHBOARDS = dg.AssetKey(["metabase", "dashboards"])
MESSAGES = dg.AssetKey(["ops", "notifications"])
CANARIES = dg.AssetKey(["ops", "canaries"])
BACKUPS = dg.AssetKey(["ops", "backups"])


def is_external(key: dg.AssetKey) -> bool:
    """Whether no asset makes it: a CRM's table, the registry and the rates that people edit, the log of every stage."""
    return key.path[0] == "crm" or key in {COMPANIES, COMPANY_TASKS, EXCHANGE_RATES, RUN_LOG}
