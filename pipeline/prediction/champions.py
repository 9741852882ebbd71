"""Changing by hand which model publishes for a company: promoting a version, and going back to the one before."""

from dataclasses import dataclass

from ml_assets.frames import is_same_version
from ml_assets.task import CHURN
from pipeline.prediction.registry import ModelRegistry
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

    model_name: str
    before: str | None
    after: str


class Champions:
    """Promotes and rolls back; each change is a row in ``ml.promotions``, and by its trigger in the audit log."""

    def __init__(self, warehouse: Warehouse, registry: ModelRegistry, clock: Clock) -> None:
        self._warehouse = warehouse
        self._registry = registry
        self._clock = clock

    def model_of(self, company: Company) -> str:
        """The registry's name of the model that publishes for the company. Raises ChampionNotChanged without one."""
        with self._warehouse.connect() as conn:
            name = chosen_model(conn, company.company_id, CHURN.name)
        if name is None:
            raise ChampionNotChanged(f"{company.slug} has no model yet: run `churn train --company {company.slug}`.")
        return name

    def rollback(self, company: Company, actor: str) -> Changed:
        """Let the champion before the present one publish again."""
        name = self.model_of(company)
        current = self._registry.champion_version(name)
        with self._warehouse.connect() as conn:
            before = previous_champion(conn, name, current) if current else None
        if before is None:
            raise ChampionNotChanged(f"{name} has had no champion before v{current}: there is nothing to go back to.")
        return self._change(company, name, current, before, "rolled_back", actor, f"rolled back from v{current}")

    def promote(self, company: Company, version: str, actor: str) -> Changed:
        """Let this version publish, whatever a comparison said."""
        name = self.model_of(company)
        current = self._registry.champion_version(name)
        if current == version:
            raise ChampionNotChanged(f"{name} v{version} is the champion already.")
        return self._change(company, name, current, version, "chosen", actor, "chosen by a person")

    def _change(
        self, company: Company, name: str, current: str | None, version: str, event: Event, actor: str, why: str
    ) -> Changed:
        """The model is read first, and must fit today's features: a champion that cannot score is none."""
        model = self._registry.load(name, version)
        with self._warehouse.connect() as conn:
            now = feature_versions_at(conn, company.company_id, self._clock.for_company(company).date())
        unfit = [one for one in now if not is_same_version(model.facts.feature_version, one)]
        if unfit:
            raise ChampionNotChanged(
                f"{name} v{version} learned from features of version {model.facts.feature_version}, and "
                f"{company.slug} has {', '.join(unfit)} now: it could not score. v{current} publishes on; "
                f"`churn train --company {company.slug}` trains anew."
            )
        self._registry.set_champion(name, version)
        with self._warehouse.connect() as conn:
            record_promotion(
                conn,
                Promotion(
                    company_id=company.company_id,
                    task=CHURN.name,
                    event=event,
                    model_name=name,
                    from_version=current,
                    to_version=version,
                    why=why,
                    figures={},
                    actor=actor,
                ),
            )
        return Changed(name, current, version)
