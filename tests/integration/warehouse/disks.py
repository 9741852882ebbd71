"""Disks of a few MiB, on which nobody else writes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator[Path]:
    """A tmpfs, mounted at a new folder; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a disk of its own")
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    place.chmod(0o711)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int) -> None:
    """Write a file `filler` until so many bytes are left."""
    with (place / "filler").open("wb") as file:
        while shutil.disk_usage(place).free > leave:
            file.write(b"\0" * 256 * 1024)
            file.flush()
