"""ml_assets and warehouse do not know each other, and must mean the same tables."""

from ml_assets.task import CHURN
from warehouse import relations


def test_the_churn_task_names_the_relations_that_the_feature_store_reads() -> None:
    assert CHURN.feature_relation == str(relations.CHURN_FEATURE_MATRIX)
    assert CHURN.label_relation == str(relations.CHURN_LABELS)
