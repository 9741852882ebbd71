"""Run one of our jobs to its end in this process, and show its steps as they happen."""

import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg
from rich.console import Console

from foundation.counting import agreeing, counted
from foundation.errors import ChurnError
from foundation.imports import lasting_imports
from orchestration import dagster_home, partitions, stopping
from orchestration.company_work import EVERY_COMPANY
from orchestration.console import TextConsole
from orchestration.run_launcher import session_of_run
from pipeline.features.dbt import prepare_manifest, write_profile
from warehouse.companies.registry import list_companies
from warehouse.connection import Warehouse
from warehouse.disk_space import refuse_without_room, stopped_for
from warehouse.logs.operations import failed_runs
from warehouse.one_writer import LONGEST_WAIT, one_writer
from warehouse.settings import Settings

CROSSES_NOBODY = frozenset({"sync"})
"""Jobs that run beside any other: each load holds its own company and entity."""

_POLL_SECONDS = 0.3
# Without this tag, for which Dagster has no public name, the UI lists the run, but not at its job.
REPOSITORY_LABEL_TAG = ".dagster/repository"
REPOSITORY_LABEL = f"__repository__@{dagster_home.CODE_LOCATION}"


class NoCompanies(ChurnError):
    """There is no company to run for."""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended: its run, the errors of its failed steps, and its failed checks in words, warnings too."""

    run_id: str
    success: bool
    errors: list[str]
    failed_companies: list[str]
    failed_checks: list[str]


def run_job(
    settings: Settings,
    warehouse: Warehouse,
    job_name: str,
    *,
    company: str | None = None,
    run_config: Mapping[str, object] | None = None,
    wait: timedelta = LONGEST_WAIT,
) -> JobOutcome:
    """Run ``job_name`` for one company, or for all active ones, as one Dagster run that the UI shows too.

    All but CROSSES_NOBODY wait until nobody else writes in the warehouse, and say so. Raises NoCompanies when none is
    active, or the named one is not, WarehouseBusy when ``wait`` is over, DiskAlmostFull, and Stopped.
    """
    refuse_without_room(settings, job_name, print)
    with warehouse.connect() as conn:
        active = [known.slug for known in list_companies(conn)]
    chosen = _choose(active, company)
    with alone(warehouse, job_name, wait):
        return _run(settings, warehouse, job_name, active, chosen, run_config)


def _run(
    settings: Settings,
    warehouse: Warehouse,
    job_name: str,
    active: Sequence[str],
    chosen: Sequence[str],
    run_config: Mapping[str, object] | None,
) -> JobOutcome:
    write_profile(settings, warehouse)
    prepare_manifest(settings)
    with lasting_imports():
        from orchestration.definitions import defs

        job = defs().resolve_job_def(job_name)
    is_json = settings.log_format == "json"
    run_id = str(uuid.uuid4())
    with dagster_home.instance(settings) as instance:
        partitions.match_registry(instance, active)
        with (
            session_of_run(warehouse, run_id),
            _signals_kept(),
            _progress_printed(instance, run_id),
            _tools_output(settings),
        ):
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                raise_on_error=False,
                tags={**partitions.range_tags(chosen), REPOSITORY_LABEL_TAG: REPOSITORY_LABEL},
                run_config={
                    # On the terminal the steps are shown instead.
                    "loggers": {"console": {"config": {"log_level": "INFO" if is_json else "CRITICAL"}}},
                    **(run_config or {}),
                },
            )
    if not result.success and (cause := stopped_for()):
        raise cause
    if not result.success and (number := stopping.request()):
        raise stopping.Stopped(f"{_interrupted(job_name, result)} ({signal.Signals(number).name}).", number)
    with warehouse.connect() as conn:
        failed = [f"{run.slug} · {run.stage}: {run.error}" for run in failed_runs(conn, run_id)]
    return JobOutcome(run_id, result.success, list(_errors(result, failed)), failed, list(_failed_checks(result)))


def alone(warehouse: Warehouse, job_name: str, wait: timedelta) -> AbstractContextManager[None]:
    """Be the warehouse's one writer while the job runs, unless it crosses nobody. Raises WarehouseBusy."""
    return nullcontext() if job_name in CROSSES_NOBODY else one_writer(warehouse, f"churn {job_name}", wait=wait)


