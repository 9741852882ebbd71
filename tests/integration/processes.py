"""Processes to be killed: each is forked from one that has imported everything and does nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "tests.integration.pipeline.loading.test_sync_killed",
        "tests.integration.warehouse.publication.test_atomic",
        "psycopg",
        "dlt",
    ]
)


@contextmanager
def started(work: Callable[..., None], *arguments: Any) -> Iterator[ForkServerProcess]:
    """The process that does this work, of a module; what it still runs at the end is killed."""
    process = _CONTEXT.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        process.close()
