"""Replaying dates whose scores were held, once their source is repaired.

By the rule of time a date knows what was loaded before it, so built as usual a held date shows the outage for ever.
A replay asks another question: what would the date have looked like, had the source been read without delay? Its
features are built beside the stored ones from versions that count from when the source made them, scored with the
model that was champion then, judged by the same gate, and published for their own date: the current set and the feed
do not move. The stored features stay as they were known, and replayed scores are not graded.
"""

from dataclasses import dataclass, field
from datetime import date

from foundation.model_version import ModelVersion
from pipeline.features.proof import built_beside
from pipeline.prediction.scoring import NoModel, Scorer
from pipeline.prediction.tasks import TaskBinding
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.prediction.feature_store import rows_at
from warehouse.publication.gate import run_gate
from warehouse.publication.holds import Hold, Knowledge, list_holds, release, ways_out
from warehouse.publication.publish import discard_staged, publish_staged_scores
from warehouse.roles import Role
from warehouse.settings import Settings


@dataclass(frozen=True)
class Replayed:
    """What a replay did: dates published, and those that are held still, each with what is wrong and what helps."""

    published: list[date] = field(default_factory=list)
    held: dict[date, str] = field(default_factory=dict)

    def describe_failure(self) -> str | None:
        """Which dates are held still, and why; None where none is."""
        return "; ".join(f"{day} is held still: {reasons}" for day, reasons in self.held.items()) or None


def replay_held_dates(
    settings: Settings,
    warehouse: Warehouse,
    binding: TaskBinding,
    scorer: Scorer,
    company: Company,
    as_of_date: date | None = None,
) -> Replayed:
    """Build, score, judge and publish every past date of the company that is held, or the one that is named.

    Today's own scores are `churn score`'s business. Raises NoModel where no model ever scored the company, and what
    dbt and the model raise.
    """
    now = Clock.from_settings(settings).for_company(company)
    with warehouse.connect(Role.ml) as conn:
        holds = [
            hold
            for hold in reversed(list_holds(conn, company.company_id, binding.name, only_open=True))
            if hold.as_of_date < now.date() and as_of_date in (None, hold.as_of_date)
        ]
    done, task = Replayed(), binding.relations
    if not holds:
        return done
    dates = [hold.as_of_date for hold in holds]
    with built_beside(settings, warehouse, task, company, dates, as_the_source_said=True) as matrix:
        knowledge = Knowledge(matrix, now)
        for hold in holds:
            day = hold.as_of_date
            place = (warehouse, task, company.company_id, day)
            rows = rows_at(*place, scorer.names, company.custom_attributes, matrix=matrix)
            scorer.stage_rows(company, rows, _model_of(company, hold))
            with warehouse.connect(Role.ml) as conn:
                checks = run_gate(conn, task, company, day, now, knowledge)
            failed = [check.detail for check in checks if not check.passed]
            if failed:
                done.held[day] = f"{'; '.join(failed)}. {ways_out(company.slug, binding.name, day)}"
                with warehouse.connect(Role.ml) as conn:
                    discard_staged(conn, company.company_id, task.name)
                continue
            with warehouse.connect(Role.publisher, autocommit=True) as conn:
                publish_staged_scores(conn, task.contract, company.company_id, day, now)
                release(conn, company.company_id, task.name, day, now, "replayed")
            done.published.append(day)
    return done


def _model_of(company: Company, hold: Hold) -> ModelVersion:
    """The model that scored the date when it was held."""
    try:
        return ModelVersion.parse(hold.model_version or "")
    except ValueError:
        raise NoModel(
            f"{company.slug}: it was not kept which model scored {hold.as_of_date}; score a later date."
        ) from None
