"""Secrets of the stack: each is a file of its own, made by a script, mounted where the service that needs it looks."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.test_docker_stack import ROOT, SECRET, VARIABLE, compose, example, ours, services
from warehouse.settings import PREFIX, SECRETS_DIRECTORY, Settings, load_settings


def secrets_of(service: dict[str, Any]) -> dict[str, str]:
    """Which secret a service reads, by the name of the file in it."""
    given = {secret["target"]: secret["source"] for secret in service.get("secrets", [])}
    assert all(Path(target).parent == SECRETS_DIRECTORY for target in given), "one folder, everywhere alike"
    return {Path(target).name: source for target, source in given.items()}


def test_secrets_come_from_files_that_the_script_makes_and_git_ignores(tmp_path: Path) -> None:
    script = tmp_path / "docker" / "make-secrets.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "docker" / "make-secrets.sh", script)
    subprocess.run([script], check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} == set(made)
    assert len(set(made.values())) == len(made)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert Settings.model_validate({"secret_key": made["churn_secret_key"].strip()})
    assert Settings.model_validate({"mail_url": made["churn_mail_url"].strip()})
    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_secret_that_a_service_reads_is_given_to_it_and_is_a_setting_of_ours() -> None:
    for name, service in services().items():
        given = secrets_of(service)
        assert set(given.values()) <= compose()["secrets"].keys(), name
        text = yaml.safe_dump(service)
        for read in re.findall(rf"{SECRETS_DIRECTORY}/(\w+)", text):
            assert read in given, f"{name}: {read}"
        for variable, value in service.get("environment", {}).items():
            assert not SECRET.search(variable) or variable.endswith("_FILE"), f"{name}: {variable} = {value}"
        if name in ours():
            for target in given:
                assert target.removeprefix(PREFIX.lower()) in Settings.model_fields, f"{name}: {target}"
    script = (ROOT / "docker" / "create-databases.sh").read_text()
    assert set(re.findall(rf"{SECRETS_DIRECTORY}/(\w+)", script)) <= secrets_of(services()["postgres"]).keys()


def test_the_demo_which_stands_for_another_system_is_given_no_secret() -> None:
    for name, service in services().items():
        if service.get("profiles") == ["demo"]:
            assert not secrets_of(service), name


def test_secrets_are_where_kubernetes_makes_no_folder_of_its_own() -> None:
    values = yaml.safe_load((ROOT / "docker" / "dagster-helm-values.yaml").read_text())
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    (mount,) = [mount for mount in deployment["volumeMounts"] if mount["name"] == "churn-secrets"]
    assert mount["mountPath"] == str(SECRETS_DIRECTORY)
    # Read-only, it could not hold the mount point of /run/secrets/kubernetes.io/serviceaccount.
    assert not Path("/run/secrets/kubernetes.io/serviceaccount").is_relative_to(mount["mountPath"])


@pytest.mark.parametrize(
    ("given", "mail"),
    [
        ({}, {}),
        ({"SMTP_HOST": "mail"}, {"SMTP_HOST": "mail", "SMTP_PORT": "1025"}),
        (
            {"SMTP_HOST": "mail", "SMTP_USERNAME": "churn"},
            {"SMTP_HOST": "mail", "SMTP_PORT": "1025", "SMTP_USERNAME": "churn", "SMTP_PASSWORD": "secret"},
        ),
    ],
)
def test_metabase_is_told_of_a_mail_server_only_where_there_is_one(
    given: dict[str, str], mail: dict[str, str], tmp_path: Path
) -> None:
    for name in secrets_of(services()["metabase"]):
        (tmp_path / name).write_text("secret\n")
    shell, option, script = services()["metabase"]["entrypoint"]
    script = (
        script.replace("$$", "$")
        .replace(str(SECRETS_DIRECTORY), str(tmp_path))
        .replace("exec /app/run_metabase.sh", "env")
    )
    environment = {"SMTP_HOST": "", "SMTP_PORT": "1025", "SMTP_USERNAME": ""} | given
    done = subprocess.run(
        [shell, option, script],
        env={f"MB_EMAIL_{name}": value for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("MB_"))
    assert {name.removeprefix("MB_EMAIL_"): value for name, value in told.items() if "EMAIL" in name} == mail
    assert told["MB_DB_PASS"] == "secret"


def test_the_settings_of_our_services_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable, value in ours()["migrate"]["environment"].items():
        monkeypatch.setenv(variable, VARIABLE.sub(lambda match: example()[match["name"]] or "", str(value)))
    (tmp_path / "churn_database_password").write_text("secret\n")
    monkeypatch.setattr("warehouse.settings.SECRETS_DIRECTORY", tmp_path)

    settings = load_settings()

    assert settings.home == Path("/churn")
    assert settings.metabase_url == "http://metabase:3000"
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value().endswith(":secret@postgres:5432/churn")
