"""Files as bounded streams: what unpacks without measure, or never ends a line, is refused before memory runs out."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from foundation.errors import ChurnError
from pipeline.connectors.file_reading.settings import PACKED

MIB = 2**20
MOST_EXPANSION = 100
"""To how many times its size a file may unpack: real exports reach ten to thirty."""

FREE_BYTES = 64 * MIB
"""Up to here the expansion is not asked for: little files of equal lines pack very small."""

LARGEST_UNPACKED = 8 * 1024 * MIB
LONGEST_LINE = 16 * MIB

BLOCK_LETTERS = 4 * MIB
"""How much text is looked at together: some ten thousand lines."""

_CELL_IN_ERROR = re.compile(rb'<c [^<>]{0,100}\bt="e"')
_CELL_NEVER_CALCULATED = re.compile(
    rb'<c (?![^<>]{0,100}\bt="str")[^<>]{0,100}>'
    rb"<f(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]{0,8192}</f>)(?:<v\s*/>|<v></v>)?</c>"
)
"""A formula without the value that it had when the workbook was saved; of one that gave empty text it is told (str)."""
_DAYS_FROM_1904 = re.compile(rb'\bdate1904="(?:1|true)"')
_LONGEST_CELL = 9_000
_PLACE = re.compile(rb'\br="([A-Z]{0,3})(\d{1,7})"')
MOST_CELLS = 20_000_000
"""Of a sheet's extent: a cell takes some thirty bytes when it is read."""

BYTE_ORDER_MARK = "\ufeff"


