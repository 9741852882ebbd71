"""What a company says of its prediction tasks: which are on, and with which settings.

Which tasks there are, and what each asks for, the application above knows; here stands how it is said and checked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

LONGEST_DAYS = 730
"""Of a horizon or a silence: with a longer one hardly a date of the three years that are built is mature."""

MOVED_TO_CHURN = {
    "churn_kind": "kind",
    "inactivity_days": "inactivity_days",
    "downgrade_share": "downgrade_share",
    "horizon_days": "horizon_days",
}
"""Fields that stood in the company itself before it had tasks, and their names under ``tasks.churn``."""


class TaskSettings(BaseModel):
    """What a company says of any task; a task with more to say has a class of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    horizon_days: int = Field(
        default=30,
        gt=0,
        description=f"a whole number, 1 to {LONGEST_DAYS}: the days after as_of_date in which the outcome counts",
    )

    @field_validator("horizon_days", "inactivity_days", check_fields=False)
    @classmethod
    def _not_too_long(cls, days: int | None, checked: ValidationInfo) -> int | None:
        """What stands in the registry was checked when it came, by the limits of its time."""
        if checked.context is not None and days is not None and days > LONGEST_DAYS:
            raise ValueError(f"must be at most {LONGEST_DAYS}")
        return days

    def needed_entity(self) -> str:
        """The entity of the CRM without which no outcome could ever be seen."""
        return "customers"

    def meaning(self) -> str:
        """What must be the same for two companies to learn from each other, as part of a model's name."""
        return f"{self.horizon_days}d"


@dataclass(frozen=True)
class Offer:
    """What the application offers a company: connectors, and tasks with the settings that each asks for, by name."""

    connectors: Collection[str]
    tasks: Mapping[str, type[TaskSettings]]


def checked_tasks(tasks: Mapping[str, Mapping[str, Any]], offer: Offer) -> dict[str, dict[str, Any]]:
    """The tasks with their settings filled in. Raises ValueError, which names the task and the setting."""
    if not tasks:
        raise ValueError(f"must name at least one of {', '.join(offer.tasks)}")
    unknown = [name for name in tasks if name not in offer.tasks]
    if unknown:
        raise ValueError(f"there is no task {', '.join(unknown)}; there are {', '.join(offer.tasks)}")
    return {name: _checked(name, settings, offer.tasks[name]) for name, settings in tasks.items()}


def missing_entities(tasks: Mapping[str, Mapping[str, Any]], entities: Collection[str], offer: Offer) -> list[str]:
    """Of tasks that were checked, those whose outcomes stand in records that the company does not give, in words."""
    needed = {name: offer.tasks[name].model_validate(dict(said)).needed_entity() for name, said in tasks.items()}
    return [
        f"entities: must hold {entity}, by which the outcome of tasks.{name} is told"
        for name, entity in needed.items()
        if entity not in entities
    ]


def _checked(task: str, settings: Mapping[str, Any], model: type[TaskSettings]) -> dict[str, Any]:
    try:
        return model.model_validate(dict(settings), context=LONGEST_DAYS).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_input=False, include_url=False):
            where = ".".join([task, *map(str, problem["loc"])])
            what = problem["msg"].removeprefix("Value error, ")
            field = model.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
            if problem["type"] == "extra_forbidden":
                what = f"there is no such setting; settings are {', '.join(model.model_fields)}"
            allowed = f" ({field.description})" if field is not None and field.description else ""
            problems.append(f"{where}: {what}{allowed}")
        raise ValueError("; ".join(problems)) from None


def moved_fields(data: Mapping[str, Any]) -> list[str]:
    """The fields of a definition that have moved under ``tasks.churn``; they keep working."""
    return [name for name in MOVED_TO_CHURN if data.get(name) is not None]


def with_moved_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with such fields where they belong now. Raises ValueError where one is said twice, differently."""
    fields = {name: value for name, value in data.items() if name not in MOVED_TO_CHURN}
    moved = {MOVED_TO_CHURN[name]: data[name] for name in moved_fields(data)}
    if not moved:
        return fields
    tasks = dict(fields.get("tasks") or {})
    churn = dict(tasks.get("churn") or {})
    twice = sorted(name for name, value in moved.items() if churn.get(name, value) != value)
    if twice:
        raise ValueError(f"tasks.churn says something else of {', '.join(twice)} than the field beside it: keep one")
    return fields | {"tasks": tasks | {"churn": churn | moved}}
