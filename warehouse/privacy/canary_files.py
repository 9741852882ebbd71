"""Looking for canaries in files: model artefacts, logs, run metadata. Where they may stand is not decided here."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pyarrow.parquet as parquet

from warehouse.privacy.canaries import Canary, Sighting, pattern

_BLOCK = 8_000_000
_OVERLAP = 1_000

NOT_SEARCHED = ("postgres", "demo")
"""Folders of the home folder that hold companies' records by their nature: the server's data, the demo's CRM."""


def look_in_files(home: Path, canaries: Sequence[Canary]) -> list[Sighting]:
    """Files below the home folder that hold a canary's mark, compressed ones and Parquet included.

    A folder that is called as a company (its slug) is that company's own place.
    """
    if not canaries:
        return []
    marks = _bytes_pattern(canaries)
    seen: dict[tuple[str, str], int] = {}
    for path in sorted(home.rglob("*")):
        place = path.relative_to(home)
        if place.parts[0] in NOT_SEARCHED or path.is_symlink() or not path.is_file():
            continue
        for mark in _marks_in(path, marks):
            for canary in canaries:
                if mark in _forms(canary) and canary.slug not in place.parts:
                    seen[canary.slug, str(place)] = seen.get((canary.slug, str(place)), 0) + 1
    return [Sighting(slug, place, times) for (slug, place), times in sorted(seen.items())]


def _bytes_pattern(canaries: Sequence[Canary]) -> re.Pattern[bytes]:
    written = [
        Canary(canary.company_id, canary.slug, canary.customer_id, tuple(map(_text, _forms(canary))))
        for canary in canaries
    ]
    # A look ahead, so that two marks may share what stands between them.
    return re.compile(pattern(written).replace("($|[^A-Za-z0-9])", "(?=$|[^A-Za-z0-9])").encode("latin-1"))


def _forms(canary: Canary) -> set[bytes]:
    """A canary's marks as bytes: as they are, and as JSON writes them with and without other alphabets escaped."""
    forms = set()
    for mark in canary.marks:
        forms |= {mark.encode(), orjson.dumps(mark)[1:-1], json.dumps(mark)[1:-1].encode()}
    return forms


def _text(form: bytes) -> str:
    return form.decode("latin-1")


def _marks_in(path: Path, marks: re.Pattern[bytes]) -> Iterator[bytes]:
    try:
        for block in _blocks(path):
            yield from (match[2] for match in marks.finditer(block))
    except FileNotFoundError:
        return  # Logs are rotated, and runs tidy up after themselves.


def _blocks(path: Path) -> Iterator[bytes]:
    if path.suffix == ".parquet":
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=10_000):
                yield str(batch.to_pylist()).encode()
    elif path.suffix == ".gz":
        with gzip.open(path) as stream:
            yield stream.read()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    else:
        with path.open("rb") as plain:
            end = b""
            while block := plain.read(_BLOCK):
                yield end + block
                end = block[-_OVERLAP:]
