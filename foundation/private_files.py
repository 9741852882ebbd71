"""Files and folders that other users of the machine may not read: the home folder, and what we write anywhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

HOME_MODE = 0o711
"""The embedded server's user passes through the home folder; nobody but its owner can list it."""

_YOUNG_SECONDS = 60
_FOLDERS = ("cards", "dagster", "dbt", "demo", "imports", "logs", "mlflow", "secrets")
"""What we make in a home folder. It may hold other things, of which we change nothing."""


def write_privately() -> None:
    """From here on, what this process and its children create is their owner's alone."""
    os.umask(0o077)


def make_home(path: Path) -> None:
    """Make the home folder, or close one that an earlier version left open, with the folders in it that are ours.

    A folder of another user is left as it is. Raises OSError where it cannot be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            # A parent too, whatever the umask: the embedded server's user must come through.
            with suppress(FileExistsError):
                folder.mkdir()
                folder.chmod(HOME_MODE)
    _close(path, HOME_MODE)
    for name in _FOLDERS:
        _close(path / name, 0o700)


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that only its owner reads, and that takes its name when all of it is written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder for what is unfinished, removed at the end; those of this prefix that killed processes left go first.

    Raises OSError where it cannot be made.
    """
    for folder in parent.glob(f"{prefix}*"):
        _remove_if_left(folder)
    with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name, _held(Path(name)):
        yield Path(name)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The kernel drops a killed process's hold on the folder. Raises BlockingIOError where another process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_if_left(folder: Path) -> None:
    with suppress(OSError):
        # A younger one may be somebody's who does not hold it yet.
        if time.time() - folder.lstat().st_mtime > _YOUNG_SECONDS:
            with _held(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _close(folder: Path, most: int) -> None:
    """Take away what of a folder's mode is beyond `most`, where it is ours, no link, and not shared (sticky)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            status = os.fstat(descriptor)
            mode = status.st_mode & 0o7777
            wanted = mode & most | (most & 0o011 if mode & 0o700 else 0)
            if status.st_uid == os.geteuid() and mode != wanted and not mode & stat.S_ISVTX:
                os.fchmod(descriptor, wanted)
        finally:
            os.close(descriptor)
