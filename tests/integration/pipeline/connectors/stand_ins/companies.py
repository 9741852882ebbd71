"""Companies whose data lies with a vendor's stand-in: what they say of it, and what is in their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.loading.sync import LoadResult, Progress, sync_company
from tests.integration.company_folders import put_secret
from tests.integration.pipeline.connectors.stand_ins import hubspot, salesforce, shopify, stripe, zendesk
from tests.integration.pipeline.connectors.stand_ins.server import Strict, served
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.roles import Role
from warehouse.settings import Settings

AddCompany = Callable[..., Company]

CHUNK_ROWS = 10
TABLES = {"customers": "customer_id", "tickets": "ticket_id", "payments": "payment_id", "events": "event_id"}


@dataclass(frozen=True)
class Preset:
    """A preset and its stand-in. secrets: by the name of their file."""

    name: str
    world: Callable[[], Any]
    now: datetime
    auth: dict[str, str]
    secrets: dict[str, str]
    entities: tuple[str, ...]
    variant: str | None = None

    @property
    def page_secrets(self) -> list[str]:
        """What the references of its page stand for, in their order."""
        client = [value for name, value in self.auth.items() if name == "client_id"]
        return client + list(self.secrets.values())

    def settings(self, url: str) -> dict[str, Any]:
        """The company's connector_settings."""
        chosen = {} if self.variant is None else {"variant": self.variant}
        return {"preset": self.name, "base_url": url, "auth": self.auth, "rate": {"per_minute": None}} | chosen


_ZENDESK = {"username": zendesk.USER, "password": "file:key"}
_SALESFORCE = {"client_id": salesforce.CLIENT, "client_secret": "file:key"}
_ALL = ("customers", "tickets", "payments")
PRESETS = {
    "stripe": Preset(
        "stripe", stripe.account, stripe.NOW, {"token": "file:key"}, {"key": stripe.KEY}, ("customers", "payments")
    ),
    "hubspot": Preset("hubspot", hubspot.account, hubspot.NOW, {"token": "file:key"}, {"key": hubspot.KEY}, _ALL),
    "hubspot_contacts": Preset(
        "hubspot", hubspot.account, hubspot.NOW, {"token": "file:key"}, {"key": hubspot.KEY}, _ALL, "contacts"
    ),
    "zendesk": Preset(
        "zendesk", zendesk.account, zendesk.NOW, _ZENDESK, {"key": zendesk.TOKEN}, ("customers", "tickets")
    ),
    "zendesk_organizations": Preset(
        "zendesk", zendesk.account, zendesk.NOW, _ZENDESK, {"key": zendesk.TOKEN}, ("customers", "tickets"),
        "organizations",
    ),
    "shopify": Preset(
        "shopify", shopify.account, shopify.NOW, {"api_key": "file:key"}, {"key": shopify.TOKEN},
        ("customers", "payments", "events"),
    ),
    "salesforce": Preset(
        "salesforce", salesforce.account, salesforce.NOW, _SALESFORCE, {"key": salesforce.SECRET}, _ALL
    ),
    "salesforce_contacts": Preset(
        "salesforce", salesforce.account, salesforce.NOW, _SALESFORCE, {"key": salesforce.SECRET},
        ("customers", "tickets"), "contacts",
    ),
}  # fmt: skip


class Account:
    """A company and the vendor's stand-in that it reads."""

    def __init__(
        self, preset: Preset, vendor: Strict, warehouse: Warehouse, add_company: AddCompany, home: Path
    ) -> None:
        self._preset = preset
        self._warehouse = warehouse
        self._add_company = add_company
        self._settings = Settings(home=home)
        self._companies: dict[str, Company] = {}
        self.vendor: Any = vendor

    def company(self, slug: str = "acme") -> Company:
        """The company of this name, registered when first asked for."""
        if slug not in self._companies:
            for name, secret in self._preset.secrets.items():
                put_secret(self._settings.home, slug, name, secret)
            self._companies[slug] = self._add_company(
                slug,
                connector="rest",
                entities=list(self._preset.entities),
                connector_settings=self._preset.settings(self.vendor.url),
            )
        return self._companies[slug]

    def sync(
        self, slug: str = "acme", later: timedelta = timedelta(0), progress: Progress | None = None
    ) -> list[LoadResult]:
        """Sync the company, at a time after the stand-in's now."""
        company, clock = self.company(slug), Clock(self._preset.now + later)
        return sync_company(self._warehouse, company, clock, self._settings, progress=progress, chunk_rows=CHUNK_ROWS)

    def newest(self, entity: str, slug: str = "acme") -> dict[str, dict[str, Any]]:
        """The newest version of each record, by its id."""
        key = TABLES[entity]
        rows = self._rows(
            f"select distinct on ({key}) * from raw.{entity} where company_id = %s"
            f" order by {key}, updated_at desc, revision desc",
            slug,
        )
        return {row[key]: row for row in rows}

    def rejected(self, slug: str = "acme") -> list[tuple[str | None, str]]:
        """Rejected records, as id and reason."""
        rows = self._rows("select record_id, reason from raw.rejected_records where company_id = %s order by 1", slug)
        return [(row["record_id"], row["reason"]) for row in rows]

    def differences(self, one: str, other: str) -> list[dict[str, Any]]:
        """Versions that only one of two companies has, but for which load brought them."""
        found: list[dict[str, Any]] = []
        for entity in self._preset.entities:
            versions = (
                f"select (to_jsonb(version) - 'company_id' - 'load_id') as version from raw.{entity} as version"
                " where company_id = "
            )
            ids = [self.company(slug).company_id for slug in (one, other)]
            for first, second in (ids, reversed(ids)):
                found += self._rows(f"{versions}{first} except all {versions}{second}", None)
        return found

    def _rows(self, query: str, slug: str | None) -> list[dict[str, Any]]:
        with self._warehouse.connect(Role.operator) as connection:
            values = None if slug is None else (self.company(slug).company_id,)
            cursor = connection.execute(query, values)  # type: ignore[arg-type]
            names = [column.name for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor]


@contextmanager
def account(preset: Preset, warehouse: Warehouse, add_company: AddCompany, home: Path) -> Iterator[Account]:
    """The stand-in serves for as long as the block lasts."""
    vendor = preset.world()
    with served(vendor):
        yield Account(preset, vendor, warehouse, add_company, home)
