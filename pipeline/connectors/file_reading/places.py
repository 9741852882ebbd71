"""Which files a path of the settings means. None may lie outside the company's own folder, however it is reached."""

from __future__ import annotations

import glob
from itertools import takewhile
from pathlib import Path

from pipeline.connectors.errors import AccessDenied, MappingError, SourceNotFound
from pipeline.connectors.file_reading.settings import FORMATS, PACKED, FileShape, Format

_MEND = "Mend connector_settings.directory or the path, or put the file there."
_NAMES_TOLD = 20


class Folder:
    """A company's folder of files."""

    def __init__(self, company: str, directory: str, home: Path) -> None:
        """`company` is the slug, for messages; a relative `directory` starts from `home` and stays below it."""
        self._company = company
        place = Path(directory).expanduser()
        if not place.is_absolute() and ".." in place.parts:
            raise MappingError(
                company,
                f"files {directory}",
                "connector_settings.directory leads out of CHURN_HOME.",
                "Name a folder below it, or give an absolute path.",
            )
        self.path = (home / place).resolve()

    def source(self, path: str = "") -> str:
        """What messages call a path of the settings."""
        return f"files {self.path / path}" if path else f"files in {self.path}"

    def files(self, path: str) -> list[Path]:
        """The files that a path or pattern means, sorted by name.

        Raises SourceNotFound where there is none, and AccessDenied where one lies outside the folder.
        """
        pattern = path if Path(path).is_absolute() else str(Path(glob.escape(str(self.path))) / path)
        matches = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
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


def format_of(file: Path, shape: FileShape) -> Format | None:
    """The declared format, or the one that the file's ending tells; None where it tells none."""
    name = file.name.lower().removesuffix(PACKED)
    return shape.format or FORMATS.get(Path(name).suffix)
