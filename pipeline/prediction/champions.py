"""Changing by hand which model publishes for a company: promoting a version, and going back to the one before."""

from dataclasses import dataclass

from foundation.model_version import ModelVersion
from ml_assets.frames import is_same_version
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import TaskBinding
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.prediction.feature_store import feature_versions_at
from warehouse.prediction.model_log import Event, Promotion, chosen_model, previous_champion, record_promotion


class ChampionNotChanged(WarehouseError):
    """The champion could not be changed as asked; the one that stood publishes on."""


@dataclass(frozen=True)
class Changed:
    """Which version of which model publishes now, and which did before."""

    before: ModelVersion | None
    after: ModelVersion


class Champions:
    """Promotes and rolls back; each change is a row in ``ml.promotions``, and by its trigger in the audit log."""

    def __init__(self, binding: TaskBinding, warehouse: Warehouse, registry: ModelRegistry, clock: Clock) -> None:
        self._binding = binding
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock

    def model_of(self, company: Company) -> str:
        """The registry's name of the model that publishes for the company. Raises ChampionNotChanged without one."""
        with self._warehouse.connect() as conn:
            name = chosen_model(conn, company.company_id, self._binding.name)
        if name is None:
            raise ChampionNotChanged(f"{company.slug} has no model yet: run `churn train --company {company.slug}`.")
        return name

    def rollback(self, company: Company, actor: str) -> Changed:
        """Let the champion before the present one publish again."""
        name = self.model_of(company)
        current = self._registry.champion_version(name)
        with self._warehouse.connect() as conn:
            before = previous_champion(conn, current) if current else None
        if before is None:
            number = current.number if current else 0
            raise ChampionNotChanged(f"{name} has had no champion before v{number}: there is nothing to go back to.")
        why = f"rolled back from v{current.number}" if current else "rolled back"
        return self._change(company, current, before, "rolled_back", actor, why)

    def promote(self, company: Company, number: int, actor: str) -> Changed:
        """Let this version publish, whatever a comparison said."""
        version = ModelVersion(self.model_of(company), number)
        current = self._registry.champion_version(version.name)
        if current == version:
            raise ChampionNotChanged(f"{version} is the champion already.")
        return self._change(company, current, version, "chosen", actor, "chosen by a person")

    def _change(
        self,
        company: Company,
        current: ModelVersion | None,
        version: ModelVersion,
        event: Event,
        actor: str,
        why: str,
    ) -> Changed:
        """The model is read first, and must fit today's features: a champion that cannot score is none."""
        model = self._registry.load(version)
        with self._warehouse.connect() as conn:
            today = self._clock.for_company(company).date()
            now = feature_versions_at(conn, self._binding.relations, company.company_id, today)
        unfit = [
            feature_version
            for feature_version in now
            if not is_same_version(model.facts.feature_version, feature_version)
        ]
        if unfit:
            raise ChampionNotChanged(
                f"{version} learned from features of version {model.facts.feature_version}, and "
                f"{company.slug} has {', '.join(unfit)} now: it could not score. {current} publishes on; "
                f"`churn train --company {company.slug}` trains again."
            )
        self._registry.set_champion(version)
        with self._warehouse.connect() as conn:
            record_promotion(
                conn,
                Promotion(
                    company_id=company.company_id,
                    task=self._binding.name,
                    event=event,
                    model_name=version.name,
                    from_version=str(current.number) if current else None,
                    to_version=str(version.number),
                    why=why,
                    figures={},
                    actor=actor,
                ),
            )
        return Changed(current, version)
