"""What Dagster's server loads: keys, lineage, jobs, schedules and checks, asserted on the real definitions."""

import warnings
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import deserialize_value, serialize_value

from orchestration import keys
from pipeline.features.dbt import profiles_directory
from tests.conftest import TestServer
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns, warehouse_for_a_module
from warehouse.settings import load_settings

pytestmark = pytest.mark.xdist_group("definitions")

CHURN = keys.TASKS["churn"]


@pytest.fixture(scope="module")
def repository(
    postgres: TestServer, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.RepositoryDefinition]:
    """The definitions over the dbt project as dbt reads it."""
    with warehouse_for_a_module(postgres, template_database) as warehouse, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHURN_HOME", str(tmp_path_factory.mktemp("definitions")))
        patch.setenv("CHURN_DATABASE_URL", warehouse.url())
        settings = load_settings()
        warehouse.write_dbt_profile(profiles_directory(settings))
        DbtRuns(PROJECT, profiles_directory(settings)).parse()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from orchestration.definitions import defs

            yield defs().get_repository_def()


def _ancestors(repository: dg.RepositoryDefinition, key: dg.AssetKey) -> set[dg.AssetKey]:
    graph = repository.asset_graph
    ancestors: set[dg.AssetKey] = set()
    waiting = [key]
    while waiting:
        for parent in graph.get(waiting.pop()).parent_keys - ancestors:
            ancestors.add(parent)
            waiting.append(parent)
    return ancestors


