"""Which databases a company's address may lead to: neither the warehouse's own server, nor a file of anybody else's."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from pipeline.connectors.errors import AccessDenied
from pipeline.connectors.registry import Access
from warehouse.own_server import is_own_server


def refuse_place_of_others(access: Access, reference: str, address: str) -> None:
    """Raises AccessDenied where the address is the warehouse's own Postgres, or SQLite outside the company's folder.

    `reference` is what the company's settings say instead of the address. What is no address at all is not judged.
    """
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError):
        return
    source = f"database {reference}"
    if is_own_server(url, access.settings):
        raise AccessDenied(
            access.company,
            source,
            "that is the warehouse's own Postgres, which holds every company's records.",
            f"Give the address of the company's database where {reference} points.",
        )
    folders = [root / access.company for root in access.settings.import_roots]
    if url.get_backend_name() == "sqlite" and not _lies_in(folders, url):
        raise AccessDenied(
            access.company,
            source,
            f"that is no file of {access.company}'s: its files lie in {' or '.join(map(str, folders))}.",
            "Put the database there; CHURN_IMPORT_FOLDERS names further places that hold a folder per company.",
        )


def _lies_in(folders: list[Path], url: sa.URL) -> bool:
    """Whether a plain path leads into one of the folders, links followed. A URI of SQLite's own may say anything."""
    if not url.database or url.database.startswith((":", "file:")) or "uri" in url.query:
        return False
    try:
        file = Path(url.database).resolve()
        return not file.is_dir() and any(file.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):
        return False
