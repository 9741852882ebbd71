"""Launches runs as Dagster does, and can tell whether the process of a run is still there.

Dagster's own launcher cannot: a run whose process was killed would count as running for ever, and with one run at a
time nothing would follow it. Dagster's run monitoring asks us instead, and ends such a run; its retries go on from
where it stood.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from warehouse.connection import Warehouse
from warehouse.settings import load_settings

_ANSWER_SECONDS = 20


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's launcher on code servers, whose runs can be asked after."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: that is what it is for."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run that counts as running is there.

        A run of the schedules is asked after where it was launched, one of the `churn` command by its Postgres session.
        Who does not answer is not taken for dead, but for a server of this machine that is gone for good.
        """
        launched_at = run.tags.get(GRPC_INFO_TAG)
        if launched_at is None:
            with Warehouse.open(load_settings()) as warehouse:
                is_there = has_session(warehouse, run.run_id)
        else:
            is_there = _is_executing(json.loads(launched_at), run.run_id)
        if is_there:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process of this run is gone")


@contextmanager
def session_of_run(warehouse: Warehouse, run_id: str) -> Iterator[None]:
    """Hold a Postgres session by which others see that this process carries the run out."""
    with warehouse.connect(autocommit=True) as session:
        session.execute(
            "select set_config('application_name', %s, false), set_config('idle_session_timeout', '0', false)",
            [_session_name(run_id)],
        )
        yield


def has_session(warehouse: Warehouse, run_id: str) -> bool:
    """Whether some process says by its session that it carries the run out."""
    with warehouse.connect(autocommit=True) as connection:
        query = "select exists (select from pg_stat_activity where application_name = %s)"
        row = connection.execute(query, [_session_name(run_id)]).fetchone()
    return bool(row and row[0])


def _session_name(run_id: str) -> str:
    return f"run {run_id}"


def _is_executing(place: dict[str, Any], run_id: str) -> bool:
    """Whether the server that launched a run still has its process. `place` is how Dagster notes the server."""
    client = DagsterGrpcClient(**place)
    try:
        answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_ANSWER_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        # A server behind a port starts again and then answers; one behind a socket belonged to a command that ended.
        cause = error.__cause__
        is_refused = isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.UNAVAILABLE
        return not (is_refused and place.get("socket"))
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel
