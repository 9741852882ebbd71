"""What a check understood of a source, and what it doubts: times and their zones, ids, customers that do not come.

Findings that are right whatever the connector. What a connector itself has to say comes as its remarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from foundation.counting import agreeing
from pipeline.connectors.contract import ENTITIES, FieldKind, TimeExample
from pipeline.connectors.json_text import in_quotes
from pipeline.loading.contradictions import contradictions
from pipeline.loading.expected_columns import likely_name
from pipeline.loading.odd_values import GROUPED_BY, odd_values
from pipeline.loading.sample import EntitySample
from warehouse.companies.definition import Company

MOST = 0.5
"""Where fewer records than this share find their customer, the ids are of two kinds."""

_SHOWN = 3
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"
"""Characters without width, which are no blanks and no more to be seen than these."""
_JSON_KINDS = {"number": (int, float), "flag": (bool,)}


@dataclass(frozen=True)
class Links:
    """How many of an entity's records find their customer; and ids on both sides, where some do not.

    customers: among how many; is_sample: there are more, so that a record's customer may be one of those.
    """

    entity: str
    records: int
    linked: int
    customers: int
    is_sample: bool
    lost_ids: tuple[str, ...]
    customer_ids: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the records, 0 to 1."""
        return self.linked / self.records

    @property
    def most_are_lost(self) -> bool:
        """Nothing could be learned of these records."""
        return self.share < MOST and not self.is_sample

    def doubt(self) -> str | None:
        """What is to be told of records that do not find their customer; None where all do, or that is a failure."""
        if self.linked == self.records or self.most_are_lost:
            return None
        if not self.is_sample:
            lost = self.records - self.linked
            return f"{lost:,} {agreeing(lost, 'do')} not find their customer, such as {self.lost_ids[0]}."
        told = (
            f"in this sample {self.linked:,} of {self.records:,} find their customer among the {self.customers:,} that "
            "were read"
        )
        if self.linked:
            return f"{told}; `--records` reads more."
        return f"{told}: is customer_id, like {self.lost_ids[0]}, of the kind of {self.customer_ids[0]}?"

    def failure(self) -> str:
        """Why this is not ready."""
        return (
            f"{self.entity}: only {self.linked:,} of {self.records:,} find their customer. Their customer_id is like "
            f"{', '.join(self.lost_ids)}, that of customers like {', '.join(self.customer_ids)}: map the column that "
            "holds the same ids."
        )


def links_of(samples: Mapping[str, EntitySample], entity: str) -> Links | None:
    """How the records of an entity find their customers; None where it has none, or customers cannot be read."""
    customers, sample = samples.get("customers"), samples[entity]
    is_linked = entity != "customers" and ENTITIES[entity].is_of_customers
    if not is_linked or customers is None or customers.error or not sample.table.num_rows:
        return None
    ids = sample.table["customer_id"].drop_null()
    is_known = pc.is_in(ids, value_set=customers.table["customer_id"].combine_chunks())
    lost = pc.unique(ids.filter(pc.invert(is_known))).slice(0, _SHOWN)
    known = pc.unique(customers.table["customer_id"]).slice(0, _SHOWN)
    linked = pc.sum(is_known).as_py() or 0
    return Links(
        entity,
        max(len(ids), 1),
        linked,
        pc.count_distinct(customers.table["customer_id"]).as_py(),
        not customers.is_complete,
        _quoted(lost),
        _quoted(known) or ("none",),
    )


def without_customers(samples: Mapping[str, EntitySample]) -> list[str]:
    """The failure that no customer came, where that is so."""
    customers = samples.get("customers")
    if customers is None or customers.error or customers.received:
        return []
    return ["customers: not one came, and without customers nothing can be predicted. Is the export empty?"]


def understanding(company: Company, samples: Mapping[str, EntitySample]) -> Iterator[str]:
    """How each entity was read, three of its times, and what is doubtful; a sentence each."""
    for name, sample in samples.items():
        yield from (f"{name}: {sentence}" for sentence in (*sample.understood, *sample.remarks))
    for name in samples:
        links = links_of(samples, name)
        if links is not None and (doubt := links.doubt()):
            yield f"{name}: {doubt}"
    yield from _padded(samples)
    yield from odd_values(company, samples)
    yield from _columns_by_another_name(company, samples)
    customers = samples.get("customers")
    if customers is not None:
        yield from _attributes_of_another_kind(company, customers)
    yield from contradictions(company, samples)
    for name, sample in samples.items():
        if sample.examples:
            yield f"{name}: times are read as {'; '.join(map(_time_read, sample.examples))}."


def _time_read(example: TimeExample) -> str:
    return f"{example.given} = {example.read_as:%Y-%m-%d %H:%M} UTC ({example.column}, {example.time_zone})"


def _columns_by_another_name(company: Company, samples: Mapping[str, EntitySample]) -> Iterator[str]:
    """Columns of ours that nothing is mapped to, where one of nearly that name goes to the attributes."""
    chosen = {attribute.name for attribute in company.custom_attributes}
    for name, sample in samples.items():
        kept = frozenset[str]().union(*(seen.unmapped for seen in sample.columns)) - chosen
        for column in ENTITIES[name].field_names:
            is_absent = all(column in seen.absent for seen in sample.columns)
            if is_absent and (likely := likely_name(column, kept)):
                yield (
                    f"{name}: {in_quotes(likely)} is kept as an attribute, and no column is {column}: map it if it is "
                    "that."
                )


def _padded(samples: Mapping[str, EntitySample]) -> Iterator[str]:
    """Ids, and words that records are grouped by, with blanks around them."""
    for name, sample in samples.items():
        for field in ENTITIES[name].fields:
            if field.kind is not FieldKind.identifier and field.name not in GROUPED_BY:
                continue
            texts = sample.table[field.name]
            trimmed = pc.utf8_trim(pc.utf8_trim_whitespace(texts), characters=_UNSEEN)
            padded = texts.filter(pc.not_equal(texts, trimmed))
            if len(padded):
                others = "ids" if field.kind is FieldKind.identifier else "words"
                yield (
                    f"{name}: {len(padded):,} of {field.name} {agreeing(len(padded), 'begin')} or "
                    f"{agreeing(len(padded), 'end')} with a blank, such as "
                    f"{_quoted(padded.slice(0, 1))[0]}: kept as they are, and other {others} than those without."
                )


def _attributes_of_another_kind(company: Company, customers: EntitySample) -> Iterator[str]:
    declared = {
        attribute.name: _JSON_KINDS[attribute.kind]
        for attribute in company.custom_attributes
        if attribute.kind in _JSON_KINDS
    }
    if not declared:
        return
    counts = dict.fromkeys(declared, 0)
    examples: dict[str, str] = {}
    for text in customers.table["attributes"].drop_null().to_pylist():
        attributes = orjson.loads(text)
        for name, kinds in declared.items():
            value = attributes.get(name)
            is_other = value is not None and (type(value) not in kinds)
            if is_other and value != "":
                counts[name] += 1
                examples.setdefault(name, str(value))
    for name, count in counts.items():
        if count:
            kind = next(attribute.kind for attribute in company.custom_attributes if attribute.name == name)
            yield (
                f"customers: {count:,} {agreeing(count, 'have')} no {kind} in {name}, such as "
                f'"{examples[name]}": left out of the features. '
                "Translate words by `values`, or declare it a category."
            )


def _quoted(ids: pa.Array | pa.ChunkedArray) -> tuple[str, ...]:
    return tuple(map(in_quotes, ids.to_pylist()))
