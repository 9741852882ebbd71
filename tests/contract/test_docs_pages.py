"""Pages that repeat what stands elsewhere agree with it: the dictionary, the runbook, links, the chart's values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from sqlalchemy import make_url

from orchestration import dagster_home
from orchestration.health import CODE_SERVER
from orchestration.job_runner import REPOSITORY_LABEL
from pipeline.integrations.notifications.alerts import KINDS
from scripts.data_dictionary import PAGE, dictionary
from warehouse.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("sources/*.md")])


def test_the_data_dictionary_is_that_of_the_dbt_project() -> None:
    assert PAGE.read_text() == dictionary(), "the descriptions have changed: `make docs`"


def test_the_runbook_has_a_section_for_each_alert_with_meaning_look_and_do() -> None:
    sections = re.split(r"^## ", (DOCS / "runbook.md").read_text(), flags=re.MULTILINE)[1:]
    alerts = {section.splitlines()[0]: section for section in sections}
    assert [title for title in alerts if title in {kind.title for kind in KINDS.values()}] == [
        kind.title for kind in KINDS.values()
    ]
    for kind in KINDS.values():
        for part in ("**Means**", "**Look at**", "**Do**"):
            assert part in alerts[kind.title], f"{kind.title}: {part}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_setting_is_in_the_operators_table() -> None:
    page = (DOCS / "operate.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    short = {"CHURN_METABASE_USERNAME": "_USERNAME", "CHURN_METABASE_PASSWORD": "_PASSWORD"}
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"{PREFIX}{name.upper()}")
        assert {variable, short.get(variable)} & named, variable


def test_the_charts_values_name_our_module_our_image_and_the_settings_that_exist() -> None:
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    arguments = deployment["dagsterApiGrpcArgs"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    image = f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    assert image.endswith(compose["services"]["migrate"]["image"])
    assert arguments[arguments.index("--module-name") + 1] == "orchestration.definitions"
    for variable in deployment["env"]:
        known = variable["name"].removeprefix(PREFIX).lower() in Settings.model_fields
        assert known or variable["name"] in {"DAGSTER_HOME", "SENTRY_DSN"}, variable["name"]
    assert not values["postgresql"]["enabled"]
    assert values["runLauncher"]["type"] == "K8sRunLauncher"


def test_each_promise_of_security_names_tests_that_exist() -> None:
    page = (DOCS / "security.md").read_text()
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", page))
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    assert {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)} == set()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert [section.splitlines()[0] for section in sections if not re.search(r"test_\w+\.py`", section)] == []
    attacks = {path.name for path in (ROOT / "tests" / "integration" / "attacks").glob("test_*.py")}
    assert attacks - {Path(name).name for name in named} == set()


def test_under_the_chart_dagsters_storage_speaks_the_driver_that_it_is_written_for() -> None:
    """With psycopg its NOTIFY is a syntax error, and no run begins."""
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    assert make_url(f"{values['postgresql']['postgresqlScheme']}://").get_driver_name() == "psycopg2"


def test_under_the_chart_runs_are_the_user_that_the_code_server_is_and_checks_are_cheap() -> None:
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]["podSpecConfig"]
    assert run["securityContext"] == deployment["podSecurityContext"]
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    user = deployment["podSecurityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in dockerfile
    probe = deployment["readinessProbe"]
    assert probe["exec"]["command"] == ["python", "-m", "orchestration.health", "code-server"]
    assert "enabled" not in probe
    assert CODE_SERVER.endswith(f":{deployment['port']}")
    # The chart would put it into the pod of each run, which would never end.
    assert "sidecarContainers" not in deployment


def test_under_the_chart_dagster_starts_and_runs_are_limited_watched_and_tried_again_as_everywhere(
    tmp_path: Path,
) -> None:
    """No pod could start, with limits of runs in two places; and a run in which a company failed was run again."""
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    daemon, coordinator = values["dagsterDaemon"], values["dagsterDaemon"]["runCoordinator"]
    assert values["concurrency"].pop("enabled")
    assert coordinator["enabled"]
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump(
            {
                "run_coordinator": {
                    "module": "dagster.core.run_coordinator",
                    "class": coordinator["type"],
                    "config": in_dagsters_words(coordinator["config"]["queuedRunCoordinator"]),
                },
                "concurrency": in_dagsters_words(values["concurrency"]),
                "run_monitoring": in_dagsters_words(daemon["runMonitoring"]),
                "run_retries": in_dagsters_words(daemon["runRetries"]),
            }
        )
    )
    under_the_chart, _ = dagster_instance_config(str(tmp_path))
    everywhere, _ = dagster_instance_config(str(dagster_home.write(Settings(home=tmp_path / "home"))))
    for part in ("concurrency", "run_monitoring", "run_retries"):
        assert under_the_chart[part] == everywhere[part]


def in_dagsters_words(values: Mapping[str, object]) -> dict[str, object]:
    """A part of dagster.yaml as the chart makes it of such values: other names, and nothing where a value is null."""
    return {
        re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name): (
            in_dagsters_words(value) if isinstance(value, Mapping) else value
        )
        for name, value in values.items()
        if value is not None
    }


@pytest.mark.parametrize("service_name", ["metrics", "api", "collector"])
def test_the_doors_of_kubernetes_are_those_of_the_stack(service_name: str) -> None:
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    door, service = yaml.safe_load_all((ROOT / "docker" / f"kubernetes-{service_name}.yaml").read_text())
    pod = door["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][service_name]
    assert container["args"] == compose["command"]
    assert container["readinessProbe"]["exec"]["command"] == compose["healthcheck"]["test"][1:]
    assert container["image"] == f"{deployment['image']['repository']}:{deployment['image']['tag']}"
    assert pod["volumes"] == deployment["volumes"]
    assert container["volumeMounts"] == deployment["volumeMounts"]
    assert pod["securityContext"] == deployment["podSecurityContext"]
    assert all(variable in deployment["env"] for variable in container["env"])
    assert service["spec"]["selector"] == door["spec"]["template"]["metadata"]["labels"]


def test_under_the_chart_the_code_location_is_called_as_everywhere_and_its_secret_is_made_once() -> None:
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    workspace = values["dagsterWebserver"]["workspace"]
    (server,) = workspace["servers"]
    assert workspace["enabled"]
    assert (server["host"], server["port"]) == (deployment["name"], deployment["port"])
    assert REPOSITORY_LABEL.endswith(f"@{server['name']}")
    # Told to make the password's secret, the chart would find one that is not its own and stop.
    assert values["global"]["postgresqlSecretName"] in (ROOT / "docs" / "deployment.md").read_text()
    assert values["generatePostgresqlPasswordSecret"] is False
