"""Files of a company in a folder of its own, for tests of the file connector."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.connectors.contract import PAYMENTS, Chunk, Entity
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.files import Files, FileSettings
from pipeline.connectors.validation import Reading
from tests.integration.company_folders import imports
from warehouse.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = {"payment_id": "no", "customer_id": "who", "issued_at": "day", "updated_at": "day", "amount": "sum"}
MAPPING = {"columns": COLUMNS, "constants": {"kind": "charge"}}


class Export:
    """The folder of a company `acme` below a home, and the settings that read it."""

    def __init__(self, home: Path, zone: str = "UTC") -> None:
        self.home = home
        self.folder = imports(home)
        self.zone = zone

    def write(self, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    def source(self, entity: Entity = PAYMENTS, *, tables: Any = None, **mapping: Any) -> Files:
        """The connector; what is not given of a mapping by path is MAPPING's."""
        given = mapping if "query" in mapping or entity is not PAYMENTS else MAPPING | mapping
        settings = {"tables": tables or {}, "files": {entity.name: given}}
        reading = Reading(ZoneInfo(self.zone), NOW, attribute_kinds={"seats_sold": "number", "is_reseller": "flag"})
        return Files("acme", FileSettings.model_validate(settings), Settings(home=self.home), reading)

    def chunk(self, entity: Entity = PAYMENTS, **mapping: Any) -> Chunk:
        """All records as one chunk; received is the sum of what was taken, rejected and repeated."""
        (chunk,) = self.source(entity, **mapping).read(entity, None, 1_000_000)
        assert chunk.received >= chunk.accepted.num_rows + len(chunk.rejected)
        return chunk

    def column(self, name: str, entity: Entity = PAYMENTS, **mapping: Any) -> list[Any]:
        """A contract column of all records, in order of time, where none is rejected."""
        chunk = self.chunk(entity, **mapping)
        assert chunk.rejected == ()
        return chunk.accepted[name].to_pylist()  # type: ignore[no-any-return]

    def failure(self, entity: Entity = PAYMENTS, **mapping: Any) -> str:
        """What the error says."""
        with pytest.raises(ConnectorError) as caught:
            list(self.source(entity, **mapping).read(entity, None, 1_000))
        return str(caught.value)
