"""Which locked versions a vulnerability of OSV's database affects, and what the command ends with."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from scripts.audit import DatabaseUnreadable, locked_versions, main, vulnerabilities

VERSIONS = st.builds(
    lambda release, suffix: ".".join(map(str, release)) + suffix,
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.sampled_from(["", "a1", "rc2", ".post1", ".dev3"]),
)


def record(**affected: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": "Some_Package"} | affected.pop("package", {})
    return {"id": "PYSEC-1", "aliases": ["CVE-1"], "summary": "bad", "affected": [{"package": package} | affected]}


def span(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


def database(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, content in enumerate(records):
            archive.writestr(f"{number}.json", json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("affected", "is_affected"),
    [
        ({"versions": ["1.9", "2.0"]}, True),
        ({"versions": ["2.0.0"]}, True),
        ({"versions": ["1.9", "no version"]}, False),
        (span({"introduced": "0"}), True),
        (span({"introduced": "0"}, {"fixed": "2.0"}), False),
        (span({"introduced": "0"}, {"fixed": "2.0.1"}), True),
        (span({"introduced": "0"}, {"last_affected": "2.0"}), True),
        (span({"introduced": "0"}, {"last_affected": "1.9"}), False),
        (span({"introduced": "0"}, {"fixed": "1"}, {"introduced": "2"}, {"fixed": "3"}), True),
        (span({"introduced": "2"}, {"fixed": "3"}, {"introduced": "0"}, {"fixed": "1"}), True),
        (span({"introduced": "0"}, {"fixed": "1"}, {"introduced": "3"}), False),
        (span({"introduced": "0"}, {"fixed": "6f3c"}), True),
        (span({"introduced": "0"}, kind="GIT"), False),
        (span({"introduced": "0"}) | {"package": {"ecosystem": "npm"}}, False),
        (span({"introduced": "0"}) | {"package": {"name": "other"}}, False),
        (span({"introduced": "0"}) | {"package": {"name": "some.package"}}, True),
    ],
)
def test_a_locked_version_is_affected_or_not(tmp_path: Path, affected: dict[str, Any], is_affected: bool) -> None:
    known = vulnerabilities(database(tmp_path, record(**affected)), {"some-package": "2.0"})

    assert bool(known) is is_affected


@given(locked=VERSIONS, ends=st.lists(VERSIONS, min_size=2, max_size=2, unique_by=Version))
def test_a_range_begins_with_its_first_version_and_ends_before_the_fix(
    tmp_path_factory: pytest.TempPathFactory, locked: str, ends: list[str]
) -> None:
    introduced, fixed = sorted(ends, key=Version)
    zipped = database(tmp_path_factory.getbasetemp(), record(**span({"introduced": introduced}, {"fixed": fixed})))

    known = vulnerabilities(zipped, {"some-package": locked})

    assert bool(known) is (Version(introduced) <= Version(locked) < Version(fixed))


def test_what_was_withdrawn_is_no_vulnerability(tmp_path: Path) -> None:
    withdrawn = record(**span({"introduced": "0"})) | {"withdrawn": "2026-01-01T00:00:00Z"}

    assert vulnerabilities(database(tmp_path, withdrawn), {"some-package": "2.0"}) == []


def test_a_lock_is_read_with_its_markers_and_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "some_Package[extra]==1.0 \\\n    --hash=sha256:aa\nother==2.0rc1 ; python_version < '3.12' \\\n"
        "    --hash=sha256:bb\n    # via some-package==9\n"
    )

    assert locked_versions([lock]) == {"some-package": "1.0", "other": "2.0rc1"}


def test_the_command_names_the_package_and_what_fixes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("some-package==2.0\nother==1\n")
    zipped = database(tmp_path, record(**span({"introduced": "0"}, {"fixed": "2.1"})))

    assert main(str(zipped), str(lock)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "some-package 2.0: PYSEC-1, CVE-1: bad (fixed in 2.1)",
        "2 packages, 1 known vulnerabilities",
    ]
    assert main(str(database(tmp_path, record(**span({"introduced": "3"})))), str(lock)) == 0


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_what_is_no_database_never_passes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(content)

    assert main(str(path), "requirements.lock") == 2
    with pytest.raises(DatabaseUnreadable):
        vulnerabilities(path, {})
    with pytest.raises(DatabaseUnreadable):
        vulnerabilities(database(tmp_path), {})
    assert main(str(tmp_path / "away.zip"), "requirements.lock") == 2
