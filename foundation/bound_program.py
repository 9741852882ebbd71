"""Becomes another program, which ends when its parent does: ``python bound_program.py PARENT PROGRAM ARGUMENTS``.

A program that is no Python of ours cannot look for its parent, as `foundation.parent` does. Linux tells it; on other
systems it ends when it next writes to a pipe of its parent's. Run by its path, so it imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def bound(command: Sequence[str]) -> list[str]:
    """The arguments that run a program so. It ends with the thread that starts it, which has to wait for it."""
    return [sys.executable, "-I", __file__, str(os.getpid()), *command]


def main() -> None:
    """Have the kernel end this process with its parent, and become the program."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(f"{command[0]}: who started it has ended.")
    os.execvp(command[0], command)  # noqa: S606 - the program that was asked for, no shell


if __name__ == "__main__":
    main()
