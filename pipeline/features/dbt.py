"""dbt as the pipeline calls it: a program beside this Python, its variables, its profile and its manifest."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson

from foundation.errors import ChurnError
from foundation.parent import adopt_children
from foundation.private_files import private_file
from pipeline.features import quick_dbt
from pipeline.features.catalogue import manifest_path, target_directory
from pipeline.features.dbt_macros import MacroRefused, call_macro
from pipeline.features.own_project import (
    link_package,
    metadata_environment,
    packages_directory,
    project_directories,
    project_directory,
    refuse_faults,
)
from pipeline.features.own_project_models import refuse_faulty_models
from warehouse.connection import Warehouse
from warehouse.settings import TAKES_OURS, Settings

PASSWORD_VARIABLE = "DBT_ENV_SECRET_CHURN_DATABASE_PASSWORD"  # noqa: S105 - the variable's name
"""dbt strikes the values of variables that begin so out of what it prints."""

_NOT_READ = {"target", "logs", "profiles.yml", ".user.yml", ".churn", ".git", ".venv", "imports"}


class DbtFailed(ChurnError):
    """dbt ended with an error, or is not there; the message holds its own text."""

    advice = "`churn migrate` parses the project again once it is mended."


def dbt_command() -> list[str]:
    """dbt as this Python runs it, before dbt's own arguments; what it imports does not depend on the folder."""
    return [sys.executable, "-P", "-m", quick_dbt.__name__]


def run_dbt(
    settings: Settings,
    arguments: Sequence[str],
    *,
    target_path: Path | None = None,
    variables: Mapping[str, object] | None = None,
) -> None:
    """Run a dbt command on this warehouse; what dbt writes goes to ``target_path``, the warehouse's own if left out.

    ``variables`` come on top of the clock's. Raises DbtFailed with what dbt said.
    """
    command = [
        *dbt_command(),
        "--no-use-colors",
        *arguments,
        "--quiet",
        *vars_argument(dbt_vars(settings) | {**(variables or {})}),
    ]
    adopt_children()
    environment = dbt_environment(settings, profiles_directory(settings), target_path or target_directory(settings))
    try:
        done = subprocess.run(  # noqa: S603 - our own program and arguments
            command, cwd=project_directory(settings), env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise DbtFailed(f"dbt cannot be run as {command[0]}: {error.strerror}. Is it installed?") from error
    if done.returncode:
        said = "\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
        raise DbtFailed(f"`dbt {arguments[0]}` failed: {said}")


def dbt_environment(settings: Settings, profiles: Path, target: Path) -> dict[str, str]:
    """Ours, and where dbt finds the project, its packages and its profile, and writes what it makes."""
    hand_over(settings)
    return {
        **os.environ,
        **metadata_environment(settings),
        "DBT_PROJECT_DIR": str(project_directory(settings)),
        "DBT_PROFILES_DIR": str(profiles),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target / "logs"),
    }


def write_profile(settings: Settings, warehouse: Warehouse, directory: Path | None = None) -> Path:
    """Write the profile that runs use, and return its path; the folder is the home's own if left out.

    The password of a Postgres of the user's own stays out of it: dbt gets it in its environment.
    """
    hand_over(settings)
    variable = None if settings.database_url is None else PASSWORD_VARIABLE
    return warehouse.write_dbt_profile(directory or profiles_directory(settings), password_variable=variable)


def hand_over(settings: Settings) -> None:
    """Let every dbt that this process starts from here on find its packages, and the password of its profile."""
    link_package(settings)
    os.environ[TAKES_OURS] = str(packages_directory(settings))
    if settings.database_url is not None:
        os.environ[PASSWORD_VARIABLE] = unquote(urlsplit(settings.database_url.get_secret_value()).password or "")


def profiles_directory(settings: Settings) -> Path:
    """Where the profile that Dagster uses stands."""
    return settings.home / "dbt"


def prepare_manifest(settings: Settings) -> Path:
    """Parse the dbt project if it is not the one that was parsed last, or what was written of it was cut short.

    Returns the manifest's path. Raises DbtFailed with dbt's message where it does not parse, MacroRefused where a
    feature's YAML says what no feature may say, and OwnProjectRefused where a project of one's own cannot be built.
    """
    manifest = manifest_path(settings)
    parsed, fingerprint = manifest.with_name("parsed_project"), project_fingerprint(settings)
    if not parsed.exists() or parsed.read_text() != fingerprint or not _is_whole(manifest):
        # Whoever is killed from here on leaves a project that is parsed again.
        parsed.unlink(missing_ok=True)
        refuse_faults(settings)
        # With a build's own variables: with others the build would parse everything once more.
        run_dbt(settings, ["parse"])
        _refuse_unknown_feature_meta(manifest)
        refuse_faulty_models(settings, orjson.loads(manifest.read_bytes()))
        with private_file(parsed) as file:
            file.write(fingerprint.encode())
    return manifest


def _is_whole(manifest: Path) -> bool:
    """dbt writes it in place: a kill or a full disk leaves half of it."""
    try:
        orjson.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _refuse_unknown_feature_meta(manifest: Path) -> None:
    """dbt parses any ``meta``; what no feature may say is an error at once, and again the next time."""
    try:
        call_macro(json.loads(manifest.read_text()), "refuse_unknown_words_of_features")
    except MacroRefused:
        manifest.unlink()
        raise


def project_fingerprint(settings: Settings) -> str:
    """Changes with every file of the project that is edited, added or removed, and with where the project stands.

    Of one's own project and of ours, which it takes as a package. Newer than the manifest is not enough: an installer
    may keep the times of a release that is older than that.
    """
    lines = [line for folder in project_directories(settings) for line in (str(folder), *_files_of(folder))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files_of(folder: Path) -> list[str]:
    """Each file that dbt reads, with its size and when it was written."""
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - _NOT_READ)
        files += [Path(place) / name for name in sorted(set(names) - _NOT_READ)]
    states = [(path.relative_to(folder), path.stat()) for path in files if path.is_file()]
    return [f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states]


def vars_argument(variables: Mapping[str, object]) -> list[str]:
    """dbt's variables as it takes them in a command."""
    return ["--vars", orjson.dumps(variables).decode()]


def dbt_vars(settings: Settings) -> dict[str, str]:
    """The clock, handed on: one ``now`` for loads, dates and maturity."""
    return {"now": settings.now.isoformat()} if settings.now else {}
