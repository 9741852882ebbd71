"""Opens a company's source: finds its connector, reads its settings and resolves its secrets."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from pipeline.connectors.contract import Source
from pipeline.connectors.errors import AccessDenied, MappingError
from pipeline.connectors.registry import CONNECTORS, Access, Connector, load_connector
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.errors import SecretNotFound
from warehouse.secrets import resolve_secret
from warehouse.settings import Settings


def connector_of(company: Company) -> Connector[Any]:
    """The company's connector. Raises MappingError where there is none of that name, as after a downgrade."""
    if company.connector not in CONNECTORS:
        raise MappingError(
            company.slug,
            f"connector {company.connector}",
            "there is no such connector.",
            f"Set connector to one of {', '.join(CONNECTORS)}.",
        )
    return load_connector(company.connector)


def source_for(company: Company, settings: Settings, clock: Clock, limit: TimeLimit | None = None) -> Source:
    """The source that a company's records come from, and that may take as long as the settings say, or ``limit``.

    Raises MappingError where its connector or connector settings are wrong, AccessDenied where a secret is missing.
    """
    connector = connector_of(company)
    reading = Reading(
        time_zone=ZoneInfo(company.time_zone),
        now=clock.for_company(company),
        has_own_clock=company.clock_at is not None,
        attribute_kinds={attribute.name: attribute.kind for attribute in company.custom_attributes},
    )
    access = Access(
        company.slug,
        reading,
        lambda reference: _secret(company, reference, settings),
        settings,
        limit or time_limit_of(company, settings),
    )
    return connector.open(_parse(company, connector.settings), access)


def time_limit_of(company: Company, settings: Settings) -> TimeLimit:
    """How long the company's source may take, from now on."""
    return TimeLimit.from_settings(company.slug, f"connector {company.connector}", settings)


class SourceOnDemand:
    """A company's source, opened when first asked for, so that a failure is a load's failure; its time runs at once."""

    def __init__(self, company: Company, settings: Settings, clock: Clock) -> None:
        self._company = company
        self._settings = settings
        self._clock = clock
        self._source: Source | None = None
        self.limit = time_limit_of(company, settings)

    def __enter__(self) -> SourceOnDemand:
        return self

    def __exit__(self, *_: object) -> None:
        if self._source is not None:
            self._source.close()

    def get(self) -> Source:
        if self._source is None:
            self._source = source_for(self._company, self._settings, self._clock, self.limit)
        return self._source


def _parse(company: Company, model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate(company.connector_settings)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(['connector_settings', *map(str, problem['loc'])])}: "
            f"{_in_words(problem['type'], problem['msg'])}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise MappingError(
            company.slug,
            f"connector {company.connector}",
            f"{problems}.",
            f"Settings of this connector: {', '.join(model.model_fields)}; see docs/connect-a-crm.md.",
        ) from None


def _in_words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such setting"
    return "is missing" if kind == "missing" else message.removeprefix("Value error, ")


def _secret(company: Company, reference: str, settings: Settings) -> str:
    try:
        return resolve_secret(reference, settings, company.slug)
    except SecretNotFound as error:
        raise AccessDenied(company.slug, f"connector {company.connector}", error.message, "Then sync again.") from None
