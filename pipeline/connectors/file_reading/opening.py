"""Opens the files of a path by their format, and says of one that does not read what it looks like."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pipeline.connectors.errors import MappingError, UnexpectedResponse
from pipeline.connectors.file_reading.csv_lines import read_csv
from pipeline.connectors.file_reading.declaring import lines_to_add
from pipeline.connectors.file_reading.other_formats import read_excel, read_json_lines, read_parquet
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.file_reading.places import Folder, format_of
from pipeline.connectors.file_reading.settings import FileShape, Format
from pipeline.connectors.file_reading.sniffing import Look, look_at
from pipeline.connectors.file_reading.streams import UnreadableFile

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
    """Reads the files of one setting. place: the setting's name, such as connector_settings.files.payments."""

    company: str
    folder: Folder
    path: str
    shape: FileShape
    place: str

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
                raise self.unreadable(file, error) from None
            except (pa.ArrowException, LookupError, OSError, EOFError, zlib.error) as error:
                raise self.unreadable(file, UnreadableFile(" ".join(str(error).split())[:200])) from None

    def unreadable(self, file: Path, error: UnreadableFile) -> UnexpectedResponse:
        """The error of a file that does not read as declared, with the lines that would declare what it looks like."""
        look = self.look(file)
        settings = [error.setting] if error.setting else []
        if look is not None:
            named = {line.split(":")[0] for line in settings}
            settings += [line for line in look.settings(self.shape) if line.split(":")[0] not in named]
        looks = f" It looks like: {look.words()}." if look is not None and settings else ""
        return UnexpectedResponse(
            self.company,
            self.source,
            f"{file.name} cannot be read as {self._format(file)} ({error.problem}).{looks}",
            lines_to_add(self.place, settings) if settings else _MEND,
        )

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
        return self.look(self.folder.files(self.path)[0])

    def _format(self, file: Path) -> Format:
        file_format = format_of(file, self.shape)
        if file_format is None:
            raise MappingError(
                self.company,
                self.source,
                f"the ending of {file.name} tells no format.",
                "Add format: csv, parquet, jsonl or excel.",
            )
        return file_format
