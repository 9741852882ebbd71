"""Watching that no company's customers stand outside it, nobody forgotten has come back, and no role grew."""

from dataclasses import dataclass, field

from foundation.counting import counted
from warehouse.connection import Warehouse
from warehouse.privacy.canaries import Sighting, look_in_tables, mark_customers, read_canaries
from warehouse.privacy.canary_files import look_in_files
from warehouse.privacy.erasure import customers_who_came_back
from warehouse.role_check import roles_out_of_order
from warehouse.settings import Settings


@dataclass(frozen=True)
class Watched:
    """What a look round found.

    sightings: canaries outside their company. came_back: rows of forgotten customers, by relation. unmarked: companies
    whose customers cannot be told from others'. roles: what is wrong with the roles, a line each.
    """

    canaries: int
    sightings: list[Sighting]
    came_back: dict[str, int]
    unmarked: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)

    @property
    def alarms(self) -> list[str]:
        """One line for each thing that must not be."""
        back = [f"forgotten customers: {counted(rows, 'row')} in {place}" for place, rows in self.came_back.items()]
        return [f"canary of {sighting}" for sighting in self.sightings] + back + self.roles


def look_round(settings: Settings, warehouse: Warehouse) -> Watched:
    """Mark customers where a company has too few, look for every mark in all tables and files, and at the roles."""
    with warehouse.connect() as conn:
        unmarked = mark_customers(conn)
    with warehouse.connect() as conn:
        canaries = read_canaries(conn)
        sightings = look_in_tables(conn, canaries) + look_in_files(settings.home, canaries)
        return Watched(len(canaries), sightings, customers_who_came_back(conn), unmarked, roles_out_of_order(conn))
