"""Programs that we start end with us, however we end: a killed process can no longer end its children.

The parent says in the environment who it is; the child looks every second whether that is still its parent. dbt does
so by `dbt_warehouse`, other programs are started as ``python -m foundation.parent MODULE ARGUMENTS``.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_PARENT = "WAREHOUSE_PARENT_PROCESS"
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 5


def adopt_children() -> None:
    """From here on, programs of ours that this process starts end when it ends."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent() -> None:
    """End when whoever started this process is gone, where that is a process of ours: interrupted first, then at once.

    A program that a person started by hand goes on when the terminal is closed, as they decide.
    """
    parent = int(os.environ.get(_PARENT, "0"))
    if parent and (os.getppid() == parent or not _is_alive(parent)):
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    end_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
