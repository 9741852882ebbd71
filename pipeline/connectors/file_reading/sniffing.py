"""What a text file looks like: its encoding and delimiter. Told to people, who declare it; never acted upon."""

from __future__ import annotations

import codecs
import csv
import json
import re
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.connectors.file_reading.settings import FileShape, Format
from pipeline.connectors.file_reading.streams import BYTE_ORDER_MARK, MIB, UnreadableFile, open_bytes
from pipeline.connectors.json_text import in_quotes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WORD = re.compile(rb"[A-Za-z\x80-\xff]{0,20}[\x80-\xff][A-Za-z\x80-\xff]{0,20}")
_TELLING_WORD = re.compile(rb"[A-Za-z\x80-\xff]{0,20}[\x80-\x9f][A-Za-z\x80-\xff]{0,20}")
"""With a byte that is a letter or a sign in cp1252 and none in those of ISO."""
_PIECES = 64
_RECORDS = 200
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "^": "carets", "~": "tildes"}
_DELIMITERS |= {"\x01": "the character 1", "\x1f": "the character 31", "\u00a7": "section signs"}


@dataclass(frozen=True)
class Kind:
    """What a file is that is no text. remedy: what helps where naming `format` does not, after the reason."""

    name: str
    format: Format | None = None
    remedy: str = ""


_SIGNATURES = (
    (b"PK\x03\x04", Kind("an Excel workbook or a ZIP archive", "excel")),
    (b"PAR1", Kind("Parquet", "parquet")),
    (b"\x1f\x8b", Kind("packed by gzip", None, "; let its name end with .gz")),
    (
        b"\xd0\xcf\x11\xe0",
        Kind("an old workbook (.xls), or one with a password", None, "; save it as .xlsx without one"),
    ),
    (b"<html", Kind("a web page", None, "; what a browser shows as a table is no export")),
    (b"<!doctype html", Kind("a web page", None, "; what a browser shows as a table is no export")),
    (b"<?xml", Kind("XML", None, "; export CSV, JSON lines or .xlsx")),
    (b"{", Kind("JSON", "jsonl")),
)
"""How files begin. JSON comes last: a brace may begin a CSV file, which reads."""


def kind_by_signature(file: Path) -> Kind | None:
    """What the file is by its first bytes; None where they tell nothing."""
    with open_bytes(file) as content:
        try:
            start = content.read(64).removeprefix(codecs.BOM_UTF8).lstrip()
        except (UnreadableFile, OSError, EOFError, zlib.error):
            return None
    return next((kind for mark, kind in _SIGNATURES if start.lower().startswith(mark.lower())), None)


@dataclass(frozen=True)
class Look:
    """What a file looks like. None where it cannot be told; encoding is a codec's name.

    word: bytes with a letter that encodings of one byte differ about, where it is one of these.
    """

    encoding: str | None
    encoding_name: str
    delimiter: str | None
    word: bytes | None = None

    def letters(self, encoding: str) -> str | None:
        """A word as this encoding reads it, for a person to judge: every one of one byte reads the file."""
        return None if self.word is None else self.word.decode(encoding, errors="replace")

    def description(self, declared: str | None = None) -> str:
        """As a person says it: semicolons, cp1252. `declared` is the encoding by which it was read, if it was."""
        parts = [_DELIMITERS[self.delimiter]] if self.delimiter else []
        return ", ".join([*parts, (self.word and declared) or self.encoding_name])

    def settings(self, shape: FileShape) -> list[str]:
        """The YAML lines that would declare what the shape does not."""
        lines = []
        if self.delimiter is not None and self.delimiter != shape.delimiter:
            lines.append(f"delimiter: {json.dumps(self.delimiter)}")
        if self.encoding is not None and not _same_encoding(self.encoding, shape.encoding):
            letters = self.letters(self.encoding)
            other = f"  # if {in_quotes(letters)} is right; else iso-8859-15, cp1250 or another" if letters else ""
            lines.append(f"encoding: {self.encoding}{other}")
        return lines

    def doubt(self, shape: FileShape) -> str | None:
        """Why the declared encoding may be wrong although it reads; None where there is no doubt."""
        if self.encoding in ("utf-8", "utf-8-sig") and not _same_encoding(self.encoding, shape.encoding):
            return f"declared as {shape.encoding}, but its letters are {self.encoding_name}"
        letters = self.letters(shape.encoding) or ""
        if any(unicodedata.category(letter) == "Cc" for letter in letters):
            return f"declared as {shape.encoding}, by which {in_quotes(letters)} has no letters; it may be cp1252"
        return None


def look_at(file: Path) -> Look:
    """What the file, CSV or JSON lines, looks like from its first lines on."""
    with open_bytes(file) as content:
        start = content.read(MIB)
    encoding, encoding_name, word = _encoding(file, start)
    text = start.decode(encoding or "latin-1", errors="replace").removeprefix(BYTE_ORDER_MARK)
    return Look(encoding, encoding_name, _delimiter(text), word)


def _encoding(file: Path, start: bytes) -> tuple[str | None, str, bytes | None]:
    for mark, name, description in _MARKS:
        if start.startswith(mark):
            return name, description, None
    if start.count(0) > len(start) // 4:
        name = "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
        return name, "UTF-16 without a mark", None
    if start.isascii() and len(start) < MIB:
        return None, "ASCII", None
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = []
    try:
        with open_bytes(file) as content:
            for _ in range(_PIECES):
                piece = content.read(MIB)
                pieces = [piece]
                decoder.decode(piece, final=not piece)
                if not piece:
                    break
    except UnicodeDecodeError:
        return _eight_bits(pieces[0])
    return "utf-8", "UTF-8", None


def _eight_bits(piece: bytes) -> tuple[str | None, str, bytes | None]:
    told = _TELLING_WORD.search(piece) or _WORD.search(piece)
    word = told[0] if told else None
    try:
        piece.decode("cp1252")
    except UnicodeDecodeError:
        return None, "an encoding that is neither UTF-8 nor cp1252", word
    return "cp1252", "cp1252", word


def _same_encoding(declared: str, other: str) -> bool:
    try:
        names = {codecs.lookup(name).name.removesuffix("-sig") for name in (declared, other)}
    except LookupError:
        return False
    return len(names) == 1


def _delimiter(text: str) -> str | None:
    lines = text.splitlines(keepends=True)[:_RECORDS]
    if lines and lines[0].strip().strip('"').startswith("sep="):
        told = lines[0].strip().strip('"').removeprefix("sep=")
        return told if told in _DELIMITERS else None
    best, best_rank = None, (0.0, 1)
    for delimiter in _DELIMITERS:
        try:
            counts = [len(fields) for fields in csv.reader(lines, delimiter=delimiter) if fields]
        except csv.Error:
            continue
        if counts and counts[0] > 1:
            rank = (sum(count == counts[0] for count in counts) / len(counts), counts[0])
            best, best_rank = (delimiter, rank) if rank > best_rank else (best, best_rank)
    return best
