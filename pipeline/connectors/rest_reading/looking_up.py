"""Puts beside each record what stands elsewhere about it: in the same page, or asked for by batches of ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pipeline.connectors.http_source import HttpSource
from pipeline.connectors.rest_reading.asking import RestApi
from pipeline.connectors.rest_reading.expressions import getter
from pipeline.connectors.rest_reading.filling import filled_body, filled_params
from pipeline.connectors.rest_reading.settings import Lookup


def looked_up(
    api: RestApi, http: HttpSource, lookups: Mapping[str, Lookup], page: Any, records: list[Any]
) -> list[Any]:
    """The records, each with a list under the name of every lookup. page: the answer that they came in, if any.

    Raises ConnectorError.
    """
    for name, lookup in lookups.items():
        id_of, key_of = getter(lookup.of), getter(lookup.key)
        ids = [id_of(record) for record in records]
        by_key: dict[str, list[Any]] = defaultdict(list)
        for entry in _entries(api, http, lookup, page, [value for value in dict.fromkeys(ids) if value is not None]):
            by_key[str(key_of(entry))].append(entry)
        records = [
            {**record, name: by_key.get(str(record_id), [])} if isinstance(record, dict) else record
            for record, record_id in zip(records, ids, strict=True)
        ]
    return records


def _entries(api: RestApi, http: HttpSource, lookup: Lookup, page: Any, ids: list[Any]) -> list[Any]:
    find = getter(lookup.records)
    if lookup.path is None:
        return find(page) or []
    entries: list[Any] = []
    for start in range(0, len(ids), lookup.batch):
        batch = ids[start : start + lookup.batch]
        items = [filled_body(lookup.item, {"id": record_id}) for record_id in batch]
        body = None if lookup.body is None else filled_body(lookup.body, {"ids": items})
        params = filled_params(lookup.params, {"ids": batch})
        answer = find(api.ask("GET" if body is None else "POST", lookup.path, params, body))
        if not isinstance(answer, list):
            http.surprise(f"the answer of {lookup.path} has no list at {lookup.records}")
        entries += answer
    return entries
