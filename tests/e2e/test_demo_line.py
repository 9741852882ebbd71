"""The whole line by the command that the README names: a CRM over HTTP to published scores, twice, and a day later.

The tests of this module tell one story and run in order on one warehouse.
"""

import json
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from scipy.stats import spearmanr

from tests.e2e.churn_home import ChurnHome
from tests.e2e.recorded_scores import PUBLISHED, assert_published_as_recorded, recorded_scores
from tests.integration.company_folders import put_secret

pytestmark = pytest.mark.xdist_group("demo")

COMPANIES = ("brightdesk", "marketlane", "seedling")
DOCS = Path(__file__).parents[2] / "docs"
FIRST_DAY = date(2026, 10, 1)
EVERYTHING_PUBLISHED = (
    "select company_id, as_of_date, customer_id, churn_probability, reasons::text from predictions.churn_scores"
    " order by 1, 2, 3"
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> ChurnHome:
    """The demo, run once on a few hundred customers."""
    return ChurnHome(tmp_path_factory.mktemp("demo") / "home")


@pytest.fixture(scope="module")
def first_run(line: ChurnHome) -> subprocess.CompletedProcess[str]:
    done = line.churn("demo", "run", "--customers", "700")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def kept_up(line: ChurnHome, first_run: subprocess.CompletedProcess[str]) -> Iterator[None]:
    """The server running between the commands, as an operator may leave it; before this each started and stopped it."""
    up = line.churn("up")
    assert up.returncode == 0, up.stderr
    yield
    line.churn("down", "--force")


def _matrix(line: ChurnHome, day: date) -> list[tuple[Any, ...]]:
    return line.ask(
        "select to_jsonb(matrix) from features.churn_feature_matrix as matrix where as_of_date <= %s"
        " order by company_id, as_of_date, customer_id",
        day,
    )


def _trainings(line: ChurnHome) -> list[tuple[Any, ...]]:
    """Of each demo company: how many trainings of churn it had, and whether one failed."""
    return line.ask(
        "select slug, count(*), bool_or(status = 'failed') from ml.training_runs"
        " inner join ops.companies using (company_id) where task = 'churn' and slug = any(%s) group by 1 order by 1",
        list(COMPANIES),
    )


def test_one_command_ends_with_a_summary_that_a_newcomer_understands(
    first_run: subprocess.CompletedProcess[str],
) -> None:
    for phrase in (
        *("Rows pulled", "Churn: model quality", "Churn: customers by risk", "Churn: the five most at risk"),
        *("Support: customers by risk", "What to do next"),
    ):
        assert phrase in first_run.stdout
    for company in COMPANIES:
        assert company in first_run.stdout


def test_it_leaves_no_process_behind(line: ChurnHome, first_run: subprocess.CompletedProcess[str]) -> None:
    assert line.processes() == []


def test_the_warehouse_holds_what_the_crm_says_it_has(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    loads = line.ask("select source_live, warehouse_live, rejected, is_backfill from ops.load_log")
    assert len(loads) == 12
    assert all(is_backfill and source - warehouse <= rejected for source, warehouse, rejected, is_backfill in loads)


def test_every_active_customer_has_one_score_and_its_reasons_add_up(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    scored, active = line.ask(
        "select (select count(*) from predictions.churn_current),"
        " (select count(*) from features.churn_feature_matrix where as_of_date = %s)",
        FIRST_DAY,
    )[0]
    assert scored == active > 0
    (worst,) = line.ask(
        """
        select max(abs(baseline_log_odds + parts.total - ln(churn_probability / (1 - churn_probability))))
        from predictions.churn_current
        cross join lateral (
            select sum((reason ->> 'contribution')::double precision) as total
            from jsonb_array_elements(reasons) as reason
            union all
            select sum(value::double precision) from jsonb_each_text(families)
        ) as parts
        """
    )[0]
    assert worst < 1e-6
    (outside,) = line.ask(
        "select count(*) from predictions.churn_current where evidence ->> 'is_thin' is null"
        " or not (probability_low <= churn_probability and churn_probability <= probability_high)"
    )[0]
    assert outside == 0


def test_the_published_set_is_the_recorded_one_in_the_order_of_the_release_before(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    """Of the companies whose churn means what it did in 0.1.0. Its order, not its values: since then what publishes has
    learned from every mature date, and the level rests on all of them."""
    recorded, before = (recorded_scores(release) for release in ("0_2_0", "0_1_0"))
    assert_published_as_recorded(line.ask(PUBLISHED), recorded)
    for slug in ("brightdesk", "seedling"):
        now, then = (
            [float(row["churn_probability"]) for row in rows if row["slug"] == slug] for rows in (recorded, before)
        )
        assert spearmanr(now, then).statistic > 0.9, slug


def test_a_second_task_is_published_beside_churn_by_the_same_contract(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    scored, asked, companies = line.ask(
        "select count(*), count(*) filter (where support_probability between probability_low and probability_high),"
        " array_agg(distinct slug) from predictions.support_current inner join ops.companies using (company_id)"
    )[0]
    assert companies == ["brightdesk"]
    assert scored == asked > 0
    assert (
        scored
        == line.ask("select count(*) from features.support_feature_matrix where as_of_date = %s", FIRST_DAY)[0][0]
    )
    followed = line.ask("select count(*) from predictions.support_snapshot")
    assert followed == [(scored,)]
    graded = line.ask("select count(*) from ml.evaluations where task = 'support'")
    assert graded > [(0,)]


def test_every_published_reason_is_valid_by_the_contracts_schema_and_the_feed_holds_the_same_customers(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    schema = json.loads((DOCS / "reasons-v1.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for (reasons,) in line.ask("select reasons from predictions.churn_current"):
        validator.validate(reasons)
    scored, followed = line.ask(
        "select (select array_agg(customer_id order by company_id, customer_id) from predictions.churn_current),"
        " (select array_agg(customer_id order by company_id, customer_id) from predictions.churn_snapshot)"
    )[0]
    assert scored == followed


def test_each_company_stands_on_the_rung_that_its_data_carries(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    rungs = dict(
        line.ask(
            "select slug, rung from ml.training_runs inner join ops.companies using (company_id) where task = 'churn'"
        )
    )
    assert set(rungs) == set(COMPANIES)
    assert rungs["brightdesk"] == "own_model"
    assert rungs["seedling"] != "own_model"


def test_what_scores_rest_on_is_one_sentence_in_every_place_a_pools_too(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """As the run printed it, as the training and each score keep it, and on the card of the model."""
    printed = " ".join(first_run.stdout.split())
    places = line.ask(
        "select distinct slug, run.rung, run.decision ->> 'grounds', score.evidence ->> 'grounds'"
        " from ml.training_runs as run inner join ops.companies using (company_id)"
        " inner join predictions.churn_current as score using (company_id) where run.task = 'churn'"
    )
    assert {slug for slug, *_ in places} == set(COMPANIES)
    for slug, rung, trained, scored in places:
        assert trained == scored
        assert f"{slug}: {trained}" in printed
        card = tmp_path / f"{slug}.html"
        assert line.churn("model", "card", "--company", slug, "--output", str(card)).returncode == 0
        assert trained in " ".join(unescape(card.read_text()).split())
        assert slug != "seedling" or (rung, "the pool has" in trained) == ("pooled_model", True)


def test_the_marts_show_the_same_customers_as_the_scores(
    line: ChurnHome, first_run: subprocess.CompletedProcess[str]
) -> None:
    differences = line.ask(
        """
        select company_id, customer_id, churn_probability from predictions.churn_current
        except all
        select company_id, customer_id, churn_probability from analytics.customer_overview
        """
    )
    assert differences == []


def test_run_again_on_the_same_day_nothing_is_new_and_a_company_with_a_wrong_key_fails_alone_and_is_named(
    line: ChurnHome, kept_up: None, tmp_path: Path
) -> None:
    before = _matrix(line, FIRST_DAY)
    changes = line.ask("select count(*) from predictions.churn_changes")
    put_secret(line.home, "stranger", "key", "sesame-open-up")
    definition = tmp_path / "stranger.yaml"
    port = (line.home / "demo" / "port").read_text().strip()
    definition.write_text(
        f"""
        slug: stranger
        name: Stranger
        connector: habari_api
        connector_settings: {{base_url: "http://127.0.0.1:{port}", api_key: "file:key"}}
        churn_kind: cancellation
        currency: EUR
        """
    )
    assert line.churn("company", "add", str(definition)).returncode == 0

    again = line.churn("demo", "run")

    assert line.churn("company", "disable", "stranger").returncode == 0
    assert again.returncode == 1
    assert "stranger" in again.stderr
    assert "API key" in again.stderr
    assert not [name for name in COMPANIES if name in again.stderr]
    assert "sesame" not in again.stdout + again.stderr
    statuses = line.ask(
        "select slug, status from ops.run_log inner join ops.companies using (company_id) where stage = 'sync'"
        " order by run_log_id desc limit 4"
    )
    assert dict(statuses) == {**dict.fromkeys(COMPANIES, "succeeded"), "stranger": "failed"}
    assert line.ask("select sum(loaded) from ops.load_log where not is_backfill") == [(0,)]
    assert line.ask("select count(*) from predictions.churn_changes") == changes
    assert _trainings(line) == [(slug, 1, False) for slug in COMPANIES]
    assert _matrix(line, FIRST_DAY) == before


def test_training_again_judges_a_challenger_for_every_company(line: ChurnHome, kept_up: None) -> None:
    trained = line.churn("train")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert _trainings(line) == [(slug, 2, False) for slug in COMPANIES]


def test_a_day_later_only_what_changed_is_pulled_and_the_past_stays_as_it_was(line: ChurnHome, kept_up: None) -> None:
    """By the commands for each half of the line; a disabled company keeps its history and is not read."""
    assert line.churn("company", "disable", "seedling").returncode == 0
    before = _matrix(line, FIRST_DAY)
    kept = "select count(*) from raw.customers inner join ops.companies using (company_id) where slug = 'seedling'"
    versions = line.ask(kept)
    assert versions > [(0,)]
    (loads,) = line.ask("select count(*) from ops.load_log")[0]
    (pulled_first,) = line.ask("select sum(received)::int from ops.load_log where is_backfill")[0]
    moved = line.churn("demo", "advance")
    assert moved.returncode == 0, moved.stderr
    synced = line.churn("sync")
    assert synced.returncode == 0, synced.stdout + synced.stderr
    assert line.ask(kept) == versions
    assert line.ask("select count(*) from ops.load_log") == [(loads + 9,)]
    (loaded, received) = line.ask(
        "select sum(loaded)::int, sum(received)::int from ops.load_log where known_at::date = %s",
        FIRST_DAY + timedelta(days=1),
    )[0]
    assert 0 < loaded < 0.05 * pulled_first
    assert received < 0.1 * pulled_first
    scored = line.churn("score")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    dates = line.ask(
        "select slug, min(as_of_date), max(as_of_date) from predictions.churn_current"
        " inner join ops.companies using (company_id) where is_active group by 1 order by 1"
    )
    second_day = FIRST_DAY + timedelta(days=1)
    assert dates == [("brightdesk", second_day, second_day), ("marketlane", second_day, second_day)]
    moved, unexplained = line.ask(
        """
        select count(*), count(*) filter (where main_cause = 'behaviour' and move_text not like 'The risk %%: %%')
        from analytics.score_moves where previous_as_of_date = %s
        """,
        FIRST_DAY,
    )[0]
    assert unexplained < moved
    assert _matrix(line, FIRST_DAY) == before


def test_scoring_followed_the_champion(line: ChurnHome, kept_up: None) -> None:
    disagreements = line.ask(
        """
        select distinct current.model_version
        from predictions.churn_current as current
        inner join ops.companies using (company_id)
        where is_active and not exists (
            select from mlflow.registered_model_aliases as alias
            where alias.alias = 'champion' and alias.name || ' v' || alias.version = current.model_version
        )
        """
    )
    assert disagreements == []


def test_psql_passes_its_arguments_through(line: ChurnHome, kept_up: None) -> None:
    done = line.churn("psql", "-At", "-c", "select name from ops.companies where slug = 'seedling'")
    assert done.stdout.strip() == "Seedling"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "--company", "nobody"], "nobody is no active company"),
        (["company", "disable", "nobody"], "nobody"),
        (["company", "add", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_a_mistake_gets_one_message_and_exit_code_1(
    line: ChurnHome, kept_up: None, arguments: list[str], message: str
) -> None:
    failed = line.churn(*arguments)
    assert failed.returncode == 1
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


MLFLOW_AWAY = {
    "drift": ("drift",),
    "one score": ("score", "--company", "brightdesk", "--customer", "CUSTOMER"),
    "card": ("model", "card", "--company", "brightdesk"),
    "train": ("train", "--company", "brightdesk"),
}


@pytest.fixture
def mlflow_of_another_version(line: ChurnHome, kept_up: None) -> Iterator[None]:
    """MLflow's schema as a release leaves it that this one does not know."""
    (version,) = line.ask("select version_num from mlflow.alembic_version")[0]
    line.change("update mlflow.alembic_version set version_num = 'unknown'; delete from ml.feature_drift")
    yield
    line.change(f"update mlflow.alembic_version set version_num = '{version}'")


@pytest.mark.parametrize("command", MLFLOW_AWAY)
def test_without_the_model_registry_a_command_ends_in_one_message(
    line: ChurnHome, mlflow_of_another_version: None, command: str
) -> None:
    (customer,) = line.ask(
        "select min(customer_id) from predictions.churn_current inner join ops.companies using (company_id)"
        " where slug = 'brightdesk'"
    )[0]
    done = line.churn(*(customer if argument == "CUSTOMER" else argument for argument in MLFLOW_AWAY[command]))
    assert done.returncode == 1, done.stdout
    assert "brightdesk" in done.stderr
    tasks = 2 if command == "train" else 1
    assert done.stderr.count("in the model registry (MLflow, schema mlflow at") == tasks, done.stderr
    assert "`churn model list --company brightdesk`" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_backup_restored_elsewhere_lives_on_as_the_warehouse_does(
    line: ChurnHome, kept_up: None, tmp_path: Path
) -> None:
    """The next day is run on both, and what they publish is the same."""
    elsewhere = ChurnHome(tmp_path / "elsewhere")
    for home, command in ((line, "backup"), (elsewhere, "restore")):
        done = home.churn(command, str(tmp_path / "churn.backup"))
        assert done.returncode == 0, done.stdout + done.stderr
    assert elsewhere.ask(EVERYTHING_PUBLISHED) == line.ask(EVERYTHING_PUBLISHED)

    for home in (line, elsewhere):
        for command in (("demo", "advance"), ("sync",), ("score",)):
            done = home.churn(*command)
            assert done.returncode == 0, done.stdout + done.stderr

    published = line.ask(EVERYTHING_PUBLISHED)
    assert max(row[1] for row in published) == FIRST_DAY + timedelta(days=2)
    assert elsewhere.ask(EVERYTHING_PUBLISHED) == published


def test_status_says_how_each_company_stands_and_down_leaves_no_process_behind(line: ChurnHome, kept_up: None) -> None:
    status = line.churn("status")
    assert line.churn("down").returncode == 0
    assert "running" in status.stdout
    assert "brightdesk" in status.stdout
    assert line.processes() == []