def _choose(active: Sequence[str], company: str | None) -> Sequence[str]:
    if not active:
        raise NoCompanies("No company is active: add one with `churn company add`.")
    if company is None:
        return active
    if company not in active:
        raise NoCompanies(f"{company} is no active company. Active: {', '.join(active)}.")
    return [company]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Dagster leaves SIGTERM as it has SIGINT."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _interrupted(job_name: str, result: dg.ExecuteInProcessResult) -> str:
    steps = [str(event.step_key).replace("_", " ") for event in result.all_events if event.is_step_failure]
    return (
        f"`churn {job_name}` was asked to stop, and stopped {f'during {steps[-1]}' if steps else 'between two steps'}"
    )


@contextmanager
def _tools_output(settings: Settings) -> Iterator[None]:
    """What dbt prints goes to ``logs/run.log`` in the home folder; the terminal shows the steps."""
    log = settings.home / "logs" / "run.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, redirect_stdout(file):
        yield


@contextmanager
def _progress_printed(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    console = TextConsole(file=sys.stdout)
    ended = threading.Event()
    watcher = threading.Thread(target=_show_steps, args=(instance, run_id, console, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _show_steps(instance: dg.DagsterInstance, run_id: str, console: Console, ended: threading.Event) -> None:
    cursor: str | None = None
    started: dict[str, float] = {}
    while True:
        last_look = ended.wait(_POLL_SECONDS)
        page = instance.get_records_for_run(run_id, cursor=cursor)
        cursor = page.cursor
        for record in page.records:
            _show(record.event_log_entry, started, console)
        if last_look and not page.has_more:
            return


def _show(entry: dg.EventLogEntry, started: dict[str, float], console: Console) -> None:
    event = entry.dagster_event
    if event is None or event.step_key is None:
        return
    name = event.step_key.replace("_", " ")
    if event.is_step_start:
        started[event.step_key] = entry.timestamp
        console.print(f"  [dim]…[/dim] {name}")
    elif event.is_step_success:
        seconds = entry.timestamp - started.get(event.step_key, entry.timestamp)
        console.print(f"  [green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]")
    elif event.is_step_failure:
        console.print(f"  [red]✗[/red] {name}")


def _errors(result: dg.ExecuteInProcessResult, failed_companies: Sequence[str]) -> Iterator[str]:
    """Errors of failed steps, but for a step that only says once more which companies failed."""
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            if error and error.cls_name == dg.Failure.__name__ and failed_companies:
                continue
            cause = error.cause if error and error.cause else error
            yield f"{event.step_key}: {cause.message.strip() if cause else 'failed'}"


def _failed_checks(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    newest = {check.asset_check_key: check for check in result.get_asset_check_evaluations()}
    for key, check in newest.items():
        # Who failed is told by name.
        if not check.passed and key.name != EVERY_COMPANY:
            yield check.description or broken_rule(".".join(key.asset_key.path), key.name, check.metadata)


def broken_rule(table: str, test: str, metadata: Mapping[str, dg.MetadataValue]) -> str:
    """A failed dbt test as a failure, in words: which table, how many rows, which rule."""
    failed = metadata.get("dagster_dbt/failed_row_count")
    number = failed.value if isinstance(failed, dg.IntMetadataValue) else None
    rows = "rows break" if number is None else f"{counted(number, 'row')} {agreeing(number, 'break')}"
    return f"{table}: {rows} the rule “{' '.join(test.replace('_', ' ').split())}”"
