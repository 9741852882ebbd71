"""What a person writes about a company: a YAML file, or single fields in a command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape

from orchestration.cli.bounded_yaml import parse_yaml, read_yaml
from orchestration.cli.terminal import CommandFailed, console
from pipeline.companies import parse_definition
from pipeline.prediction.tasks import churn_settings_of
from warehouse.companies.definition import CompanyDefinition
from warehouse.companies.plan import WantedCompany, parse_companies
from warehouse.companies.task_settings import MOVED_TO_CHURN, moved_fields
from warehouse.errors import CompanyDefinitionError


def read_companies(file: Path) -> list[WantedCompany]:
    """The companies of a YAML file. Raises CommandFailed or CompanyDefinitionError, which say what is wrong where."""
    try:
        content = read_yaml(file)
    except OSError as error:
        raise CommandFailed(f"Cannot read {file}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} is no YAML: {error}") from None
    try:
        return parse_companies(content, _parse_with_note)
    except CompanyDefinitionError as error:
        raise CompanyDefinitionError(f"{file} cannot be used.\n{error.message}") from None


def print_moved_fields(slug: str, fields: Mapping[str, Any]) -> None:
    """Say which of these fields of a company have moved to a task's settings, if any, and where they belong now."""
    moved = moved_fields(fields)
    if moved:
        places = ", ".join(f"tasks.churn.{MOVED_TO_CHURN[name]}" for name in moved)
        stands = "stands" if len(moved) == 1 else "stand"
        was = "It was" if len(moved) == 1 else "They were"
        console.print(
            f"[yellow]{escape(slug)}: {', '.join(moved)} now {stands} under tasks: churn:, as {places}. "
            f"{was} read as if written there.[/yellow]"
        )


def print_caution(definition: CompanyDefinition) -> None:
    """Say what the company's settings of churn ask less than they seem to, if anything."""
    churn = churn_settings_of(definition)
    caution = churn.caution() if churn else None
    if caution:
        console.print(f"[yellow]{escape(definition.slug)}: {escape(caution)}[/yellow]")


def _parse_with_note(fields: Mapping[str, Any]) -> CompanyDefinition:
    definition = parse_definition(fields)
    print_moved_fields(definition.slug, fields)
    print_caution(definition)
    return definition


def read_assignment(setting: str) -> tuple[str, Any]:
    """Field and value of ``field=value``, the value as in YAML. Raises CommandFailed."""
    field, sign, value = setting.partition("=")
    if not sign or not field:
        raise CommandFailed(f"{setting} is no FIELD=VALUE.")
    try:
        return field, parse_yaml(value)
    except yaml.YAMLError:
        raise CommandFailed(f"The value of {field} is no YAML; quote it.") from None
