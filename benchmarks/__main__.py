"""Runs every benchmark, one after the other; exits 1 where one misses what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OF_OTHERS = "scores"
"""Runs some of the others, over several worlds."""


def main() -> None:
    """Run each module of this folder in a process of its own."""
    names = sorted({path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - {OF_OTHERS})
    failed = [name for name in names if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
    if failed:
        raise SystemExit(f"missed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
