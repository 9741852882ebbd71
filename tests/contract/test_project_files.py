"""The files by which people join and releases are made: they can be read, and what they name exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.keys import Owner

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def text(name: str) -> str:
    return (ROOT / name).read_text()


def owners() -> list[tuple[str, str]]:
    """Pattern and team of each line of CODEOWNERS."""
    lines = [line.split() for line in text(".github/CODEOWNERS").splitlines() if line and not line.startswith("#")]
    return [(pattern, team) for pattern, team in lines]


def test_what_contributing_names_exists() -> None:
    named = re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|md|toml|lock|yml))`", text("CONTRIBUTING.md"))
    assert len(named) > 30
    for path in named:
        assert (ROOT / path).exists(), path


def test_contributing_has_a_row_for_each_thing_that_people_add() -> None:
    rows = re.findall(r"^\| (an? \w+)", text("CONTRIBUTING.md"), re.MULTILINE)
    assert {"a connector", "a feature", "a task", "a dashboard", "an alert"} <= set(rows)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_pages_beside_the_readme_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text(page)):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/releasing.md"])
def test_make_knows_the_targets_that_pages_name(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", text(page), re.MULTILINE))
    assert named
    assert named <= targets


def test_code_is_owned_by_the_teams_that_own_assets() -> None:
    teams = {team.removeprefix("team:") for name, team in vars(Owner).items() if not name.startswith("_")}
    assert {team.rpartition("/")[2] for _, team in owners()} == teams


def test_what_is_owned_exists_and_everything_else_has_an_owner_too() -> None:
    patterns = [pattern for pattern, _ in owners()]
    assert patterns[0] == "*", "the last match decides, so that the rule for all comes first"
    for pattern in patterns[1:]:
        assert pattern.startswith("/")
        place = ROOT / pattern.strip("/")
        assert place.is_dir() if pattern.endswith("/") else place.is_file(), pattern


def test_the_workflow_and_the_updates_are_of_their_schemas() -> None:
    for schema, name in (
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("custom.github-workflows-require-timeout", ".github/workflows/ci.yml"),
        ("vendor.renovate", "renovate.json"),
    ):
        done = subprocess.run(
            [BIN / "check-jsonschema", "--builtin-schema", schema, ROOT / name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_github_runs_the_script_that_every_change_must_pass() -> None:
    (job,) = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    assert re.findall(r"^make (\w+)$", text(".ci/run"), re.MULTILINE) == ["check", "test"]


def test_commits_are_checked_by_the_tools_of_the_lock() -> None:
    done = subprocess.run(
        [BIN / "pre-commit", "validate-config", ROOT / ".pre-commit-config.yaml"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    programs = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert all(program.startswith(".venv/bin/") for program in programs)
    assert [program for program in programs if not (BIN / Path(program).name).exists()] == []
    assert {Path(program).name for program in programs} >= {"ruff", "sqlfluff", "check-yaml", "check-added-large-files"}


def test_the_license_is_named_and_comes_along() -> None:
    assert project()["project"]["license"] == "Apache-2.0"
    assert project()["project"]["license-files"] == ["LICENSE"]
    assert "Apache License\n                           Version 2.0, January 2004" in text("LICENSE")


def test_the_newest_section_of_the_changelog_is_of_the_projects_version() -> None:
    version = project()["project"]["version"]
    sections = re.split(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    heading = sections[0].splitlines()[0]
    assert re.fullmatch(rf"{re.escape(version)} \((unreleased|\d{{4}}-\d\d-\d\d)\)", heading)
    for part in ("### Added", "### Changed", "### Fixed", "### Schema changes"):
        assert part in sections[0], part
    for section in sections:
        assert "| relation | change | breaks readers | full refresh needed |" in section


def test_pages_name_the_version_of_the_project() -> None:
    version = project()["project"]["version"]
    for page in ("README.md", "docs/deployment.md"):
        named = set(re.findall(r"churn[-_]warehouse[:-](\d+\.\d+\.\d+)", text(page)))
        assert named == {version}, page


def test_the_readmes_floors_are_those_that_import_linter_holds() -> None:
    (floors,) = (
        contract["layers"]
        for contract in project()["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    layers = [set(re.findall(r"\w+", layer)) for layer in floors]
    rows = re.findall(r"^\| [\w ]+ \| `(\w+)/` \| .* \| (.*?) \|$", text("README.md"), re.MULTILINE)
    imports = {folder: set(re.findall(r"`(\w+)`", named)) for folder, named in rows}
    for height, layer in enumerate(layers):
        for folder in layer:
            assert imports.pop(folder) == set().union(*layers[height + 1 :]), folder
    assert imports == {"dbt_project": set(), "dashboards": set(), "demo": set(), "sdk": set()}
    for folder, _ in rows:
        assert (ROOT / folder).is_dir()
