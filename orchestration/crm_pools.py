"""One pool per CRM, whichever companies it holds: a slow or strict one keeps nobody waiting who reads another.

Beside an embedded Postgres one run runs at a time, and no daemon would free the slot of a killed one: there the places
are this process's own.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dagster as dg

from warehouse.companies.definition import Company

_POLL_SECONDS = 1.0
_MAKING = threading.Lock()
"""Dagster makes a pool by an insert that fails where another thread has just made it."""
LONGEST_WAIT_SECONDS = 600
"""Whoever waited so long reads all the same: a pool shall slow a sync down, never stop it."""


def pool_of(company: Company) -> str:
    """The name of the pool: the CRM's host, with a port that is given, where it has one, else the company itself."""
    address = urlsplit(str(company.connector_settings.get("base_url", "")))
    host = f"{address.hostname}:{address.port}" if address.port else address.hostname
    return f"crm:{host}" if host else f"crm:{company.connector}:{company.slug}"


class LocalPools:
    """A place for one company at a time in each pool, in this process."""

    def __init__(self) -> None:
        self._places: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._making = threading.Lock()

    @contextmanager
    def slot(self, company: Company) -> Iterator[None]:
        """The place in the pool of this company's CRM, waited for."""
        with self._making:
            place = self._places[pool_of(company)]
        is_taken = place.acquire(timeout=LONGEST_WAIT_SECONDS)
        try:
            yield
        finally:
            if is_taken:
                place.release()


@contextmanager
def slot(instance: dg.DagsterInstance, run_id: str, company: Company) -> Iterator[None]:
    """A place in the pool of this company's CRM, waited for.

    How many there are is set in the UI under Deployment, Concurrency; one unless said otherwise. A slot of a run that
    was killed is freed by Dagster's run monitoring.
    """
    storage = instance.event_log_storage
    pool, step = pool_of(company), f"sync:{company.slug}"
    if not storage.supports_global_concurrency_limits or instance.global_op_concurrency_default_limit is None:
        yield
        return
    with _MAKING:
        if pool not in storage.get_concurrency_keys():
            storage.initialize_concurrency_limit_to_default(pool)
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not storage.claim_concurrency_slot(pool, run_id, step).is_claimed and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        storage.free_concurrency_slot_for_step(run_id, step)
