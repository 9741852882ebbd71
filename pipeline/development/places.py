"""Places in which analytics engineers build what they change, beside production."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence
from pathlib import Path

from foundation.private_files import private_file
from pipeline.data_files import PACKAGE, is_checkout
from pipeline.features.own_project import PACKAGE_DIRECTORY, point_at
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
    """Write the profile of `churn dev`, and one for dbt by hand where people write SQL; returns the folder of the last.

    That is in a project of one's own, which gets a link to our package, too, or else in a checkout. By hand the target
    is `dev`: who means production says so.
    """
    logins = _logins(settings)
    by_hand = settings.project or (PACKAGE_DIRECTORY if is_checkout() else None)
    folders = [development_directory(settings), *([by_hand] if by_hand else [])]
    for folder in folders:
        warehouse.write_dbt_profile(folder, developers=logins, default=DEVELOPMENT_TARGET)
    if settings.project:
        (settings.project / "dbt_packages").mkdir(exist_ok=True)
        point_at(settings.project / "dbt_packages" / PACKAGE, PACKAGE_DIRECTORY)
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
