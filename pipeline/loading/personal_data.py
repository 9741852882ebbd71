"""What loading does with a customer's name, e-mail and phone: keep, hash or drop, before anything is stored.

Holds for accepted records, for what they carry in attributes under these names, and for rejected records with
their reasons. A customer's id is never touched: it is the key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.contract import Chunk, Entity
from warehouse.companies.definition import CompanyDefinition
from warehouse.errors import SecretNotFound
from warehouse.landing.records import RejectedRecord
from warehouse.secrets import derive_key
from warehouse.settings import Settings

PERSONAL_FIELDS = ("name", "email", "phone")
HIDDEN = "(not kept)"

_ABOUT_A_PERSON = re.compile(rf"(?:^|; )({'|'.join(PERSONAL_FIELDS)}) ")
Conceal = Callable[[str], str | None]


class PersonalData:
    """A company's rule on personal data, ready to be applied to what its source gives."""

    def __init__(self, company: CompanyDefinition, company_id: int, settings: Settings) -> None:
        """Raises SecretNotFound where the rule is hash and CHURN_SECRET_KEY is not set."""
        self._conceal = _concealer(company, company_id, settings)
        self._source_names = _source_names(company)

    def applied_to(self, entity: Entity, chunk: Chunk) -> Chunk:
        """The chunk as it may be stored."""
        if self._conceal is None or entity.name != "customers":
            return chunk
        return replace(
            chunk,
            accepted=self._concealed(chunk.accepted, self._conceal),
            rejected=tuple(self._concealed_rejection(record, self._conceal) for record in chunk.rejected),
        )

    def _concealed(self, table: pa.Table, conceal: Conceal) -> pa.Table:
        for name in PERSONAL_FIELDS:
            column = table[name].combine_chunks().dictionary_encode()
            pseudonyms = pa.array([conceal(value) for value in column.dictionary.to_pylist()], pa.string())
            concealed = pseudonyms.take(column.indices) if len(pseudonyms) else pa.nulls(len(column), pa.string())
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), concealed)
        place = table.schema.get_field_index("attributes")
        mention = pc.match_substring_regex(table["attributes"], f'"({"|".join(PERSONAL_FIELDS)})"')
        if not pc.any(mention).as_py():
            return table
        attributes = [
            self._concealed_json(text, conceal) if text is not None else None
            for text in table["attributes"].to_pylist()
        ]
        return table.set_column(place, table.schema.field(place), pa.array(attributes, pa.string()))

    def _concealed_rejection(self, record: RejectedRecord, conceal: Conceal) -> RejectedRecord:
        reason = record.reason
        told = _ABOUT_A_PERSON.search(reason)
        if told is not None:  # Such a reason quotes the value, and what follows cannot be told from it.
            reason = f"{reason[: told.start()]}; {told[1]} cannot be read {HIDDEN}".removeprefix("; ")
        return RejectedRecord(record.record_id, reason, self._concealed_json(record.payload, conceal))

    def _concealed_json(self, text: str, conceal: Conceal) -> str:
        """An object without what is personal; of anything else, such as a line that is no record, nothing stays."""
        content = orjson.loads(text)
        if not isinstance(content, dict):
            return orjson.dumps(conceal(text)).decode()
        for name in self._source_names & content.keys():
            content[name] = _concealed_value(content[name], conceal)
        return orjson.dumps(content).decode()


def _concealed_value(value: Any, conceal: Conceal) -> str | None:
    if value is None:
        return None
    return conceal(value if isinstance(value, str) else orjson.dumps(value).decode())


def _concealer(company: CompanyDefinition, company_id: int, settings: Settings) -> Conceal | None:
    if company.personal_data == "keep":
        return None
    if company.personal_data == "drop":
        return lambda _: None
    try:
        key = derive_key(settings, f"churn personal data of company {company_id}")
    except SecretNotFound as error:
        raise SecretNotFound(f"Company {company.slug} has personal_data: hash. {error.message}") from None
    return lambda value: hmac.digest(key, value.encode(), "sha256").hex()


def _source_names(company: CompanyDefinition) -> set[str]:
    """What the personal fields are called, in the contract and in the company's source."""
    names = set(PERSONAL_FIELDS)
    for part in company.connector_settings.values():
        mapping = part.get("customers") if isinstance(part, dict) else None
        columns = mapping.get("columns") if isinstance(mapping, dict) else None
        if isinstance(columns, dict):
            names |= {str(columns[field]) for field in PERSONAL_FIELDS if field in columns}
    return names
