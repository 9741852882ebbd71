"""A company's secrets go to the host that they were registered for, and follow no changed address elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from warehouse.companies.definition import CompanyDefinition
from warehouse.errors import SecretMoved
from warehouse.redaction import references_in


def refuse_moved_secrets(before: CompanyDefinition, after: CompanyDefinition) -> None:
    """Raises SecretMoved where a secret of the registered company would be sent to a host that did not get it.

    The scheme counts: what went by https does not go on by http.
    """
    new_hosts = set(_places(after.connector_settings)) - set(_places(before.connector_settings))
    if not new_hosts:
        return
    known = {reference for _, reference in references_in([before.connector_settings, before.notification_addresses])}
    moved = [path for path, reference in references_in(after.connector_settings) if reference in known]
    if moved:
        raise SecretMoved(
            f"Company {after.slug}: connector_settings lead to {', '.join(sorted(new_hosts))}, and "
            f"{', '.join(moved)} would send there a secret that was registered for another address. "
            f"Put the new address's own secret under another name, and refer to that."
        )


def _places(settings: Mapping[str, Any]) -> Iterator[str]:
    """The hosts that settings name, and the one that a preset stands for where they name none of their own."""
    yield from _hosts(settings)
    if "preset" in settings and "base_url" not in settings:
        yield f"the host of preset {settings['preset']}"


def _hosts(value: object) -> Iterator[str]:
    """Where the addresses in plain data lead: https://crm.example.com; a plain one may become encrypted."""
    if isinstance(value, str):
        try:
            parts = urlsplit(value)
        except ValueError:
            return
        if parts.hostname and parts.scheme:
            yield f"{parts.scheme}://{parts.hostname}"
            if parts.scheme == "http":
                yield f"https://{parts.hostname}"
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _hosts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _hosts(item)
