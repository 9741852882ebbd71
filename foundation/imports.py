"""Much is imported before a job begins, and none of it is ever garbage."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Import within, and the collector neither interrupts that nor looks through what was imported ever again.

    Of the six seconds of processor time that a job's imports took, it took more than one. Where nothing is imported
    that was not there, all stays as it is: what is kept from the collector must not grow with each job of a process.
    """
    if not gc.isenabled():
        yield
        return
    modules_before = len(sys.modules)
    gc.disable()
    try:
        yield
        if len(sys.modules) > modules_before:
            gc.collect()
            gc.freeze()
    finally:
        gc.enable()
