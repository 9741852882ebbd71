"""Picks a company's source by its connector and reads its settings."""

from __future__ import annotations

from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from pipeline.connectors.contract import Source
from pipeline.connectors.errors import AccessDenied, MappingError
from pipeline.connectors.validation import Reading
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.errors import SecretNotFound
from warehouse.secrets import resolve_secret
from warehouse.settings import Settings

ConnectorSettings = TypeVar("ConnectorSettings", bound=BaseModel)


def source_for(company: Company, settings: Settings, clock: Clock) -> Source:
    """The source that a company's records come from.

    Raises MappingError where its connector settings are wrong, AccessDenied where a secret is missing.
    """
    reading = Reading(
        time_zone=ZoneInfo(company.time_zone),
        now=clock.for_company(company),
        has_own_clock=company.clock_at is not None,
    )
    # dlt, requests and SQLAlchemy take seconds to import: only what the company needs.
    if company.connector == "habari_api":
        from pipeline.connectors.habari_api import HabariApi, HabariSettings

        habari = _parse(company, HabariSettings)
        key = _secret(company, habari.api_key, settings)
        return HabariApi(company.slug, habari, key, reading)
    if company.connector == "sql_database":
        from pipeline.connectors.sql_database import SqlDatabase, SqlSettings

        database = _parse(company, SqlSettings)
        return SqlDatabase(company.slug, database, _secret(company, database.url, settings), reading)
    from pipeline.connectors.files import Files, FileSettings

    return Files(company.slug, _parse(company, FileSettings), settings.home, reading)


def _parse(company: Company, model: type[ConnectorSettings]) -> ConnectorSettings:
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
        return resolve_secret(reference, settings)
    except SecretNotFound as error:
        raise AccessDenied(company.slug, f"connector {company.connector}", error.message, "Then sync again.") from None
