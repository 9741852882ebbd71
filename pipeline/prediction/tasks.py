"""What can be predicted: one entry per task. A task's SQL is its folder in `dbt_project/models/tasks/`.

docs/tasks.md says how one is added. Nothing else in Python knows a task by name, but for what only churn has: the
weekly report, `churn company check`, and the dashboards of customers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from foundation.counting import counted
from foundation.errors import ChurnError
from ml_assets.task import Gate, LadderThresholds, PredictionTask, RulePrior
from warehouse.companies.definition import CompanyDefinition
from warehouse.companies.task_settings import LONGEST_DAYS, TaskSettings
from warehouse.prediction.task_relations import TaskRelations
from warehouse.publication.contract import Contract
from warehouse.relations import CUSTOMERS_SEGMENTS, Relation
from warehouse.settings import Settings


class UnknownTask(ChurnError):
    """No task has this name, or the company does not have it."""

    advice = "`churn company show SLUG` shows the tasks of a company; `tasks:` in its definition switches them on."


def _billing_period(value: Any) -> str:
    """ "12 months" or "30 days", from such words or from a number of days. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value} days"
    match = _BILLING_PERIOD.fullmatch(str(value).strip().lower())
    if match is None or int(match["number"] or 1) == 0:
        raise ValueError("must be a number of days, or such as 1 month, 3 months, 1 year or 2 weeks")
    unit, factor = _PERIOD_UNITS[match["unit"]]
    return f"{int(match['number'] or 1) * factor} {unit}"


BillingPeriod = Annotated[str, BeforeValidator(_billing_period)]
"""How long it is from one payment to the next, as Postgres reads an interval."""

_PERIOD_UNITS = {
    "day": ("days", 1),
    "week": ("days", 7),
    "month": ("months", 1),
    "quarter": ("months", 3),
    "year": ("months", 12),
}

_LONGEST_PERIODS = {"days": LONGEST_DAYS, "months": 24}

LONGEST_PLAN = 200
"""Characters of a plan's name: a customer's cannot be longer."""

MOST_PLANS = 200
"""Plans of which a company may say how often they are paid."""

_BILLING_PERIOD = re.compile(rf"(?:(?P<number>\d{{1,4}}) )?(?P<unit>{'|'.join(_PERIOD_UNITS)})s?", re.ASCII)

_KIND_OF_SETTING = {
    "inactivity_days": "inactivity",
    "expected_every": "inactivity",
    "counts_pauses": "inactivity",
    "downgrade_share": "downgrade",
}


class ChurnSettings(TaskSettings):
    """What a company says of churn: what it means by it, and within how many days."""

    kind: Literal["cancellation", "inactivity", "downgrade"] = Field(
        description="cancellation, inactivity (no payment for inactivity_days after one was due) or downgrade "
        "(downgrade_share of the monthly price lost)"
    )
    inactivity_days: int | None = Field(
        default=None,
        gt=0,
        description=f"a whole number, 1 to {LONGEST_DAYS}; with kind inactivity, and only then",
    )
    expected_every: dict[str, BillingPeriod] | None = Field(
        default=None,
        min_length=1,
        description="how often customers of a plan pay, by the plan's name, such as {Yearly: 12 months, Weekly: 7 "
        "days}; with kind inactivity, and only then",
    )
    counts_pauses: bool | None = Field(
        default=None,
        description="true where the days of a pause count as silence; with kind inactivity, and only then",
    )
    downgrade_share: float | None = Field(
        default=None, gt=0, le=1, description="a share above 0 to 1; with kind downgrade, and only then"
    )

    @field_validator("expected_every")
    @classmethod
    def _plans_within_limits(cls, plans: dict[str, str] | None, checked: ValidationInfo) -> dict[str, str] | None:
        """What stands in the registry was checked when it came, by the limits of its time."""
        if plans is None or checked.context is None:
            return plans
        if len(plans) > MOST_PLANS:
            raise ValueError(f"must be at most {MOST_PLANS} plans")
        for plan, period in plans.items():
            number, unit = period.split()
            if int(number) > _LONGEST_PERIODS[unit]:
                raise ValueError(f"of a plan must be at most {LONGEST_DAYS} days or 2 years")
            if not plan.strip() or len(plan) > LONGEST_PLAN:
                raise ValueError(f"must name each plan in 1 to {LONGEST_PLAN} characters")
        return plans

    @model_validator(mode="after")
    def _kind_has_its_measure(self) -> Self:
        for kind, name in (("inactivity", "inactivity_days"), ("downgrade", "downgrade_share")):
            if self.kind == kind and getattr(self, name) is None:
                raise ValueError(f"{name} is needed when kind is {kind}")
        for name, kind in _KIND_OF_SETTING.items():
            if self.kind != kind and getattr(self, name) is not None:
                raise ValueError(f"{name} must be left out when kind is {self.kind}")
        return self

    def needed_entity(self) -> str:
        """Silence is told by payments, everything else by customers."""
        return "payments" if self.kind == "inactivity" else "customers"

    def meaning(self) -> str:
        """As inactivity-60-30d: companies of one meaning may share a model.

        Which plan is paid how often is not part of it: in each company silence counts from when a payment was due.
        """
        measure = self.downgrade_share if self.inactivity_days is None else self.inactivity_days
        pauses = "-pauses" if self.counts_pauses else ""
        return f"{self.kind}{'' if measure is None else f'-{measure:g}'}{pauses}-{self.horizon_days}d"

    def caution(self) -> str | None:
        """What a person should know of settings that are allowed and ask less than they seem to; None if nothing."""
        if self.inactivity_days is None or self.horizon_days >= self.inactivity_days:
            return None
        return (
            f"A horizon of {counted(self.horizon_days, 'day')} is shorter than the silence of "
            f"{self.inactivity_days}: only who "
            f"has been silent for {counted(self.inactivity_days - self.horizon_days, 'day')} already can churn "
            "within it, and all "
            f"others count as staying. With horizon_days: {self.inactivity_days} it is asked of every customer who is "
            "there whether the next payment comes in time."
        )


