"""Opens the files of a path by their format, and says of one that does not read what it looks like."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pipeline.connectors.errors import MappingError, UnexpectedResponse
from pipeline.connectors.file_reading.csv_lines import read_csv
from pipeline.connectors.file_reading.declaring import UndeclaredColumns, lines_to_add
from pipeline.connectors.file_reading.other_formats import read_excel, read_json_lines, read_parquet
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.file_reading.places import Folder, format_of
from pipeline.connectors.file_reading.settings import OTHER_ENDINGS, FileShape, Format
from pipeline.connectors.file_reading.sniffing import Look, kind_by_signature, look_at
from pipeline.connectors.file_reading.streams import UnreadableFile
from pipeline.connectors.file_reading.undeclared import Undeclared, UndeclaredNotations

_READERS: dict[Format, Callable[[Path, FileShape], Iterator[Part]]] = {
    "csv": read_csv,
    "parquet": read_parquet,
    "jsonl": read_json_lines,
    "excel": read_excel,
}
_OF_TEXT = ("csv", "jsonl")
_MEND = "Set its format, delimiter or encoding, or mend the file."


@dataclass(frozen=True)
class FileReader:
    """Reads the files of one setting. place: the setting's name, such as connector_settings.files.payments.

    columns: those whose numbers and dates nobody declared, and how they would be.
    """

    company: str
    folder: Folder
    path: str
    shape: FileShape
    place: str
    columns: UndeclaredColumns

    @property
    def source(self) -> str:
        """What messages call the files."""
        return self.folder.source(self.path)

    def parts(self) -> Iterator[Part]:
        """All records of all files, in pieces. Raises ConnectorError, which names the file and its line."""
        for file in self.folder.files(self.path):
            file_format = self._format(file)
            try:
                yield from _READERS[file_format](file, self.shape)
            except UnreadableFile as error:
                raise self.unreadable(file, self._by_its_beginning(file, file_format) or error) from None
            except (pa.ArrowException, LookupError, OSError, EOFError, zlib.error) as error:
                raise self.unreadable(file, UnreadableFile(" ".join(str(error).split())[:200])) from None

    def _by_its_beginning(self, file: Path, file_format: Format) -> UnreadableFile | None:
        """Why a file that does not read is none of its format, where its first bytes tell of another."""
        if file_format == "parquet":
            return None
        kind = kind_by_signature(file)
        if kind is None or kind.format == file_format:
            return None
        setting = f"format: {kind.format}" if kind.format else None
        return UnreadableFile(f"it is {kind.name}, by its first bytes{kind.remedy}", setting)

    def unreadable(self, file: Path, error: UnreadableFile) -> UnexpectedResponse:
        """The error of a file that does not read as declared, with the lines that would declare what it looks like."""
        is_text = error.setting is None or not error.setting.startswith("format:")
        settings = [error.setting] if error.setting else []
        looks, settings = self.what_it_looks_like(file, settings) if is_text else ("", settings)
        return UnexpectedResponse(
            self.company,
            self.source,
            f"{file.name} cannot be read as {self._format(file)} ({error.problem}).{looks}",
            lines_to_add(self.place, settings) if settings else _MEND,
        )

    def what_it_looks_like(self, file: Path, settings: list[str]) -> tuple[str, list[str]]:
        """A sentence, and all YAML lines that would declare it; `settings` are those that are known already."""
        look = self.look(file)
        if look is None:
            return "", settings
        known = {line.split(":")[0] for line in settings}
        lines = settings + [line for line in look.settings(self.shape) if line.split(":")[0] not in known]
        if not lines:
            return "", []
        undeclared = self._undeclared_by(look, file)
        looks = dict.fromkeys([look.description(), *(column.looks for column in undeclared)])
        return f" It looks like: {', '.join(looks)}.", [*lines, *self.columns.settings(undeclared)]

    def _undeclared_by(self, look: Look, file: Path) -> list[Undeclared]:
        """What else would have to be declared, were the file what it looks like."""
        told = {"delimiter": look.delimiter, "encoding": look.encoding}
        guessed = self.shape.model_copy(update={name: value for name, value in told.items() if value})
        undeclared = UndeclaredNotations(self.columns.kinds)
        try:
            for part in islice(_READERS[self._format(file)](file, guessed), 1):
                undeclared.see(part)
        except (UnreadableFile, OSError, LookupError):
            return []
        return undeclared.columns()

    def look(self, file: Path) -> Look | None:
        """What the file looks like; None where it is no text, or cannot be looked at."""
        if self._format(file) not in _OF_TEXT:
            return None
        try:
            return look_at(file)
        except (UnreadableFile, OSError, EOFError, zlib.error):
            return None

    def first_look(self) -> Look | None:
        """What the first of the files looks like."""
        return self.look(self.first())

    def first(self) -> Path:
        """The first of the files."""
        return self.folder.files(self.path)[0]

    def _format(self, file: Path) -> Format:
        file_format = format_of(file, self.shape)
        if file_format is None:
            raise MappingError(
                self.company,
                self.source,
                f"the ending of {file.name} tells no format.",
                OTHER_ENDINGS.get(file.suffix.lower(), "Add format: csv, parquet, jsonl or excel."),
            )
        return file_format
