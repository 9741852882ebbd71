"""Where a task's rows stand: what dbt builds for it, and what it publishes."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.publication.contract import Contract
from warehouse.relations import Relation


@dataclass(frozen=True)
class TaskRelations:
    """A task's relations, made by its folder in `dbt_project/models/tasks/`, and its contract.

    `label` is the labels' column of the outcome. `times` says when it came, whatever the horizon, and how long it could
    be seen. `segments` gives each entity's segment today (company_id, the
    entity's id, segment), where entities have one.
    """

    contract: Contract
    matrix: Relation
    labels: Relation
    label_versions: Relation
    label: str
    times: Relation
    segments: Relation | None = None

    @property
    def name(self) -> str:
        """The task."""
        return self.contract.task
