"""Work over companies: each on its own, counted, and none stopped by another's failure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

import dagster as dg

from foundation.counting import counted
from foundation.errors import ChurnError
from orchestration import error_reports
from orchestration.side_by_side import side_by_side
from warehouse.companies.definition import Company
from warehouse.companies.quarantine import Quarantine, open_quarantines
from warehouse.companies.registry import list_companies, refuse_unreadable
from warehouse.connection import Warehouse
from warehouse.disk_space import full_disk
from warehouse.logs.operations import record_run
from warehouse.lost_connection import resumed
from warehouse.settings import load_settings

Result = TypeVar("Result")

WHOLE_RUN = "this run, all its companies"
EVERY_COMPANY = "every_company"
"""The check, of one table of each stage, that is red while a company has failed; what comes after goes on."""
INTERRUPTED = "stopped before it was done; what was under way is undone, and the next run does it"


@dataclass
class CompanyOutcomes(Generic[Result]):
    """What each company's work gave, by slug: a result, or the error's message."""

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def check(self, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
        """The stage as Dagster shows it: in error, with the companies that failed and why, and blocking nobody."""
        return dg.AssetCheckResult(
            asset_key=asset_key,
            check_name=EVERY_COMPANY,
            passed=not self.failures,
            severity=dg.AssetCheckSeverity.ERROR,
            description="; ".join(f"{slug}: {error}" for slug, error in sorted(self.failures.items())) or None,
            metadata={slug: "failed" if slug in self.failures else "succeeded" for slug in self._slugs},
        )

    @property
    def _slugs(self) -> list[str]:
        return sorted({*self.results, *self.failures})


def every_company(asset_key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that `CompanyOutcomes.check` answers; an asset of each stage has one."""
    return dg.AssetCheckSpec(
        EVERY_COMPANY,
        asset=asset_key,
        description="The stage did its work for every company of its last run; it names those for which it failed. "
        "Their published scores stand, and the others went on.",
    )


@dataclass(frozen=True)
class SideBySide:
    """Companies are worked on in threads: how many at once, how long each may take, and what it waits for first."""

    at_once: int
    longest: timedelta
    turn: Callable[[Company], AbstractContextManager[None]]


def for_each_company(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    *,
    stage: str,
    task: str | None = None,
    work: Callable[[Company], Result],
    counts: Callable[[Result], Mapping[str, int]],
    failure: Callable[[Result], str | None] = lambda _: None,
    quarantined_too: bool = False,
    threads: SideBySide | None = None,
) -> CompanyOutcomes[Result]:
    """Do ``work`` for every company of this run's partitions, and keep what each did in ``ops.run_log``.

    With a ``task``, for those that have it, and the stage is called by both: "train churn". One after another, or in
    ``threads``. ``work`` must go on from where it stood: where Postgres goes away it is done again.

    A company in quarantine is passed over, since nothing was built for it today, unless ``quarantined_too``.
    ``failure`` says what went wrong in a result that came back all the same, or None. A company that fails
    is logged with its error and the others go on. Raises ``dagster.Failure`` where not one company succeeded.
    """
    stage = stage if task is None else f"{stage} {task}"
    begun_at = datetime.now(UTC)
    chosen, left_out = resumed(
        warehouse, lambda: _choose(context, warehouse, task, quarantined_too=quarantined_too), context.log.warning
    )
    for quarantine in left_out:
        context.log.warning(f"{stage} · {quarantine}")
    run = _StageRun(context, warehouse, stage, work, counts, failure)
    try:
        for company, end in run.ends(chosen, threads):
            run.note(company, end)
    except Exception:
        raise
    except BaseException:
        run.note_interrupted()
        raise
    totals = Counter[str]()
    for result in run.outcomes.results.values():
        totals.update(counts(result))
    seconds = (datetime.now(UTC) - begun_at).total_seconds()
    failures = run.outcomes.failures
    _report(context, stage, chosen, run.outcomes, describe_run(len(chosen), seconds, totals, failures))
    return run.outcomes


def _choose(
    context: dg.AssetExecutionContext, warehouse: Warehouse, task: str | None, *, quarantined_too: bool
) -> tuple[list[Company], list[Quarantine]]:
    """The companies to work on, and the quarantines of those that were asked for and are passed over."""
    with warehouse.connect() as conn:
        left_out = {} if quarantined_too else {each.company_id: each for each in open_quarantines(conn)}
        asked_for = [
            company
            for company in list_companies(conn, active_only=False)
            if company.is_active
            and (company.slug in context.partition_keys or company.unreadable)
            and (task is None or task in company.tasks)
        ]
    return (
        [company for company in asked_for if company.company_id not in left_out],
        [left_out[company.company_id] for company in asked_for if company.company_id in left_out],
    )