class SupportSettings(TaskSettings):
    """What a company says of support: within how many days a ticket counts."""

    horizon_days: int = Field(
        default=14,
        gt=0,
        description=f"a whole number, 1 to {LONGEST_DAYS}: the days after as_of_date in which a ticket counts",
    )

    def needed_entity(self) -> str:
        """It is tickets that are asked about."""
        return "tickets"


@dataclass(frozen=True)
class TaskWording:
    """A task as people read of it.

    `title` heads tables. `will` ends "82% ...", `did` ends "of whom 12 ...", `outcomes` heads their count. `colours`
    are the terminal's, by risk level.
    """

    title: str
    will: str
    did: str
    outcomes: str
    colours: Mapping[str, str] = field(default_factory=lambda: {"high": "red", "medium": "yellow", "low": "green"})


@dataclass(frozen=True)
class TaskBinding:
    """A task bound to its rows: how models of it are made, where its rows stand, what a company says of it.

    `value_feature` is the feature that says how much is at stake for an entity, in the company's currency.
    """

    task: PredictionTask
    relations: TaskRelations
    settings: type[TaskSettings]
    value_feature: str
    wording: TaskWording

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task.name

    def settings_of(self, company: CompanyDefinition) -> TaskSettings:
        """What the company says of the task. Raises UnknownTask where it does not have it."""
        if self.name not in company.tasks:
            raise UnknownTask(f"{company.slug} does not have the task {self.name}.")
        return self.settings.model_validate(company.tasks[self.name])

    def horizon_days(self, company: CompanyDefinition) -> int:
        """Days after the as_of_date in which the outcome counts, as the company has it."""
        return self.settings_of(company).horizon_days

    def with_ladder(self, settings: Settings) -> TaskBinding:
        """The same task with as much evidence asked for as the installation's settings say."""
        ladder = LadderThresholds(
            own_outcomes=settings.ladder_own_outcomes,
            own_survivors=settings.ladder_own_survivors,
            pooled_outcomes=settings.ladder_pooled_outcomes,
            pooled_survivors=settings.ladder_pooled_survivors,
        )
        return replace(self, task=replace(self.task, ladder=ladder))


TASKS: tuple[TaskBinding, ...] = (
    TaskBinding(
        task=PredictionTask(name="churn", entity="customer", rule_feature="days_since_last_payment"),
        relations=TaskRelations(
            contract=Contract("churn", "customer", outcome="the customer churns within the company's horizon"),
            matrix=Relation("features", "churn_feature_matrix"),
            labels=Relation("features", "churn_labels"),
            label_versions=Relation("features", "churn_label_versions"),
            label="is_churned",
            times=Relation("features", "churn_times"),
            segments=CUSTOMERS_SEGMENTS,
        ),
        settings=ChurnSettings,
        value_feature="revenue_90d",
        wording=TaskWording(title="Churn", will="likely to leave", did="left", outcomes="churners"),
    ),
    TaskBinding(
        task=PredictionTask(
            name="support",
            entity="customer",
            rule_feature="tickets_opened_90d",
            candidates=("logistic", "xgboost", "lightgbm", "blend"),
            gate=Gate(log_loss_gain=0.0),
            rule_prior=RulePrior(rate_per_30_days=0.05, reference=1.0),
            curve_days=(7, 14, 30),
        ),
        relations=TaskRelations(
            contract=Contract(
                "support", "customer", outcome="the customer opens a high-priority ticket within the company's horizon"
            ),
            matrix=Relation("features", "support_feature_matrix"),
            labels=Relation("features", "support_labels"),
            label_versions=Relation("features", "support_label_versions"),
            label="has_escalated",
            times=Relation("features", "support_times"),
            segments=CUSTOMERS_SEGMENTS,
        ),
        settings=SupportSettings,
        value_feature="revenue_90d",
        wording=TaskWording(
            title="Support",
            will="likely to open a high-priority ticket",
            did="opened one",
            outcomes="escalations",
        ),
    ),
)

CONTRACTS = tuple(binding.relations.contract for binding in TASKS)
CUSTOMER_TASKS = tuple(binding.relations for binding in TASKS if binding.task.entity == "customer")


def task_named(name: str) -> TaskBinding:
    """The task of this name. Raises UnknownTask, which names those there are."""
    for binding in TASKS:
        if binding.name == name:
            return binding
    raise UnknownTask(f"There is no task {name!r}; there are {', '.join(binding.name for binding in TASKS)}.")


def churn_settings_of(company: CompanyDefinition) -> ChurnSettings | None:
    """What the company means by churn; None where it does not have the task."""
    return ChurnSettings.model_validate(company.tasks["churn"]) if "churn" in company.tasks else None


def tasks_of(company: CompanyDefinition) -> list[TaskBinding]:
    """The tasks that a company has, in the order of this page."""
    return [binding for binding in TASKS if binding.name in company.tasks]
