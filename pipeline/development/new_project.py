"""A project of somebody's own, as it begins: dbt's files, a first feature with its test, and what a team has beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import yaml

from foundation.errors import ChurnError
from pipeline.data_files import PACKAGE
from pipeline.features.own_project import PACKAGE_DIRECTORY, project_template

_TEMPLATES = Path(__file__).with_name("new_project")
_FILES: Mapping[str, str] = {
    "README.md": "README.md",
    "packages.yml": "packages.yml",
    "companies.yml": "companies.yml",
    "requirements.txt": "requirements.txt",
    ".gitignore": "gitignore",
    ".github/workflows/check.yml": "workflow.yml",
    "models/features/NAME_features.sql": "features.sql",
    "models/features/_NAME_features.yml": "features.yml",
}
"""What is written, and the template that it is written from; NAME is the project's."""
_EMPTY_FOLDERS = ("models/intermediate", "models/analytics", "macros", "tests", "seeds", "imports")


class InitRefused(ChurnError):
    """A project cannot be made in this folder, or under this name; nothing was written."""


def usual_project_name(folder: Path) -> str:
    """A folder's name, as far as a dbt project may be called so."""
    return re.sub("[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_0123456789") or "own"


def make_project(folder: Path, name: str) -> list[Path]:
    """Write a project's files into a folder, which may be there, and return them.

    Raises InitRefused, having written nothing, for a name that dbt or our models do not allow, and where one of the
    files is there.
    """
    _refuse_name(name)
    mart = f"{name}_features"
    files = {folder / place.replace("NAME", name): _text_of(template, name) for place, template in _FILES.items()} | {
        folder / "dbt_project.yml": _project_yaml(name, mart)
    }
    there = sorted(str(file.relative_to(folder)) for file in files if file.exists())
    if there or (folder.exists() and not folder.is_dir()):
        raise InitRefused(f"{folder} has {', '.join(there) or 'no room: it is a file'}; name an empty folder.")
    for empty in _EMPTY_FOLDERS:
        (folder / empty).mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return sorted(files)


def _refuse_name(name: str) -> None:
    if not re.fullmatch("[a-z][a-z0-9_]{0,40}", name):
        raise InitRefused(f"{name} is no name of a dbt project: small letters, digits and _; `--name` gives another.")
    ours = {file.stem for file in (PACKAGE_DIRECTORY / "models").rglob("*.sql")}
    if name == PACKAGE or f"{name}_features" in ours or name in ("dbt", "dbt_postgres"):
        raise InitRefused(f"{name} is taken by ours; `--name` gives another.")


def _text_of(template: str, name: str) -> str:
    text = (_TEMPLATES / template).read_text()
    return text.replace("NAME", name).replace("VERSION", version("churn-warehouse"))


def _project_yaml(name: str, mart: str) -> str:
    said = project_template(name, [mart])
    text = yaml.safe_dump(said, sort_keys=False, width=1000, default_flow_style=None, allow_unicode=True)
    return (
        "# Takes Churn Warehouse as a package. How the folders of models are built is its own; an upgrade says what\n"
        f"# of it has changed. What follows `env_var` finds the package wherever it is installed.\n{text}"
    )
