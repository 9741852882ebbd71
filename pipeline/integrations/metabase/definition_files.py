"""Reads the files under `dashboards/`, and refuses them whole where anything in them is wrong.

What a file may say belongs in `definitions.py`, what must fit together in `faults.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.integrations.metabase.card_sql import tables_read
from pipeline.integrations.metabase.definitions import (
    DASHBOARDS_DIRECTORY,
    CardDefinition,
    CardFile,
    DashboardDefinition,
    DashboardFile,
    Definitions,
    Filter,
    FiltersFile,
    Parameter,
    ParameterChoice,
    PeopleFile,
    TemplateTag,
    WarehouseDefinition,
)
from pipeline.integrations.metabase.errors import DefinitionError
from pipeline.integrations.metabase.faults import faults_of

# The parser in C where PyYAML has it: a hundred files are read in a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Model = TypeVar("Model", bound=BaseModel)


def load_definitions(directory: Path = DASHBOARDS_DIRECTORY) -> Definitions:
    """Read and check the whole folder.

    Raises DefinitionError that names every file and key that is wrong, not only the first.
    """
    warehouse = _parse(directory / "warehouse.yaml", WarehouseDefinition)
    people = _parse(directory / "people.yaml", PeopleFile).people
    filters = _parse(directory / "filters.yaml", FiltersFile).root
    folders = sorted(path.parent for path in directory.glob("*/dashboard.yaml"))
    if not folders:
        raise DefinitionError(f"{directory}: no folder with a dashboard.yaml")
    dashboards = sorted(
        (_load_dashboard(folder, filters) for folder in folders), key=lambda dashboard: dashboard.position
    )
    definitions = Definitions(warehouse=warehouse, people=people, dashboards=_with_shared_cards(dashboards))
    faults = list(faults_of(definitions))
    if faults:
        raise DefinitionError("\n".join(faults))
    return definitions


def marts_read(directory: Path = DASHBOARDS_DIRECTORY) -> list[str]:
    """Names of the marts that the cards' SQL reads, whatever state the rest of the files is in."""
    tables = {table for path in directory.glob("*/*.sql") for table in tables_read(path.read_text(encoding="utf-8"))}
    return sorted(table.removeprefix("analytics.") for table in tables if table.startswith("analytics."))


def _load_dashboard(folder: Path, filters: Mapping[str, Filter]) -> DashboardDefinition:
    """One folder: `dashboard.yaml` and its cards, each with its SQL."""
    stems = {path.stem for path in folder.glob("*.yaml")} - {"dashboard"}
    orphans = sorted({path.stem for path in folder.glob("*.sql")} - stems)
    if orphans:
        raise DefinitionError(f"{folder.name}/{orphans[0]}.sql: there is no {orphans[0]}.yaml for it")
    cards = {stem: _load_card(folder, stem, filters) for stem in sorted(stems)}
    file = _parse(folder / "dashboard.yaml", DashboardFile)
    chosen = [ParameterChoice(id=entry) if isinstance(entry, str) else entry for entry in file.parameters]
    for unknown in sorted({choice.id for choice in chosen} - filters.keys()):
        raise DefinitionError(f"{folder.name}/dashboard.yaml: parameters: {unknown} is not in filters.yaml")
    parameters = [
        Parameter(
            id=choice.id,
            slug=choice.id,
            name=filters[choice.id].name,
            type=filters[choice.id].type,
            section_id=filters[choice.id].section_id,
            default=choice.default,
        )
        for choice in chosen
    ]
    return DashboardDefinition(**dict(file) | {"parameters": parameters}, key=folder.name, cards=cards)


def _load_card(folder: Path, stem: str, filters: Mapping[str, Filter]) -> CardDefinition:
    """One card: `<stem>.yaml` and `<stem>.sql`."""
    file = _parse(folder / f"{stem}.yaml", CardFile)
    sql_file = folder / f"{stem}.sql"
    if not sql_file.is_file():
        raise DefinitionError(f"{folder.name}/{stem}.yaml: its SQL file {stem}.sql is missing")
    for unknown in sorted(file.template_tags.keys() - filters.keys()):
        raise DefinitionError(f"{folder.name}/{stem}.yaml: template-tags.{unknown}: is not in filters.yaml")
    tags = {
        name: TemplateTag.model_validate(
            {"dimension": column, "widget-type": filters[name].type, "display-name": filters[name].name}
        )
        for name, column in file.template_tags.items()
    }
    sql = sql_file.read_text(encoding="utf-8").strip()
    return CardDefinition(**dict(file) | {"template_tags": tags}, key=stem, sql=sql)


def _with_shared_cards(dashboards: list[DashboardDefinition]) -> list[DashboardDefinition]:
    """The dashboards, each with the cards that it borrows from other folders; a name that leads nowhere is left out."""
    known = {f"{dashboard.key}/{key}": card for dashboard in dashboards for key, card in dashboard.cards.items()}
    return [
        dashboard.model_copy(
            update={
                "cards": dashboard.cards
                | {
                    dashcard.card: known[dashcard.card]
                    for dashcard in dashboard.dashcards
                    if dashcard.card is not None and dashcard.card in known
                }
            }
        )
        for dashboard in dashboards
    ]


def _parse(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into `model`, or raise DefinitionError naming the file and each faulty key."""
    name = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)  # noqa: S506 - a safe one
    except FileNotFoundError:
        raise DefinitionError(f"{name}: the file is missing") from None
    except yaml.YAMLError as error:
        raise DefinitionError(f"{name}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise DefinitionError(f"{name}: a mapping of keys was expected")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise DefinitionError("\n".join(f"{name}: {fault}" for fault in _readable(error))) from None


def _readable(error: ValidationError) -> Iterator[str]:
    """Pydantic's findings as `key.path: what is wrong`."""
    for finding in error.errors():
        where = ".".join(str(part) for part in finding["loc"])
        message = "is not a known key" if finding["type"] == "extra_forbidden" else finding["msg"]
        yield f"{where}: {message}" if where else message