class UnreadableFile(ChurnError):
    """A file that does not read as declared; the text says why, and follows the file's name in a message.

    setting: a YAML line that would declare what the file seems to be.
    """

    def __init__(self, problem: str, setting: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.setting = setting


class _Unpacked(io.RawIOBase):
    """A gzip file's content, within bounds."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._content = gzip.GzipFile(fileobj=packed)
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._content.readinto(buffer)
        self._size += count
        refuse_expansion(self._size, self._packed.tell())
        return count


def refuse_expansion(unpacked: int, packed: int) -> None:
    """Raise UnreadableFile where so many bytes cannot have come honestly from so few."""
    if unpacked > LARGEST_UNPACKED:
        raise UnreadableFile(f"it unpacks to more than {LARGEST_UNPACKED // MIB:,} MiB; split it")
    if unpacked > max(FREE_BYTES, MOST_EXPANSION * packed):
        raise UnreadableFile(f"it unpacks to more than {MOST_EXPANSION} times its size; give it unpacked, or split it")


@contextmanager
def open_bytes(file: Path) -> Iterator[IO[bytes]]:
    """The file's content, unpacked where its name ends with .gz."""
    with file.open("rb") as stored:
        if file.name.lower().endswith(PACKED):
            yield io.BufferedReader(_Unpacked(stored), MIB)
        else:
            yield stored


class Text:
    """A text file that is read on, by line or by many lines at once. Line ends stay; byte order marks of lines go.

    A file that was put together from several has a mark inside, too.
    """

    def __init__(self, file: Path, encoding: str, text: IO[str]) -> None:
        self._file = file
        self._encoding = encoding
        self._text = text
        self._pending: IO[str] = io.StringIO()
        self._pending_size = 0
        self._number = 0

    @property
    def has_pending(self) -> bool:
        """Whether lines of a block that was put back were not read since."""
        return self._pending.tell() < self._pending_size

    def lines(self) -> Iterator[str]:
        """Line by line, first those of a block that was put back. Raises UnreadableFile."""
        while line := (self._pending if self.has_pending else self._text).readline(LONGEST_LINE):
            self._number += 1
            _refuse_endless(line.endswith(("\n", "\r")), len(line), self._number)
            yield line.removeprefix(BYTE_ORDER_MARK)

    def block(self) -> str:
        """Some whole lines, as they stand; empty at the end of the file."""
        block = self._text.read(BLOCK_LETTERS)
        return block + self._text.readline(LONGEST_LINE) if block else ""

    def put_back(self, block: str) -> None:
        """Have `lines` go on with this block."""
        self._pending, self._pending_size = io.StringIO(block, newline=""), len(block)

    def count(self, lines: int) -> None:
        """Count lines of a block that are not put back."""
        self._number += lines

    def line_not_decoded(self) -> int:
        """The number of the line at which the file is not of its encoding."""
        if "16" in self._encoding or "32" in self._encoding:
            # Their lines cannot be told before they are decoded.
            return _decodable_lines(self._file, self._encoding) + 1
        for number, line in enumerate(byte_lines(self._file), 1):
            try:
                line.decode(self._encoding)
            except UnicodeError:
                return number
        return self._number + 1


@contextmanager
def open_text(file: Path, encoding: str) -> Iterator[Text]:
    """The file as text. Raises UnreadableFile where it is not of this encoding."""
    with open_bytes(file) as content, io.TextIOWrapper(content, encoding, newline="") as wrapper:
        text = Text(file, encoding, wrapper)
        try:
            yield text
        except UnicodeError:
            raise UnreadableFile(f"line {text.line_not_decoded()} is not {encoding}") from None


def text_lines(file: Path, encoding: str) -> Iterator[str]:
    """The file's lines with their ends, without byte order marks. Raises UnreadableFile."""
    with open_text(file, encoding) as text:
        yield from text.lines()


def _decodable_lines(file: Path, encoding: str) -> int:
    number = 0
    with open_bytes(file) as content, io.TextIOWrapper(content, encoding, newline="") as text, suppress(UnicodeError):
        while text.readline(LONGEST_LINE):
            number += 1
    return number


def byte_lines(file: Path) -> Iterator[bytes]:
    """The file's lines as bytes. Raises UnreadableFile."""
    with open_bytes(file) as content:
        number = 0
        while line := content.readline(LONGEST_LINE):
            number += 1
            _refuse_endless(line.endswith(b"\n"), len(line), number)
            yield line


def _refuse_endless(is_ended: bool, length: int, number: int) -> None:
    if not is_ended and length >= LONGEST_LINE:
        raise UnreadableFile(f"line {number} is longer than {LONGEST_LINE // MIB} MiB")


class _Corner:
    """The last row and column of a sheet: all cells before them are made, filled or not, when it is read."""

    def __init__(self) -> None:
        self._row = self._column = 1

    def reach(self, content: bytes) -> None:
        """Take in a piece of the sheet. Raises UnreadableFile where it has room for more than MOST_CELLS."""
        for letters, digits in _PLACE.findall(content):
            self._row = max(self._row, int(digits))
            column = 0
            for letter in letters:
                column = column * 26 + letter - 64
            self._column = max(self._column, column)
        if self._row * self._column > MOST_CELLS:
            raise UnreadableFile(f"a sheet reaches over more than {MOST_CELLS:,} cells; take out what stands far away")


def check_workbook(file: Path) -> None:
    """Raise UnreadableFile where a workbook, a zip archive, unpacks without measure or holds cells without a value.

    An error such as #N/A would be read as an empty cell, and so would a formula that was never calculated.
    """
    size = file.stat().st_size
    unpacked = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            before, corner = b"", _Corner()
            # What the archive says of itself is not believed: its members are unpacked once, and let go.
            with archive.open(member) as content:
                while piece := content.read(MIB):
                    unpacked += len(piece)
                    refuse_expansion(unpacked, size)
                    if member.filename.startswith("xl/worksheets/"):
                        _refuse_valueless_cells(before + piece)
                        corner.reach(before + piece)
                    before = (before + piece)[-_LONGEST_CELL:]


def _refuse_valueless_cells(content: bytes) -> None:
    if _CELL_IN_ERROR.search(content):
        raise UnreadableFile(
            "a sheet holds cells in error (#N/A, #REF! or another), which cannot be told from empty "
            "ones; mend them, or save the sheet you mean in a workbook of its own"
        )
    if _CELL_NEVER_CALCULATED.search(content):
        raise UnreadableFile(
            "a sheet holds formulas without a value, which cannot be told from empty cells: a program wrote them and "
            "nothing has calculated them; open the workbook in a spreadsheet and save it, or write values"
        )


def counts_from_1904(file: Path) -> bool:
    """Whether a workbook counts its days from 1904, as those that began on a Mac do."""
    with zipfile.ZipFile(file) as archive:
        try:
            with archive.open("xl/workbook.xml") as content:
                return _DAYS_FROM_1904.search(content.read(MIB)) is not None
        except KeyError:
            return False
