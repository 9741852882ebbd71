"""What a load refuses of a source's chunks as a whole, since single records cannot show it."""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc

from pipeline.connectors.contract import Chunk, Entity
from pipeline.connectors.errors import IdsRepeat, OutOfOrder
from warehouse.companies.definition import Company

LARGEST_CLASHING_SHARE = 0.5
"""Where more of a chunk's records clash with one of the same id and moment, the id is not one."""


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
