"""One pool per CRM, whichever companies it holds: a slow or strict one keeps nobody waiting who reads another."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dagster as dg

from warehouse.companies.definition import Company

_POLL_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 600
"""Whoever waited so long reads all the same: a pool shall slow a sync down, never stop it."""


def pool_of(company: Company) -> str:
    """The name of the pool: the CRM's host where it has one, else the company itself."""
    host = urlsplit(str(company.connector_settings.get("base_url", ""))).hostname
    return f"crm:{host}" if host else f"crm:{company.connector}:{company.slug}"


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
    if pool not in storage.get_concurrency_keys():
        storage.initialize_concurrency_limit_to_default(pool)
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not storage.claim_concurrency_slot(pool, run_id, step).is_claimed and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        storage.free_concurrency_slot_for_step(run_id, step)
