"""dbt in a developer's place: what differs from production is built there, all else is read from production."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from foundation.errors import ChurnError
from foundation.parent import adopt_children
from foundation.private_files import private_file
from pipeline.development.places import development_directory
from pipeline.features.catalogue import manifest_path, state_manifest_path
from pipeline.features.dbt import DbtFailed, dbt_command, dbt_environment, dbt_vars, vars_argument
from pipeline.features.own_project import file_of, project_directories, project_directory, project_name
from warehouse.developers import Developer
from warehouse.settings import Settings

CHANGED = "state:modified+"


class NoState(ChurnError):
    """Nobody knows what production is made of."""

    advice = "`churn run` builds production, and keeps its manifest."


class BuildFailed(ChurnError):
    """dbt ended with an error, which it has shown."""


def state_directory(settings: Settings) -> Path:
    """Where production's manifest is kept: of the last build that went well."""
    return state_manifest_path(settings).parent


def keep_state(settings: Settings) -> None:
    """Keep the manifest of a build that went well, where it is another one than is kept."""
    manifest, kept = manifest_path(settings), state_directory(settings) / "manifest.json"
    if kept.exists() and kept.stat().st_mtime_ns >= manifest.stat().st_mtime_ns:
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("rb") as source, private_file(kept) as file:
        shutil.copyfileobj(source, file)


def build(settings: Settings, place: Developer, selection: Sequence[str]) -> None:
    """Build in a place: what is selected, or what was changed and what hangs on it; dbt's output is shown.

    Raises NoState and BuildFailed.
    """
    selected = [*selection] or to_build(place)
    done = _run(settings, place, ["build", "--select", *selected])
    if done:
        raise BuildFailed(
            f"dbt could not build all of {', '.join(selection or [CHANGED])}; production was not touched."
        )


def run_unit_tests(settings: Settings, place: Developer, selection: Sequence[str]) -> None:
    """Run the unit tests of models, of all of the project's own if none is selected; dbt's output is shown.

    Raises NoState and BuildFailed.
    """
    models = selection or [f"package:{project_name(settings)}"]
    if _run(settings, place, ["test", "--select", *(f"{model},test_type:unit" for model in models)]):
        raise BuildFailed(f"Unit tests of {', '.join(models)} failed; nothing was built.")


def compile_models(settings: Settings, place: Developer, selection: Sequence[str]) -> None:
    """Compile the models that are selected, as they would be built in a place, and build nothing.

    Raises NoState, and DbtFailed with what dbt said.
    """
    adopt_children()
    arguments = ["--no-use-colors", "--quiet", "compile", "--select", *selection]
    command = _command(settings, place, arguments)
    done = subprocess.run(  # noqa: S603 - our own program and arguments
        command,
        cwd=project_directory(settings),
        env=place_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
        raise DbtFailed(f"dbt cannot compile it: {said}")


def to_build(place: Developer) -> list[str]:
    """What differs from production, and what the place has built before: an edit may have been taken back."""
    return [CHANGED, *(relation.partition(".")[2] for relation in place.own_relations)]


def build_command(settings: Settings, place: Developer) -> str:
    """The same by hand, in the project's folder."""
    return f"dbt build --target {place.login} --select {CHANGED} --defer --state {state_directory(settings)}"


def development_manifest(settings: Settings) -> Path:
    """Where dbt's manifest of the last command in a place stands."""
    return _target(settings) / "manifest.json"


def manifest_of(settings: Settings) -> dict[str, Any]:
    """dbt's manifest of the last command in a place."""
    loaded: dict[str, Any] = orjson.loads(development_manifest(settings).read_bytes())
    return loaded


def edited_since(settings: Settings, manifest: Mapping[str, Any]) -> list[str]:
    """The files that say otherwise than dbt read them for a place's manifest, from the project's folder.

    Models by their text; YAML and macros by when they were written, for the manifest has no text of theirs to compare.
    """
    # Not by the manifest's own time: where dbt reads what changed alone, that is of the first time it read the project.
    written_at = development_manifest(settings).stat().st_mtime
    models = {
        file_of(settings, node): str(node["checksum"]["checksum"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
    }
    others = {file_of(settings, macro) for macro in manifest["macros"].values()}
    patches = [str(node["patch_path"]).split("://") for node in manifest["nodes"].values() if node.get("patch_path")]
    others |= {file_of(settings, {"package_name": package, "original_file_path": path}) for package, path in patches}
    edited = {file for file, checksum in models.items() if checksum_of(file) != checksum}
    edited |= {file for file in others if _written_since(file, written_at)}
    folders = project_directories(settings)
    return sorted(_from_its_folder(file, folders) for file in edited)


def _from_its_folder(file: Path, folders: Sequence[Path]) -> str:
    folder = next((folder for folder in folders if file.is_relative_to(folder)), None)
    return str(file.relative_to(folder) if folder else file)


def checksum_of(file: Path) -> str | None:
    """A model's, as dbt makes it: of the text without white space around it. None where the file is gone."""
    return hashlib.sha256(file.read_text().strip().encode()).hexdigest() if file.exists() else None


def _written_since(file: Path, moment: float) -> bool:
    return file.is_file() and file.stat().st_mtime > moment


def compiled_directory(settings: Settings) -> Path:
    """Where the SQL stands that dbt compiled last in a place."""
    return _target(settings) / "compiled"


def _target(settings: Settings) -> Path:
    return development_directory(settings) / "target"


def _run(settings: Settings, place: Developer, arguments: Sequence[str]) -> int:
    adopt_children()
    return subprocess.run(  # noqa: S603 - our own program and arguments
        _command(settings, place, arguments),
        cwd=project_directory(settings),
        env=place_environment(settings),
        check=False,
    ).returncode


def _command(settings: Settings, place: Developer, arguments: Sequence[str]) -> list[str]:
    state = state_directory(settings)
    if not (state / "manifest.json").exists():
        raise NoState(f"There is no manifest of production in {state}.")
    return [
        *dbt_command(),
        *arguments,
        *("--target", place.login, "--state", str(state)),
        "--defer",
        *vars_argument(dbt_vars(settings)),
    ]


def place_environment(settings: Settings, target: str = "target") -> dict[str, str]:
    """What dbt, or a program that calls it, needs to work in a place; it writes to the folder of this name."""
    folder = development_directory(settings)
    return dbt_environment(settings, folder, folder / target)
