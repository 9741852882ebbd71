"""A new CHURN_SECRET_KEY: every company's encrypted secrets, encrypted again."""

from __future__ import annotations

from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse.companies.registry import Connection, list_companies
from warehouse.errors import SecretNotFound
from warehouse.logs.operations import say_who
from warehouse.redaction import references_in
from warehouse.relations import COMPANIES
from warehouse.secrets import rotate_secret
from warehouse.settings import ENCRYPTED, Settings


def rotate_secrets(connection: Connection, settings: Settings, actor: str) -> dict[str, list[str]]:
    """Encrypt every company's secrets with today's key, all in one transaction: {slug: fields that changed}.

    What today's key opens already stays as it is, so a repeat changes nothing. Raises SecretNotFound, which names
    the company and the field, where neither today's key nor the previous one opens a secret; nothing has
    changed then.
    """
    rotated: dict[str, list[str]] = {}
    with connection.transaction():
        # Who is changing a company has read its secrets, and would write them back: it goes first, or waits.
        connection.execute(sql.SQL("lock table {} in exclusive mode").format(COMPANIES.identifier))
        for company in list_companies(connection, active_only=False):
            before = {
                "connector_settings": company.connector_settings,
                "notification_addresses": list(company.notification_addresses),
            }
            after = _rotated(before, company.slug, "", settings)
            changed = [
                path
                for (path, old), (_, new) in zip(references_in(before), references_in(after), strict=True)
                if old != new
            ]
            if changed:
                say_who(connection, actor, "company.secrets_rotated")
                connection.execute(
                    sql.SQL(
                        "update {} set connector_settings = %s, notification_addresses = %s, updated_at = now()"
                        " where company_id = %s"
                    ).format(COMPANIES.identifier),
                    (Jsonb(after["connector_settings"]), after["notification_addresses"], company.company_id),
                )
                rotated[company.slug] = changed
    return rotated


def _rotated(value: Any, slug: str, path: str, settings: Settings) -> Any:
    if isinstance(value, dict):
        return {
            name: _rotated(item, slug, f"{path}.{name}" if path else str(name), settings)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_rotated(item, slug, f"{path}.{position}", settings) for position, item in enumerate(value)]
    if isinstance(value, str) and value.startswith(ENCRYPTED):
        try:
            return rotate_secret(value, settings, slug)
        except SecretNotFound as error:
            raise SecretNotFound(f"Company {slug}, {path}: {error} No secret was changed.") from None
    return value
