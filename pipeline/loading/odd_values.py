"""Values that read, and are likely not what their owner meant: words for nothing, ids as a spreadsheet wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from foundation.counting import agreeing
from pipeline.connectors.contract import ENTITIES, FieldKind
from pipeline.connectors.json_text import in_quotes
from pipeline.connectors.remedies import is_word_for_nothing
from pipeline.loading.sample import EntitySample
from warehouse.companies.definition import Company

GROUPED_BY = frozenset(
    {"status", "plan", "country", "currency", "signup_channel", "category", "priority", "channel", "method"}
)
"""Columns of text whose words make groups: a word for nothing would be one of them."""

_WRITTEN_BY_A_PROGRAM = (
    (re.compile(r"\d+\.0+", re.ASCII), "a whole number that was written as a fraction"),
    (re.compile(r'=?".*"|=.+|\'.*'), "quotes or a formula that a spreadsheet would not show"),
    (re.compile(r"#+"), "what a spreadsheet shows where a column is too narrow"),
)


def odd_values(company: Company, samples: Mapping[str, EntitySample]) -> Iterator[str]:
    """What is likely not meant as it stands, a sentence per column."""
    for name, sample in samples.items():
        for field in ENTITIES[name].fields:
            if field.kind is FieldKind.identifier:
                yield from _ids(name, field.name, sample.table[field.name])
            if field.kind is FieldKind.identifier or field.name in GROUPED_BY:
                yield from _words_for_nothing(name, field.name, sample.table[field.name])
    if "customers" in samples:
        for attribute, words in _categories(company, samples["customers"].table):
            yield from _words_for_nothing("customers", attribute, words)


def _ids(name: str, column: str, ids: pa.ChunkedArray) -> Iterator[str]:
    counts = pc.value_counts(ids.drop_null())
    for pattern, meaning in _WRITTEN_BY_A_PROGRAM:
        odd = [(text, count) for text, count in _pairs(counts) if pattern.fullmatch(text)]
        if odd:
            total = sum(count for _, count in odd)
            yield (
                f"{name}: {total:,} of {column} {agreeing(total, 'hold')} {meaning}, such as {in_quotes(odd[0][0])}: "
                "kept as they are, and other ids than those without."
            )


def _words_for_nothing(name: str, column: str, texts: pa.ChunkedArray) -> Iterator[str]:
    counts = pc.value_counts(texts.drop_null())
    for text, count in _pairs(counts):
        if is_word_for_nothing(text):
            yield (
                f"{name}: {column} is {in_quotes(text)} in {count:,}, a word like any other. If it stands for no "
                f'value, say so by values: {{{column}: {{{orjson.dumps(text).decode()}: ""}}}}.'
            )


def _pairs(counts: pa.StructArray) -> list[tuple[str, int]]:
    return list(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _categories(company: Company, customers: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The attributes that are features as words, each with its words."""
    names = [attribute.name for attribute in company.custom_attributes if attribute.kind == "category"]
    if not names:
        return
    objects = [orjson.loads(text) for text in customers["attributes"].drop_null().to_pylist()]
    for name in names:
        words = [word for found in objects if isinstance(word := found.get(name), str)]
        yield name, pa.chunked_array([pa.array(words, pa.string())])
