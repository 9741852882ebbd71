"""Which files a path of the settings means. None may lie outside the company's own folder, however it is reached."""

from __future__ import annotations

import glob
import re
from itertools import takewhile
from pathlib import Path

from pipeline.connectors.errors import AccessDenied, MappingError, SourceNotFound
from pipeline.connectors.file_reading.settings import FORMATS, PACKED, FileShape, Format
from warehouse.settings import Settings

_MEND = "Mend connector_settings.directory or the path, or put the file there."
_NAMES_TOLD = 20
MOST_OF_ANY_DEPTH = 2
"""Each `**` goes through all folders again for every folder that the one before it found."""


class Folder:
    """A company's folder of files."""

    def __init__(self, company: str, directory: str | None, settings: Settings) -> None:
        """`company` is the slug; a relative `directory` starts from the home folder, none is the first of
        the company's own that is there.

        Raises AccessDenied where it leads to what is not the company's, and MappingError where it is no path.
        """
        self._company = company
        own = [root / company for root in settings.import_roots]
        try:
            usual = next((folder for folder in own if folder.is_dir()), own[0])
            self.path = (usual if directory is None else settings.home / directory).resolve()
            is_own = any(self.path.is_relative_to(folder.resolve()) for folder in own)
        except (OSError, RuntimeError, ValueError):
            raise MappingError(company, f"files {directory}", "that is no folder's path.", _MEND) from None
        if not is_own:
            raise AccessDenied(
                company,
                f"files {directory}",
                f"connector_settings.directory leads to what is not {company}'s: its files lie in "
                f"{' or '.join(map(str, own))}.",
                "Put them there; CHURN_IMPORT_FOLDERS names further places that hold a folder per company.",
            )

    def source(self, path: str = "") -> str:
        """What messages call a path of the settings."""
        return f"files {self.path / path}" if path else f"files in {self.path}"

    def files(self, path: str) -> list[Path]:
        """The files that a path or pattern means, sorted by name: 2 before 10, whether or not it is written 02.

        Raises SourceNotFound where there is none, AccessDenied where one lies outside the folder, and MappingError
        where looking for them could take for ever.
        """
        if Path(path).parts.count("**") > MOST_OF_ANY_DEPTH:
            raise MappingError(
                self._company, self.source(path), f"a path may say ** {MOST_OF_ANY_DEPTH} times at most.", _MEND
            )
        pattern = path if Path(path).is_absolute() else str(Path(glob.escape(str(self.path))) / path)
        matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=_in_order)
        files = [self._inside(match, path) for match in matches if not match.is_dir()]
        if not files:
            raise SourceNotFound(self._company, self.source(path), self._what_is_there(path), _MEND)
        return files

    def _inside(self, match: Path, path: str) -> Path:
        real = match.resolve()
        if not real.is_relative_to(self.path):
            raise AccessDenied(
                self._company,
                self.source(path),
                f"{match.name} lies outside the company's folder {self.path}, by a link, .. or an absolute path.",
                "Only files below connector_settings.directory are read: put it there.",
            )
        if not real.is_file():
            raise SourceNotFound(self._company, self.source(path), f"{match.name} is no plain file.", _MEND)
        return match

    def _what_is_there(self, path: str) -> str:
        plain = takewhile(lambda part: not glob.has_magic(part), Path(path).parts[:-1])
        folder = self.path.joinpath(*plain)
        if not folder.resolve().is_relative_to(self.path):
            return "no file below the company's folder matches."
        if not folder.is_dir():
            return f"there is no folder {folder}."
        names = sorted(file.name for file in folder.iterdir())[:_NAMES_TOLD]
        return f"no file matches {Path(path).name}. There are: {', '.join(names) or 'none'}."


def _in_order(file: Path) -> tuple[list[tuple[int, str]], str]:
    """By the numbers in a name and by the text between them; export-2 lies before export-10."""
    pieces = re.split(r"([0-9]+)", str(file))
    return [(int(piece), "") if piece.isdigit() else (0, piece) for piece in pieces], str(file)


def format_of(file: Path, shape: FileShape) -> Format | None:
    """The declared format, or the one that the file's ending tells; None where it tells none."""
    name = file.name.lower().removesuffix(PACKED)
    return shape.format or FORMATS.get(Path(name).suffix)
