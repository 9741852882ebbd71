"""What a load refuses of a source's chunks as a whole, since single records cannot show it."""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc

from foundation.counting import agreeing, counted
from pipeline.connectors.contract import Chunk, Entity
from pipeline.connectors.errors import IdsRepeat, OutOfOrder
from pipeline.connectors.json_text import in_quotes
from warehouse.companies.definition import Company

LARGEST_CLASHING_SHARE = 0.5
"""Where more of a chunk's records clash with one of the same id and moment, the id is not one."""


class RepeatedIds:
    """Records of one load that have the id and the moment of another and say otherwise: the last one counts."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._count = 0
        self._example: str | None = None

    def see(self, given: Chunk) -> None:
        """Note those of a chunk."""
        self._count += given.clashing
        if self._count and self._example is None:
            self._example = _repeated_id(self._entity, given)

    def remarks(self) -> list[str]:
        """A sentence, where there are such records."""
        if not self._count:
            return []
        example = "" if self._example is None else f", such as {in_quotes(self._example)}"
        return [
            f"{counted(self._count, self._entity.name.removesuffix('s'))} {agreeing(self._count, 'have')} the "
            f"{self._entity.key} of another at one time and {agreeing(self._count, 'say')} otherwise{example}: the "
            f"last one counts. Is {self._entity.key} an id of {self._entity.name}?"
        ]


def _repeated_id(entity: Entity, given: Chunk) -> str | None:
    versions = given.accepted.group_by([entity.key, "updated_at"]).aggregate([([], "count_all")])
    repeated = versions.filter(pc.greater(versions["count_all"], 1))
    return None if not repeated.num_rows else repeated[entity.key][0].as_py()


def refuse_repeated_ids(company: Company, entity: Entity, given: Chunk) -> None:
    """An id that most records share with others is none: each would be taken for a version of one record."""
    if given.clashing > LARGEST_CLASHING_SHARE * given.received:
        raise IdsRepeat(
            company.slug,
            f"connector {company.connector}",
            f"{given.clashing:,} of {given.received:,} {entity.name} have the {entity.key} of another"
            " and say otherwise, at one time.",
            f"Map {entity.key} to a column that tells them apart. If they are versions of one record, map"
            " updated_at to when each was made.",
        )


def refuse_disorder(company: Company, entity: Entity, newest: datetime | None, given: Chunk) -> None:
    """A source out of order would let the cursor pass records that a kill then loses."""
    oldest = pc.min(given.accepted["updated_at"]).as_py()
    if newest is not None and oldest is not None and oldest < newest:
        raise OutOfOrder(
            company.slug,
            f"connector {company.connector}",
            f"{entity.name} do not come in order of updated_at ({oldest} after {newest}).",
            "The source must order by updated_at, oldest first.",
        )
