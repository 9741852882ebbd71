"""A dbt project of somebody's own that takes ours as a package: where it stands, and whether it can be one.

`CHURN_PROJECT` names its folder. No path of this installation stands in it: dbt finds our package through a link in the
home folder, so that people and servers with other paths share one folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from foundation.errors import ChurnError
from pipeline.data_files import PACKAGE, data_directory, package_variables
from warehouse.settings import OWN_PROJECT_FILE, TAKES_OURS, Settings

PACKAGE_DIRECTORY = data_directory("dbt_project")
VARIABLES = "CHURN_VARIABLES"
"""Under this name dbt's manifest holds the variables that the project sets, as JSON."""
KEPT_IN_METADATA = "DBT_ENV_CUSTOM_ENV_"
"""dbt keeps the values of variables that begin so in the manifest's metadata, without the beginning."""
_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\s*\(")
LAYERS = ("intermediate", "features", "analytics")
"""The folders of models whose settings a project of one's own has from ours."""


class OwnProjectRefused(ChurnError):
    """A project of somebody's own cannot be built; nothing was, for no company."""

    advice = "docs/own-project.md says what a project of your own holds; `churn dev check` looks at it again."


def project_directory(settings: Settings) -> Path:
    """The folder of the dbt project that is built: one's own, or else ours."""
    return settings.project or PACKAGE_DIRECTORY


def project_directories(settings: Settings) -> list[Path]:
    """The same, and ours where the first takes it as a package."""
    return [folder for folder in (settings.project, PACKAGE_DIRECTORY) if folder is not None]


def project_name(settings: Settings) -> str:
    """What dbt calls the project that is built. Raises OwnProjectRefused where its YAML cannot be read."""
    return PACKAGE if settings.project is None else str(project_file(settings.project).get("name", ""))


def file_of(settings: Settings, node: Mapping[str, Any]) -> Path:
    """Where a node of dbt's manifest is written."""
    package = str(node["package_name"])
    if package == PACKAGE:
        folder = PACKAGE_DIRECTORY
    elif (packages_directory(settings) / package).is_dir():
        folder = packages_directory(settings) / package
    else:
        folder = project_directory(settings)
    return folder / str(node["original_file_path"])


def packages_directory(settings: Settings) -> Path:
    """Where dbt finds the packages of a project of one's own when we call it."""
    return settings.home / "dbt" / "packages"


def link_package(settings: Settings) -> None:
    """Link ours, and the packages that `dbt deps` brought, to where dbt looks; only for a project of one's own."""
    if settings.project is None:
        return
    folder = packages_directory(settings)
    folder.mkdir(parents=True, exist_ok=True)
    installed = settings.project / "dbt_packages"
    others = [path for path in installed.iterdir() if path.name != PACKAGE] if installed.is_dir() else []
    wanted = {path.name: path.resolve() for path in others} | {PACKAGE: PACKAGE_DIRECTORY}
    for name, target in wanted.items():
        point_at(folder / name, target)
    for link in folder.iterdir():
        if link.name not in wanted:
            link.unlink(missing_ok=True)


def point_at(link: Path, target: Path) -> None:
    """Make a link, or turn the one that is there; whoever reads meanwhile finds either."""
    if link.is_symlink() and Path(os.readlink(link)) == target:
        return
    made = link.with_name(f".{link.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    made.replace(link)


def project_file(folder: Path) -> dict[str, Any]:
    """What a project's dbt_project.yml says. Raises OwnProjectRefused where it is no YAML or no mapping."""
    file = folder / OWN_PROJECT_FILE
    try:
        said = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OwnProjectRefused(f"{file} is no YAML: {error}") from None
    if not isinstance(said, dict):
        raise OwnProjectRefused(f"{file} is no mapping of dbt's settings.")
    return said


def own_variables(settings: Settings) -> dict[str, Any]:
    """The variables that a project of one's own sets, for all models; none where there is no such project."""
    return {} if settings.project is None else dict(project_file(settings.project).get("vars") or {})


def variables_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The variables by which dbt made a manifest: ours, and over them those of a project that takes ours."""
    return _variables(manifest["metadata"].get("env", {}).get(VARIABLES, "{}"))


@cache
def _variables(own: str) -> dict[str, Any]:
    return {**package_variables(), **orjson.loads(own)}


def metadata_environment(settings: Settings) -> dict[str, str]:
    """What dbt is to keep in its manifest of the project that it read."""
    return {KEPT_IN_METADATA + VARIABLES: orjson.dumps(own_variables(settings), default=str).decode()}


def overridden_models(manifest: Mapping[str, Any]) -> list[str]:
    """Our models that are switched off and that the project has one of its own for, by name."""
    names = {node["name"] for node in _models(manifest["nodes"].values()) if node["package_name"] != PACKAGE}
    disabled = [node for nodes in manifest.get("disabled", {}).values() for node in nodes]
    return sorted({node["name"] for node in _models(disabled) if node["package_name"] == PACKAGE} & names)


def _models(nodes: Any) -> list[Mapping[str, Any]]:
    return [node for node in nodes if node["resource_type"] == "model"]


def refuse_faults(settings: Settings) -> None:
    """Raise OwnProjectRefused, with every fault, where a project's dbt_project.yml does not fit ours."""
    if settings.project is None:
        return
    said = project_file(settings.project)
    faults = [
        *_faults_of_name(said),
        *_faults_of_variables(said),
        *_faults_of_layers(said),
        *_names_that_ours_has(settings.project, said),
    ]
    if faults:
        raise OwnProjectRefused("\n".join([f"{settings.project / OWN_PROJECT_FILE} cannot be used.", *faults]))


def _faults_of_name(said: Mapping[str, Any]) -> list[str]:
    faults = []
    if said.get("name") in (None, "", PACKAGE):
        faults.append(f"name: {PACKAGE} is ours; give your project another name.")
    if said.get("profile") != PACKAGE:
        faults.append(f"profile: is {said.get('profile')}; write {PACKAGE}, the profile that we make.")
    if not any(TAKES_OURS in str(path) for path in said.get("macro-paths") or []):
        faults.append("macro-paths: our macros are missing, which your marts call; " + _line_of_template("macro-paths"))
    if TAKES_OURS not in str(said.get("packages-install-path")):
        faults.append("packages-install-path: it is not ours; " + _line_of_template("packages-install-path"))
    return faults


def _line_of_template(key: str) -> str:
    return f"write `{key}: {project_template('NAME')[key]}`."


def _faults_of_variables(said: Mapping[str, Any]) -> list[str]:
    variables = said.get("vars") or {}
    if not isinstance(variables, dict):
        return ["vars: is no mapping."]
    faults = [
        f"vars: stand under {name}, where your marts or ours do not see them; set them without the name."
        for name in (PACKAGE, str(said.get("name")))
        if name in variables
    ]
    marts = variables.get("feature_marts", [])
    if not isinstance(marts, list) or not all(isinstance(mart, str) for mart in marts):
        faults.append("vars: feature_marts is a list of names of your marts.")
    return faults


def _faults_of_layers(said: Mapping[str, Any]) -> list[str]:
    """Settings that ours have in this release and theirs lack: hooks that keep companies apart among them."""
    theirs = (said.get("models") or {}).get(said.get("name")) or {}
    faults = []
    for layer, wanted in layer_settings().items():
        settings = theirs.get(layer) or {}
        for key, value in wanted.items():
            missing = _missing(value, settings.get(key))
            if missing:
                lines = yaml.safe_dump(missing, default_flow_style=True, width=10_000).strip().removesuffix("\n...")
                faults.append(f"models.{said.get('name')}.{layer}.{key}: this release has {lines}; add it.")
    return faults


def _names_that_ours_has(folder: Path, said: Mapping[str, Any]) -> list[str]:
    """Models and macros whose name ours has, unless ours is switched off for theirs."""
    ours = {file.stem: file for file in (PACKAGE_DIRECTORY / "models").rglob("*.sql")}
    off = _switched_off((said.get("models") or {}).get(PACKAGE) or {})
    faults = [
        f"{file.relative_to(folder)}: ours has a model {file.stem}. Give yours another name; or, to put it in ours' "
        f"place, write `{file.stem}: {{+enabled: false}}` under `models: {PACKAGE}: "
        f"{': '.join(ours[file.stem].relative_to(PACKAGE_DIRECTORY / 'models').parts[:-1])}` in {OWN_PROJECT_FILE}."
        for file in sorted((folder / "models").rglob("*.sql"))
        if file.stem in ours and file.stem not in off
    ]
    ours_macros = {name for file in (PACKAGE_DIRECTORY / "macros").rglob("*.sql") for name in _macros_of(file)}
    faults += [
        f"{file.relative_to(folder)}: ours has a macro {name}; give yours another name."
        for file in sorted((folder / "macros").rglob("*.sql"))
        for name in _macros_of(file)
        if name in ours_macros
    ]
    return faults


def _macros_of(file: Path) -> list[str]:
    return _MACRO.findall(file.read_text(errors="replace"))


def _switched_off(settings: Mapping[str, Any]) -> set[str]:
    """The names under which `+enabled: false` stands, at any depth."""
    nested = {name: value for name, value in settings.items() if isinstance(value, dict)}
    off = {name for name, value in nested.items() if value.get("+enabled", value.get("enabled")) is False}
    return off.union(*map(_switched_off, nested.values()))


def _missing(wanted: Any, given: Any) -> Any:
    """What of a setting of ours is not in theirs; of a list, its missing entries."""
    if isinstance(wanted, list):
        return [entry for entry in wanted if entry not in (given if isinstance(given, list) else [given])]
    return None if wanted == given else wanted


def layer_settings() -> dict[str, dict[str, Any]]:
    """How each layer of models is built, as our dbt_project.yml says it; groups are a project's own."""
    models = project_file(PACKAGE_DIRECTORY)["models"][PACKAGE]
    return {
        layer: {key: value for key, value in models[layer].items() if key not in ("+group", "+access")}
        for layer in LAYERS
    }


def project_template(name: str, marts: Sequence[str] = ()) -> dict[str, Any]:
    """What a new project's dbt_project.yml says, in the order in which it is written."""
    packages = f"{{{{ env_var('{TAKES_OURS}', 'dbt_packages') }}}}"
    return {
        "name": name,
        "version": "1.0.0",
        "config-version": 2,
        "profile": PACKAGE,
        "require-dbt-version": project_file(PACKAGE_DIRECTORY)["require-dbt-version"],
        "model-paths": ["models"],
        "macro-paths": ["macros", f"{packages}/{PACKAGE}/macros"],
        "seed-paths": ["seeds"],
        "test-paths": ["tests"],
        "packages-install-path": packages,
        "clean-targets": ["target", "logs"],
        # Our matrix reads marts of the project's own.
        "flags": {**project_file(PACKAGE_DIRECTORY)["flags"], "require_ref_prefers_node_package_to_root": True},
        "vars": {"feature_marts": list(marts), "feature_units": []},
        "models": {name: {"+persist_docs": {"relation": True, "columns": True}, **layer_settings()}},
    }
