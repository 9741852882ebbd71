"""Companies as people describe them, checked against what the application can do.

The warehouse checks a definition by itself; which connectors and which tasks there are is known only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.connectors.registry import CONNECTORS
from pipeline.prediction.tasks import TASKS
from warehouse.companies import definition
from warehouse.companies.definition import CompanyDefinition
from warehouse.companies.task_settings import Offer

OFFER = Offer(connectors=CONNECTORS, tasks={binding.name: binding.settings for binding in TASKS})


def parse_definition(data: Mapping[str, Any]) -> CompanyDefinition:
    """A definition from plain data, whose connector and tasks exist.

    Raises CompanyDefinitionError, which names the company and each field that is wrong, says what is allowed, and
    shows no value.
    """
    return definition.parse_definition(data, OFFER)
