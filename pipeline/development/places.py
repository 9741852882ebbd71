"""Places in which analytics engineers build what they change, beside production."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from pathlib import Path

from foundation.private_files import private_file
from pipeline.data_files import is_checkout
from pipeline.features.catalogue import PROJECT_DIRECTORY
from warehouse import developers
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.dbt_targets import DEVELOPMENT_TARGET
from warehouse.developers import Developer
from warehouse.settings import Settings

NEWEST_DATES = 3


def usual_name() -> str:
    """The name of the user of the machine, as far as a place may be called so."""
    return re.sub("[^a-z0-9]", "", getpass.getuser().lower()).lstrip("0123456789")[:20] or "me"


def start(
    settings: Settings,
    warehouse: Warehouse,
    name: str,
    companies: Sequence[Company] | None,
    newest_dates: int | None,
) -> Developer:
    """Make a place, or change the one of this name, and write it into dbt's profiles; `dev` is the last one started.

    Raises DeveloperRefused.
    """
    with warehouse.connect() as conn:
        company_ids = None if companies is None else [company.company_id for company in companies]
        password = developers.make_place(conn, name, company_ids, newest_dates)
        place = developers.place_of(conn, name)
    folder = _passwords(settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with private_file(folder / place.login) as file:
        file.write(password.encode())
    write_profiles(settings, warehouse)
    return place


def drop(settings: Settings, warehouse: Warehouse, name: str) -> None:
    """Drop a place with all that was built in it. Raises DeveloperUnknown."""
    with warehouse.connect() as conn:
        developers.drop_place(conn, name)
    (_passwords(settings) / developers.login_of(name)).unlink(missing_ok=True)
    write_profiles(settings, warehouse)


def write_profiles(settings: Settings, warehouse: Warehouse) -> Path:
    """Write the profile of `churn dev`, and in a checkout the one for dbt by hand; returns the folder of the last.

    By hand the target is `dev`: who means production says so.
    """
    logins = _logins(settings)
    folders = [development_directory(settings), *([PROJECT_DIRECTORY] if is_checkout() else [])]
    for folder in folders:
        warehouse.write_dbt_profile(folder, developers=logins, default=DEVELOPMENT_TARGET)
    return folders[-1]


def development_directory(settings: Settings) -> Path:
    """Where the profile of `churn dev` stands, and what dbt writes when it builds in a place."""
    return settings.home / "dbt" / "development"


def _passwords(settings: Settings) -> Path:
    return settings.home / "dbt" / "developers"


def _logins(settings: Settings) -> dict[str, str]:
    """Logins and passwords, the last one started first."""
    if not _passwords(settings).is_dir():
        return {}
    files = sorted(_passwords(settings).glob("dev_*"), key=lambda path: path.stat().st_mtime, reverse=True)
    return {path.name: path.read_text() for path in files}
