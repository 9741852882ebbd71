"""A backup's file: a tar of `manifest.json`, `warehouse.dump` (pg_dump's own format) and what stands in the home."""

from __future__ import annotations

import tarfile
from copy import copy
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from foundation.errors import ChurnError
from warehouse.secrets import derive_key
from warehouse.settings import Settings

MANIFEST = "manifest.json"
DUMP = "warehouse.dump"
HOME = "home"
FOLDERS = ("mlflow", "secrets", "demo")
"""Folders of the home that a backup holds: models' files, companies' secrets, and the demo's world if there is one."""


class NotABackup(ChurnError):
    """The file is no backup of ours, or is cut short."""

    advice = "`churn backup FILE` makes one."


class Manifest(BaseModel):
    """What a backup holds, as it was when it was made.

    `rows` are counts by table. `roles` are all that have rights in it, but for its owner. By `key_check` a
    restore sees whether it has the same CHURN_SECRET_KEY; null where there was none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    revision: str
    made_at: str
    owner: str
    company_ids: list[int]
    roles: list[str]
    rows: dict[str, int]
    key_check: str | None


def key_check(settings: Settings) -> str | None:
    """What only who has this CHURN_SECRET_KEY can make, and what does not give it away; None where it is not set."""
    return derive_key(settings, "backup").hex() if settings.secret_key else None


def read_manifest(path: Path) -> Manifest:
    """The first thing in the file. Raises NotABackup."""
    try:
        with tarfile.open(path, "r:") as archive:
            member = archive.extractfile(MANIFEST)
            if member is not None:
                return Manifest.model_validate_json(member.read())
    except (OSError, tarfile.TarError, KeyError, ValidationError) as error:
        raise NotABackup(f"{path} is no backup of a warehouse: {_reason(error)}") from error
    raise NotABackup(f"{path} is no backup of a warehouse: it has no {MANIFEST}.")


def take_out(path: Path, folder: Path) -> Path:
    """Write the dump into a folder, and return its path. Raises NotABackup."""
    try:
        with tarfile.open(path, "r:") as archive:
            _extract(archive, archive.getmember(DUMP), folder)
    except (OSError, tarfile.TarError, KeyError) as error:
        raise NotABackup(f"{path} is cut short: {_reason(error)}") from error
    return folder / DUMP


def take_out_home(path: Path, home: Path) -> None:
    """Write the folders of the home back into it."""
    with tarfile.open(path, "r:") as archive:
        for member in archive.getmembers():
            if member.name.startswith(f"{HOME}/"):
                inside = copy(member)
                inside.name = member.name.removeprefix(f"{HOME}/")
                _extract(archive, inside, home)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one member below the folder, and nothing outside it. Raises NotABackup and tarfile.TarError."""
    # Python 3.11 before 3.11.4, Debian 12's own, knows no filter: there plain files and folders are all there is.
    if hasattr(tarfile, "data_filter"):
        archive.extract(member, folder, filter="data")
    elif (member.isfile() or member.isdir()) and (folder / member.name).resolve().is_relative_to(folder.resolve()):
        archive.extract(member, folder)
    else:
        raise NotABackup(f"The backup holds {member.name}, which is no plain file below its folder.")


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "its manifest is of another format."
    if isinstance(error, KeyError):
        return f"{error.args[0]}."
    return f"{error}."
