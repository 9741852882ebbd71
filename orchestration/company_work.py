"""Work over companies: each on its own, counted, and none stopped by another's failure."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import dagster as dg

from foundation.counting import counted
from foundation.errors import ChurnError
from orchestration import error_reports
from warehouse.companies.definition import Company
from warehouse.companies.quarantine import open_quarantines
from warehouse.companies.registry import list_companies, refuse_unreadable
from warehouse.connection import Warehouse
from warehouse.logs.operations import record_run

Result = TypeVar("Result")

WHOLE_RUN = "this run, all its companies"
LARGEST_SHARE_OF_FAILURES = 0.5
"""Past this share of failed companies the fault is ours, not theirs, and the step fails."""


@dataclass
class CompanyOutcomes(Generic[Result]):
    """What each company's work gave, by slug: a result, or the error's message."""

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


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
) -> CompanyOutcomes[Result]:
    """Do ``work`` for every company of this run's partitions, and keep what each did in ``ops.run_log``.

    With a ``task``, for those that have it, and the stage is called by both: "train churn".

    A company in quarantine is passed over, since nothing was built for it today, unless ``quarantined_too``.
    ``failure`` says what went wrong in a result that came back all the same, or None. A company that fails
    is logged with its error and the others go on. Raises ``dagster.Failure`` when more than
    LARGEST_SHARE_OF_FAILURES of the companies failed.
    """
    outcomes: CompanyOutcomes[Result] = CompanyOutcomes()
    begun_at = datetime.now(UTC)
    with warehouse.connect() as conn:
        left_out = {} if quarantined_too else {each.company_id: each for each in open_quarantines(conn)}
        asked_for = [
            company
            for company in list_companies(conn, active_only=False)
            if company.is_active
            and (company.slug in context.partition_keys or company.unreadable)
            and (task is None or task in company.tasks)
        ]
    chosen = [company for company in asked_for if company.company_id not in left_out]
    stage = stage if task is None else f"{stage} {task}"
    for company in asked_for:
        if company.company_id in left_out:
            context.log.warning(f"{stage} · {left_out[company.company_id]}")
    for company in chosen:
        started_at = datetime.now(UTC)
        try:
            context.log.info(f"{stage} · {company.slug}: begins")
            refuse_unreadable(company)
            result = outcomes.results[company.slug] = work(company)
            error = failure(result)
            if error:
                outcomes.failures[company.slug] = error
                context.log.error(f"{stage} failed for {company.slug}: {error}")
        except Exception as error:
            outcomes.failures[company.slug] = _error_message(error, company)
            context.log.error(f"{stage} failed for {company.slug}: {error}", exc_info=error)
            error_reports.report(error, company=company.slug, stage=stage, run_id=context.run_id)
        if company.slug not in outcomes.failures:
            done = ", ".join(f"{name} {count:,}" for name, count in counts(outcomes.results[company.slug]).items())
            seconds = (datetime.now(UTC) - started_at).total_seconds()
            context.log.info(f"{stage} · {company.slug}: done in {seconds:.1f} s{': ' if done else ''}{done}")
        with warehouse.connect() as conn:
            record_run(
                conn,
                stage=stage,
                status="failed" if company.slug in outcomes.failures else "succeeded",
                started_at=started_at,
                finished_at=datetime.now(UTC),
                company_id=company.company_id,
                dagster_run_id=context.run_id,
                counts=counts(outcomes.results[company.slug]) if company.slug in outcomes.results else None,
                error=outcomes.failures.get(company.slug),
            )
    totals = Counter[str]()
    for result in outcomes.results.values():
        totals.update(counts(result))
    seconds = (datetime.now(UTC) - begun_at).total_seconds()
    _report(context, stage, chosen, outcomes, describe_run(len(chosen), seconds, totals, outcomes.failures))
    return outcomes


def _error_message(error: Exception, company: Company) -> str:
    """What people are told: an error of ours speaks for itself, another one is named."""
    if not isinstance(error, ChurnError):
        return f"{type(error).__name__}: {error}"
    error.company = error.company or company.slug
    return str(error).removeprefix(f"{company.slug}: ")


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
    if len(outcomes.failures) > LARGEST_SHARE_OF_FAILURES * len(chosen):
        raise dg.Failure(
            description=f"{stage} failed for {len(outcomes.failures)} of {counted(len(chosen), 'company')}: "
            + "; ".join(f"{slug}: {error}" for slug, error in outcomes.failures.items()),
            allow_retries=False,
        )
