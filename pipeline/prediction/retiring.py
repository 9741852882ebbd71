"""Which models still need a feature that is on its way out."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TASKS
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.prediction.model_log import chosen_model


def champions_that_read(warehouse: Warehouse, registry: ModelRegistry, features: Iterable[str]) -> dict[str, list[str]]:
    """The champions of all tasks and companies that read each of the features, in alphabetical order.

    Raises a RegistryError where the registry, or a champion's files, cannot be read.
    """
    wanted = set(features)
    reading: dict[str, list[str]] = {feature: [] for feature in sorted(wanted)}
    if not wanted:
        return reading
    with warehouse.connect() as conn:
        names = {
            name
            for company in list_companies(conn)
            for binding in TASKS
            if (name := chosen_model(conn, company.company_id, binding.name)) is not None
        }
    for name in sorted(names):
        champion = registry.champion(name)
        if champion is None:
            continue
        model, version = champion
        for feature in wanted & {each.name for each in model.encoder.features}:
            reading[feature].append(str(version))
    return reading