@dataclass
class _StageRun(Generic[Result]):
    """A stage over its companies, from the first to the last."""

    context: dg.AssetExecutionContext
    warehouse: Warehouse
    stage: str
    work: Callable[[Company], Result]
    counts: Callable[[Result], Mapping[str, int]]
    failure: Callable[[Result], str | None]
    outcomes: CompanyOutcomes[Result] = field(default_factory=CompanyOutcomes)
    _started_at: dict[int, datetime] = field(default_factory=dict)
    _under_way: dict[int, Company] = field(default_factory=dict)

    def ends(
        self, companies: Sequence[Company], threads: SideBySide | None
    ) -> Iterator[tuple[Company, Result | Exception]]:
        """Each company with what its work gave or raised."""
        if threads is not None:
            yield from side_by_side(
                companies, self._do, at_once=threads.at_once, longest=threads.longest, turn=threads.turn
            )
            return
        for company in companies:
            try:
                yield company, self._do(company)
            except Exception as error:  # noqa: BLE001 - it is noted, and the next one is worked on
                yield company, error

    def _do(self, company: Company) -> Result:
        self._started_at[company.company_id] = datetime.now(UTC)
        self.context.log.info(f"{self.stage} · {company.slug}: begins")
        refuse_unreadable(company)
        self._under_way[company.company_id] = company
        return resumed(self.warehouse, lambda: self.work(company), self.context.log.warning)

    def note(self, company: Company, end: Result | Exception) -> None:
        """Keep what became of a company, in this run's outcomes, its log and ops.run_log."""
        slug = company.slug
        self._under_way.pop(company.company_id, None)
        if isinstance(end, Exception):
            self.outcomes.failures[slug] = _error_message(end, company)
            self.context.log.error(f"{self.stage} failed for {slug}: {end}", exc_info=end)
            error_reports.report(end, company=slug, stage=self.stage, run_id=self.context.run_id)
        else:
            self.outcomes.results[slug] = end
            self._note_result(company, end)
        counts = self.counts(self.outcomes.results[slug]) if slug in self.outcomes.results else None
        resumed(
            self.warehouse,
            lambda: self._record(company, counts=counts, error=self.outcomes.failures.get(slug)),
            self.context.log.warning,
        )

    def note_interrupted(self) -> None:
        """Keep of whom the work was under way when somebody asked the process to stop."""
        for company in list(self._under_way.values()):
            with suppress(Exception):
                self._record(company, error=INTERRUPTED)

    def _note_result(self, company: Company, result: Result) -> None:
        error = self.failure(result)
        if error:
            self.outcomes.failures[company.slug] = error
            self.context.log.error(f"{self.stage} failed for {company.slug}: {error}")
            return
        done = ", ".join(f"{name} {count:,}" for name, count in self.counts(result).items())
        seconds = (datetime.now(UTC) - self._started_at[company.company_id]).total_seconds()
        self.context.log.info(f"{self.stage} · {company.slug}: done in {seconds:.1f} s{': ' if done else ''}{done}")

    def _record(self, company: Company, *, error: str | None, counts: Mapping[str, int] | None = None) -> None:
        now = datetime.now(UTC)
        with self.warehouse.connect() as conn:
            record_run(
                conn,
                stage=self.stage,
                status="failed" if error else "succeeded",
                started_at=self._started_at.get(company.company_id, now),
                finished_at=now,
                company_id=company.company_id,
                dagster_run_id=self.context.run_id,
                counts=counts,
                error=error,
            )


def _error_message(error: Exception, company: Company) -> str:
    """What people are told: an error of ours speaks for itself, another one is named, a full disk whoever says so."""
    if not isinstance(error, ChurnError):
        full = full_disk(error, load_settings())
        return str(full) if full else f"{type(error).__name__}: {error}"
    return error.told_of(company.slug)


def describe_run(companies: int, seconds: float, totals: Mapping[str, int], failed: Collection[str]) -> str:
    """What the stage did over all its companies, in a line."""
    summary = f"{companies} {'company' if companies == 1 else 'companies'} in {seconds:.1f} s"
    if totals:
        summary += ": " + ", ".join(f"{name} {count:,}" for name, count in totals.items())
    return f"{summary}; failed: {', '.join(sorted(failed))}" if failed else summary


def figures(result: Any) -> dict[str, str | int | float]:
    """A result's fields as metadata: numbers as they are, the rest as text, those without a value left out.

    ``result`` is a dataclass instance.
    """
    return {
        name: value if isinstance(value, (int, float)) else str(value)
        for name, value in asdict(result).items()
        if value is not None
    }


def _report(
    context: dg.AssetExecutionContext,
    stage: str,
    chosen: list[Company],
    outcomes: CompanyOutcomes[Result],
    whole_run: str,
) -> None:
    # A page shows the newest materialization, which is one company's: each says what all of the run came to.
    for key in context.selected_asset_keys:
        context.add_asset_metadata({WHOLE_RUN: whole_run}, key)
    # One whose definition cannot be read has no partition.
    failed = [slug for slug in context.partition_keys if slug in outcomes.failures]
    for slug in failed:
        error = outcomes.failures[slug]
        for key in context.selected_asset_keys:
            context.add_asset_metadata({"status": "failed", "error": error}, key, slug)
    if chosen and len(outcomes.failures) == len(chosen):
        # Nobody is left for whom the run could go on.
        raise dg.Failure(
            description=f"{stage} failed for {len(outcomes.failures)} of {counted(len(chosen), 'company')}: "
            + "; ".join(f"{slug}: {error}" for slug, error in outcomes.failures.items()),
            allow_retries=False,
        )
