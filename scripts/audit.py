"""Known vulnerabilities of the packages in the locks, by a copy of OSV's database: no network is used.

    python -m scripts.audit PyPI.zip requirements.lock [requirements-dev.lock ...]

The database is OSV's export for PyPI, `https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip`: a zip of JSON
files, one for each vulnerability. How a record says which versions it affects: https://ossf.github.io/osv-schema.
Ends with 1 where a locked version is affected, and with 2 where the database cannot be read.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pip_requirements_parser import RequirementsFile


@dataclass(frozen=True, order=True)
class Vulnerability:
    """One known vulnerability of a locked version; `fixed` are the versions that end it, where there are any."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    summary: str
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join((self.id, *self.aliases))
        remedy = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no version is known that fixes it"
        return f"{self.package} {self.version}: {names}: {self.summary} ({remedy})"


class DatabaseUnreadable(Exception):
    """What was given as OSV's database is none, or holds nothing about PyPI."""


def locked_versions(locks: Iterable[Path]) -> dict[str, str]:
    """The version of each package, by its canonical name."""
    return {
        canonicalize_name(requirement.name): requirement.get_pinned_version
        for lock in locks
        for requirement in RequirementsFile.from_file(str(lock)).requirements
    }


def vulnerabilities(database: Path, locked: Mapping[str, str]) -> list[Vulnerability]:
    """What the database knows of these versions, by package. Raises DatabaseUnreadable."""
    affected: set[Vulnerability] = set()
    records = 0
    try:
        for record in _records(database):
            records += 1
            affected.update(_of_locked(record, locked))
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatabaseUnreadable(f"{database} is not OSV's export: {error}") from error
    if not records:
        raise DatabaseUnreadable(f"{database} holds no record of a vulnerability")
    return sorted(affected)


def _records(database: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(database) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def _of_locked(record: Mapping[str, Any], locked: Mapping[str, str]) -> Iterator[Vulnerability]:
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", []):
        package = affected.get("package", {})
        name = canonicalize_name(package.get("name", ""))
        if package.get("ecosystem") != "PyPI" or name not in locked or not _is_affected(locked[name], affected):
            continue
        yield Vulnerability(
            package=name,
            version=locked[name],
            id=record["id"],
            aliases=tuple(record.get("aliases", [])),
            summary=_first_line(record),
            fixed=tuple(event["fixed"] for event in _events(affected) if "fixed" in event),
        )


def _first_line(record: Mapping[str, Any]) -> str:
    return (record.get("summary") or record.get("details") or "no summary").strip().splitlines()[0][:120]


def _events(affected: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Where a vulnerability begins and ends; ranges of commits say nothing about versions."""
    for span in affected.get("ranges", []):
        if span.get("type") == "ECOSYSTEM":
            yield from span.get("events", [])


def _is_affected(version: str, affected: Mapping[str, Any]) -> bool:
    """By the list of versions, or by a range: https://ossf.github.io/osv-schema/#evaluation.

    A range whose versions cannot be compared is taken to hold every version.
    """
    locked = Version(version)
    if any(_same(locked, listed) for listed in affected.get("versions", [])):
        return True
    spans = [span for span in affected.get("ranges", []) if span.get("type") == "ECOSYSTEM"]
    try:
        return any(_lies_within(locked, span.get("events", [])) for span in spans)
    except InvalidVersion:
        return True


def _same(locked: Version, listed: str) -> bool:
    try:
        return Version(listed) == locked
    except InvalidVersion:
        return False


def _lies_within(locked: Version, events: Iterable[Mapping[str, str]]) -> bool:
    inside = False
    for kind, at in sorted((next(iter(event.items())) for event in events), key=_place):
        if kind == "introduced" and locked >= _first(at):
            inside = True
        elif (kind == "fixed" and locked >= Version(at)) or (kind == "last_affected" and locked > Version(at)):
            inside = False
    return inside


def _place(event: tuple[str, str]) -> tuple[Version, bool]:
    kind, at = event
    return (_first(at), True) if kind == "introduced" else (Version(at), False)


def _first(introduced: str) -> Version:
    """0 stands for before every version."""
    return Version("0.dev0" if introduced == "0" else introduced)


def main(database: str, *locks: str) -> int:
    """The command's exit code; what is said goes to standard output."""
    locked = locked_versions(map(Path, locks))
    try:
        known = vulnerabilities(Path(database), locked)
    except DatabaseUnreadable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for vulnerability in known:
        sys.stdout.write(f"{vulnerability}\n")
    sys.stdout.write(f"{len(locked)} packages, {len(known)} known vulnerabilities\n")
    return 1 if known else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
