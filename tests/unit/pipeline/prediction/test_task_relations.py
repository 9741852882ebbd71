"""ml_assets and warehouse do not know each other, and must mean the same tasks and tables; so must dbt."""

from pathlib import Path

import pytest

from pipeline.prediction.tasks import CONTRACTS, CUSTOMER_TASKS, TASKS, TaskBinding, UnknownTask, task_named

MODELS = Path(__file__).parents[4] / "dbt_project" / "models" / "tasks"


def test_the_churn_task_names_the_relations_that_the_feature_store_reads() -> None:
    churn = task_named("churn").relations
    assert str(churn.matrix) == "features.churn_feature_matrix"
    assert str(churn.labels) == "features.churn_labels"
    assert str(churn.label_versions) == "features.churn_label_versions"


@pytest.mark.parametrize("binding", TASKS, ids=lambda binding: binding.name)
def test_a_task_is_called_the_same_where_it_is_learned_published_and_built(binding: TaskBinding) -> None:
    assert binding.name == binding.task.name == binding.relations.name == binding.relations.contract.task
    assert binding.task.entity == binding.relations.contract.entity
    relations = (binding.relations.matrix, binding.relations.labels, binding.relations.label_versions)
    assert [relation.schema for relation in relations] == ["features"] * 3
    missing = [
        relation.name for relation in relations if not (MODELS / binding.name / f"{relation.name}.sql").is_file()
    ]
    assert missing == []


def test_each_task_is_there_once_and_is_found_by_its_name() -> None:
    names = [binding.name for binding in TASKS]
    assert len(set(names)) == len(names)
    assert [task_named(name) for name in names] == list(TASKS)
    assert [contract.task for contract in CONTRACTS] == names
    assert [task.name for task in CUSTOMER_TASKS] == [each.name for each in TASKS if each.task.entity == "customer"]
    with pytest.raises(UnknownTask, match=f"There is no task 'chrun'; there are {', '.join(names)}"):
        task_named("chrun")
