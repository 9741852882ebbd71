"""A connector as somebody else would write one: its customers are the letters of a word in its settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from pipeline.connectors.contract import Chunk, Entity, Totals
from pipeline.connectors.errors import SourceNotFound
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.validation import Reading, validate_records


class LettersSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    word: str = Field(description="Reference to the word: env:NAME, file:PATH or encrypted:TOKEN.")


class Letters:
    def __init__(self, company: str, word: str, reading: Reading) -> None:
        self._company = company
        self._word = word
        self._reading = reading

    def read(self, entity: Entity, updated_since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        self._refuse_what_there_is_not(entity)
        day = "2025-01-01T00:00:00Z"
        records: list[object] = [
            {"customer_id": letter, "created_at": day, "updated_at": day, "shape": letter.upper()}
            for letter in self._word
        ]
        yield validate_records(entity, records, self._reading)

    def totals(self, entity: Entity) -> Totals | None:
        self._refuse_what_there_is_not(entity)
        return Totals(live=len(self._word), deleted=0)

    def close(self) -> None:
        self._word = ""

    def _refuse_what_there_is_not(self, entity: Entity) -> None:
        if entity.name != "customers":
            raise SourceNotFound(self._company, "letters", f"a word has no {entity.name}.", "Leave them out.")


def _open(settings: LettersSettings, access: Access) -> Letters:
    return Letters(access.company, access.secret(settings.word), access.reading)


CONNECTOR = Connector(LettersSettings, _open)