def test_no_asset_depends_on_a_key_that_nothing_makes(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    made_by_nobody = [
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if not graph.get(key).is_materializable and not keys.is_external(key)
    ]
    assert made_by_nobody == []


def test_lineage_runs_from_the_crm_to_the_published_scores_and_the_dashboards(
    repository: dg.RepositoryDefinition,
) -> None:
    for task in keys.TASKS.values():
        behind_scores = _ancestors(repository, task.scores)
        assert {keys.crm(entity) for entity in ("customers", "tickets", "payments")} <= behind_scores
        assert task.feature_matrix in behind_scores
        assert not any(key.path[0] == "analytics" for key in behind_scores)
    assert CHURN.scores in _ancestors(repository, keys.METABASE_DASHBOARDS)


def test_features_depend_on_neither_labels_nor_predictions(repository: dg.RepositoryDefinition) -> None:
    labels = {task.labels for task in keys.TASKS.values()}
    for task in keys.TASKS.values():
        behind_features = _ancestors(repository, task.feature_matrix)
        assert not labels & behind_features
        assert not [key for key in behind_features if key.path[0] in {"predictions", "ml"}]


def test_every_asset_has_a_group_an_owner_and_a_description(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    groups = {value for name, value in vars(keys.Group).items() if not name.startswith("_")}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name in groups, key
        assert node.owners, key
        assert node.description, key
        assert [tag for tag in node.tags if tag.startswith("dagster/kind/")], f"{key} has no kind"


def test_every_asset_that_we_build_is_expected_at_some_time(repository: dg.RepositoryDefinition) -> None:
    specs = [spec for definition in repository.assets_defs_by_key.values() for spec in definition.specs]
    never_due = {spec.key for spec in specs if not spec.freshness_policy and not keys.is_external(spec.key)}
    assert never_due == {*keys.of_all_tasks("replays")}, "nobody replays but after an outage"


def test_work_over_companies_and_over_dates_runs_as_one_run(repository: dg.RepositoryDefinition) -> None:
    for definition in repository.assets_defs_by_key.values():
        if definition.partitions_def is not None and definition.is_executable:
            assert definition.backfill_policy == dg.BackfillPolicy.single_run(), definition.key
    backfill = repository.get_job("backfill_dates")
    assert [node.name for node in backfill.nodes] == ["dbt_models"]


def test_a_person_finds_a_job_for_each_thing_and_its_words(repository: dg.RepositoryDefinition) -> None:
    wanted = {"onboard_company", "backfill_dates", "train", "republish", "notify", "replay"}
    for name in wanted:
        assert repository.get_job(name).description, name


def test_the_server_can_send_them_to_its_ui(repository: dg.RepositoryDefinition) -> None:
    snapshot = RepositorySnap.from_def(repository)
    assert deserialize_value(serialize_value(snapshot), RepositorySnap).name == snapshot.name


def test_companies_are_one_partition_set(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    of_tasks = [key for task in keys.TASKS.values() for key in (task.ml("training_runs"), task.ml("staged_scores"))]
    for key in (keys.raw("customers"), *of_tasks, *(task.scores for task in keys.TASKS.values())):
        definition = graph.get(key).partitions_def
        assert isinstance(definition, dg.DynamicPartitionsDefinition)
        assert definition.name == "company"


@pytest.mark.parametrize(("job", "starts"), [("sync_and_score", 2), ("score", 2), ("train", 1), ("onboard_company", 2)])
def test_a_job_starts_dbt_so_many_times_and_no_more(repository: dg.RepositoryDefinition, job: str, starts: int) -> None:
    steps = [node.name for node in repository.get_job(job).nodes]
    assert len([name for name in steps if name.startswith("dbt_models")]) == starts


def test_jobs_and_schedules_are_those_of_the_guide(repository: dg.RepositoryDefinition) -> None:
    jobs = {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    assert jobs == {"sync_and_score", "sync", "train", "score", "prove", "guard", "backup", "replay"} | {
        "onboard_company",
        "backfill_dates",
        "republish",
        "notify",
    }
    schedules = {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs}
    assert schedules == {
        "sync_hourly": "10 * * * *",
        "sync_and_score_daily": "30 0 * * *",
        "train_weekly": "30 4 * * 0",
        "prove_weekly": "30 3 * * 6",
        "guard_daily": "30 5 * * *",
        "backup_daily": "0 3 * * *",
        "notify_hourly": "40 * * * *",
    }


def test_a_changed_feature_marks_the_matrix_and_the_training_as_out_of_date(
    repository: dg.RepositoryDefinition,
) -> None:
    """Dagster holds what made an asset against the code as it is; both go by the matrix's SQL."""
    graph = repository.asset_graph
    for task in keys.TASKS.values():
        trained, judged, matrix = (
            graph.get(key).code_version
            for key in (task.ml("training_runs"), task.ml("evaluations"), task.feature_matrix)
        )
        assert matrix is not None
        assert trained == judged == matrix


def test_proofs_are_a_job_of_their_own(repository: dg.RepositoryDefinition) -> None:
    assert [node.name for node in repository.get_job("prove").nodes] == ["ml__feature_proofs"]
    assert "ml__feature_proofs" not in [node.name for node in repository.get_job("sync_and_score").nodes]


def test_a_backup_is_no_part_of_the_line_and_its_age_is_looked_at_daily(repository: dg.RepositoryDefinition) -> None:
    assert [node.name for node in repository.get_job("backup").nodes] == ["ops__backups"]
    assert "ops__backups_newest_is_young" in [node.name for node in repository.get_job("guard").nodes]
    assert not [node.name for node in repository.get_job("sync_and_score").nodes if "backup" in node.name]


def test_the_gate_before_publishing_blocks(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    for staged in keys.of_all_tasks("staged_scores"):
        assert graph.get(dg.AssetCheckKey(staged, "publishable")).blocking


def test_dbt_tests_and_reconciliation_are_checks(repository: dg.RepositoryDefinition) -> None:
    checks = {(check.asset_key, check.name) for check in repository.asset_graph.asset_check_keys}
    assert (keys.raw("payments"), "reconciled") in checks
    assert (keys.LOAD_LOG, "every_company_is_fresh") in checks
    assert [name for key, name in checks if key == keys.dbt_model("features", "churn_labels")]
