"""The entity contract and the raw tables say the same."""

from __future__ import annotations

import pytest

from pipeline.connectors.contract import ENTITIES, Entity, FieldKind
from warehouse.connection import Warehouse
from warehouse.relations import ENTITY_RELATIONS

POSTGRES_TYPES = {
    FieldKind.identifier: "text",
    FieldKind.text: "text",
    FieldKind.integer: "integer",
    FieldKind.money: "numeric(18,4)",
    FieldKind.boolean: "boolean",
    FieldKind.timestamp: "timestamp with time zone",
}
OURS = {"company_id", "known_at", "is_backfill", "load_id", "revision", "made_at", "is_vanished"}


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=lambda entity: entity.name)
def test_every_contract_column_has_its_raw_column_and_the_other_way_round(entity: Entity, warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        columns = dict(
            connection.execute(
                "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
                " where attrelid = %s::regclass and attnum > 0 and not attisdropped",
                (str(ENTITY_RELATIONS[entity.name]),),
            ).fetchall()
        )
    contract = {field.name: POSTGRES_TYPES[field.kind] for field in entity.fields} | {"attributes": "jsonb"}
    assert {name: kind for name, kind in columns.items() if name not in OURS} == contract
    assert entity.schema.names == [*entity.field_names, "attributes"]


def test_the_contract_and_the_registry_name_the_same_entities() -> None:
    assert list(ENTITIES) == list(ENTITY_RELATIONS)
