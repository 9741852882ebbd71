"""Every asset key, group and owner. No other file spells one."""

import dagster as dg


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
    analytics = "7_analytics"
    dashboards = "8_dashboards"
    messages = "8_messages"
    proofs = "9_proofs"
    guards = "9_guards"


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
EXCHANGE_RATES = dg.AssetKey(["ops", "exchange_rates"])
SYNC_CURSORS = dg.AssetKey(["ops", "sync_cursors"])
LOAD_LOG = dg.AssetKey(["ops", "load_log"])
RUN_LOG = dg.AssetKey(["ops", "run_log"])

FEATURE_MATRIX = dbt_model("features", "churn_feature_matrix")
LABELS = dbt_model("features", "churn_labels")
LABEL_VERSIONS = dbt_model("features", "churn_label_versions")

TRAINING_RUNS = dg.AssetKey(["ml", "training_runs"])
EVALUATIONS = dg.AssetKey(["ml", "evaluations"])
PROMOTIONS = dg.AssetKey(["ml", "promotions"])
SHADOW_SCORES = dg.AssetKey(["ml", "shadow_scores"])
FEATURE_PROOFS = dg.AssetKey(["ml", "feature_proofs"])
SCORE_GRADES = dg.AssetKey(["ml", "grades"])
SHADOW_GRADES = dg.AssetKey(["ml", "shadow_grades"])
FEATURE_DRIFT = dg.AssetKey(["ml", "feature_drift"])
PUBLICATION_HOLDS = dg.AssetKey(["ml", "publication_holds"])
HELD_FLIPS = dg.AssetKey(["ml", "held_flips"])
REPLAYS = dg.AssetKey(["ml", "replays"])
STAGED_SCORES = dg.AssetKey(["ml", "staged_scores"])
SCORE_MOVES = dg.AssetKey(["ml", "score_moves"])

SCORES = dg.AssetKey(["predictions", "churn_scores"])
PUBLICATIONS = dg.AssetKey(["predictions", "churn_publications"])
CHANGES = dg.AssetKey(["predictions", "churn_changes"])

METABASE_DASHBOARDS = dg.AssetKey(["metabase", "dashboards"])
MESSAGES = dg.AssetKey(["ops", "notifications"])
CANARIES = dg.AssetKey(["ops", "canaries"])


def is_external(key: dg.AssetKey) -> bool:
    """Whether no asset makes it: a CRM's table, the registry and the rates that people edit, the log of every stage."""
    return key.path[0] == "crm" or key in {COMPANIES, EXCHANGE_RATES, RUN_LOG}
