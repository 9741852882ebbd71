"""What a run did, in words and tables for the terminal. It reads; it never writes."""

from collections.abc import Sequence
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from ml_assets.scoring.reasons import OTHER, Reason
from pipeline.prediction.tasks import TASKS, TaskBinding, tasks_of
from warehouse.companies.definition import Company
from warehouse.companies.quarantine import Quarantine, open_quarantines
from warehouse.companies.registry import companies_with, list_companies
from warehouse.disk_space import in_words, is_scarce
from warehouse.publication.contract import Contract
from warehouse.publication.holds import list_holds
from warehouse.settings import Settings


def print_summary(conn: psycopg.Connection[Any], console: Console, run_id: str) -> None:
    """Rows pulled, and who has no history; of each task quality, track record, who is at risk, and the five most."""
    from pipeline.loading.snapshots import snapshots_among

    _print_loads(conn, console, run_id)
    companies = list_companies(conn)
    for slug, sentence in snapshots_among(conn, companies).items():
        console.print(f"[yellow]{escape(slug)}: {escape(sentence)}[/yellow]\n")
    for binding in TASKS:
        if any(binding.name in company.tasks for company in companies):
            _print_quality(conn, console, binding)
            _print_track_record(conn, console, binding, companies)
            _print_risk(conn, console, binding)
            _print_most_at_risk(conn, console, binding)


def print_companies(companies: Sequence[Company], left_out: Sequence[Quarantine], console: Console) -> None:
    """The registry, a line each; below it, why companies in quarantine are left out."""
    quarantined = {quarantine.company_id for quarantine in left_out}
    table = _table("Companies", "id>", "slug", "name", "CRM", "tasks", "active", "pools")
    for company in companies:
        table.add_row(
            str(company.company_id),
            company.slug,
            escape(company.name),
            company.connector.replace("_", " "),
            ", ".join(f"{task.name} {task.settings_of(company).meaning()}" for task in tasks_of(company)),
            "[red]left out[/red]"
            if company.company_id in quarantined
            else "yes"
            if company.is_active
            else "[dim]no[/dim]",
            "yes" if company.shares_training else "no",
        )
    console.print(table)
    print_quarantines(left_out, console)


def print_quarantines(left_out: Sequence[Quarantine], console: Console) -> None:
    """A line for each company in quarantine: what fails on it, and what lets it in again."""
    for quarantine in left_out:
        console.print(
            f"[red]{escape(str(quarantine))}[/red] (since {quarantine.begun_at:%Y-%m-%d}; "
            f"`churn company release {quarantine.slug}` tries it again)"
        )


def print_disk(settings: Settings, console: Console) -> None:
    """What is left of the disk, in yellow where another run like the last would bring it below the reserve."""
    line = escape(in_words(settings, "sync_and_score"))
    scarce = is_scarce(settings, "sync_and_score")
    console.print(f"[yellow]{line}; runs stop below {settings.disk_reserve_mb} MiB[/yellow]" if scarce else line)


def print_project(settings: Settings, console: Console) -> None:
    """A project of one's own: where it stands, which of our models it replaces, what an upgrade changed below it."""
    if settings.project is None:
        return
    from pipeline.features.catalogue import manifest_path
    from pipeline.features.own_project import overridden_models
    from pipeline.features.own_project_models import contract_changes, own_models

    if not manifest_path(settings).exists():
        console.print(escape(f"Project: {settings.project}; it was not built yet."))
        return
    manifest = orjson.loads(manifest_path(settings).read_bytes())
    replaced = ", ".join(overridden_models(manifest)) or "none"
    models = counted(len(own_models(manifest)), "model")
    console.print(escape(f"Project: {settings.project}; {models} of its own, in place of ours: {replaced}."))
    for change in contract_changes(settings, manifest):
        console.print(f"[yellow]{escape(change.sentence)}[/yellow]")


def print_status(conn: psycopg.Connection[Any], console: Console) -> None:
    """Each active company's last load per table, and of each of its tasks what is published or held back."""
    table = _table("Companies", "company", "last load", "failed tables", "task", "scores for", "scores>", "held back")
    for binding in TASKS:
        for row in _rows(conn, binding.relations.contract, _STATUS):
            table.add_row(
                row["slug"],
                f"{row['last_load']:%Y-%m-%d %H:%M}" if row["last_load"] else "never",
                row["failed"] or "–",
                binding.name,
                str(row["as_of_date"] or "–"),
                _count(row["scores"]),
                f"[yellow]{row['held']}[/yellow]" if row["held"] else "–",
            )
    console.print(table)
    print_quarantines(open_quarantines(conn), console)
    _print_holds(conn, console)


def _print_holds(conn: psycopg.Connection[Any], console: Console) -> None:
    """Of each company and task that holds a date: the newest one, why, and what ends it."""
    for binding in TASKS:
        for company in companies_with(conn, binding.name):
            for newest in list_holds(conn, company.company_id, binding.name, only_open=True)[:1]:
                console.print(
                    f"[yellow]{escape(company.slug)}: {escape(newest.sentence(company.slug, binding.name))}[/]"
                )


_STATUS: LiteralString = """
    select company.slug, loads.last_load, loads.failed, published.as_of_date, published.scores,
        held.as_of_date as held
    from {companies} as company
    inner join {company_tasks} as has
        on has.company_id = company.company_id and has.is_active and has.task = {task}
    left join lateral (
        select max(finished_at) filter (where status = 'succeeded') as last_load,
            string_agg(entity, ', ' order by entity) filter (where status <> 'succeeded') as failed
        from (
            select distinct on (entity) entity, status, finished_at from {load_log}
            where company_id = company.company_id order by entity, load_id desc
        ) as newest
    ) as loads on true
    left join lateral (
        select as_of_date, scores from {publications}
        where company_id = company.company_id order by as_of_date desc limit 1
    ) as published on true
    left join lateral (
        select as_of_date from {publication_gates}
        where company_id = company.company_id and task = {task} and not is_passed
            and as_of_date > coalesce(published.as_of_date, '-infinity')
        order by publication_gate_id desc limit 1
    ) as held on true
    where company.is_active order by company.slug
"""


def _rows(
    conn: psycopg.Connection[Any], contract: Contract, query: LiteralString, parameters: Sequence[object] = ()
) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(contract.compose(query), parameters).fetchall()


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    for column in columns:
        name, _, right = column.partition(">")
        table.add_column(name, justify="right" if right or column.endswith(">") else "left", overflow="fold")
    return table


def _print_loads(conn: psycopg.Connection[Any], console: Console, run_id: str) -> None:
    loads = _rows(
        conn,
        TASKS[0].relations.contract,
        """
        select company.slug, load.entity, load.received, load.loaded, load.rejected, load.source_live,
            load.warehouse_live, load.late, load.vanished, load.status, load.error, load.remarks
        from {load_log} as load inner join {companies} as company using (company_id)
        where load.dagster_run_id = %s order by company.slug, load.load_id
        """,
        [run_id],
    )
    if not loads:
        return
    table = _table(
        "Rows pulled",
        "company",
        "table",
        "received>",
        "new>",
        "rejected>",
        "in CRM>",
        "in warehouse>",
        "",
    )
    for load in loads:
        table.add_row(
            load["slug"],
            load["entity"],
            *(_count(load[name]) for name in ("received", "loaded", "rejected", "source_live", "warehouse_live")),
            _repairs(load) if load["status"] == "succeeded" else f"[red]{load['status']}: {load['error'] or ''}[/red]",
        )
    console.print(table)
    for load in loads:
        if load["remarks"]:
            console.print(f"[yellow]{escape(load['slug'])}, {load['entity']}: {escape(load['remarks'])}[/yellow]")
    console.print()


def _repairs(load: dict[str, Any]) -> str:
    """What comparing ids with the source brought."""
    told = [(load["late"], "came late"), (load["vanished"], "no longer listed: marked deleted")]
    return "; ".join(f"{number:,} {outcome}" for number, outcome in told if number)


def _print_quality(conn: psycopg.Connection[Any], console: Console, binding: TaskBinding) -> None:
    runs = _rows(
        conn,
        binding.relations.contract,
        """
        select distinct on (company.slug) company.slug, publication.model_version, publication.evidence_level,
            run.training_run_id, run.outcomes,
            case run.status when 'kept_champion' then 'champion' else run.decision ->> 'chosen' end as candidate
        from {companies} as company
        inner join {publications} as publication using (company_id)
        left join {training_runs} as run
            on run.company_id = company.company_id and run.task = {task}
            and format('%%s v%%s', run.model_name, run.model_version) = publication.model_version
        where company.is_active
        order by company.slug, publication.as_of_date desc, run.training_run_id desc
        """,
    )
    table = _table(
        f"{binding.wording.title}: model quality on the last mature dates, which no fit has seen",
        "company",
        "evidence",
        "AUC>",
        "logistic>",
        "column>",
        "lift>",
        "cal. error>",
        f"{binding.wording.outcomes}>",
    )
    for run in runs:
        metrics = _metrics(conn, binding.relations.contract, run["training_run_id"])
        chosen = metrics.get(run["candidate"], {})
        table.add_row(
            run["slug"],
            run["evidence_level"].replace("_", " "),
            _figure(chosen.get("auc")),
            _figure(metrics.get("logistic", {}).get("auc")),
            _figure(metrics.get("rule", {}).get("auc")),
            _figure(chosen.get("lift_top_decile"), 1),
            _over_dates(chosen),
            _count(run["outcomes"]),
        )
    console.print(table)
    _print_grounds(conn, console, binding)
    console.print(
        "[dim]AUC of the published model, of the logistic baseline and of the best single column; lift of the tenth at "
        f"highest risk;\ncalibration error, the mean of several dates; {binding.wording.outcomes} in the labelled "
        "history.[/dim]\n"
    )


def _print_grounds(conn: psycopg.Connection[Any], console: Console, binding: TaskBinding) -> None:
    """What each company's model rests on, as the training says that found it fit to publish."""
    for row in _rows(
        conn,
        binding.relations.contract,
        """
        select distinct on (company.slug) company.slug, run.decision ->> 'grounds' as grounds
        from {companies} as company inner join {training_runs} as run using (company_id)
        where company.is_active and run.task = {task} and run.status not in ('kept_champion', 'failed')
        order by company.slug, run.training_run_id desc
        """,
    ):
        grounds = row["grounds"] or "its model was trained by a release that did not keep what scores rest on."
        console.print(f"[dim]{row['slug']}: {escape(grounds)}[/dim]")


def _over_dates(figures: dict[str, float]) -> str:
    """The calibration error over dates; one date cannot tell."""
    return "one date" if figures.get("judged_dates") == 1 else _figure(figures.get("calibration_error_by_date"))


def _print_track_record(
    conn: psycopg.Connection[Any], console: Console, binding: TaskBinding, companies: Sequence[Company]
) -> None:
    """A sentence for each company of which a replayed month is graded."""
    from pipeline.prediction.track_record.grading import describe_record
    from warehouse.prediction.track_record import read_record_grades

    for company in companies:
        grades = read_record_grades(conn, company.company_id, binding.name)
        if binding.name in company.tasks and grades:
            console.print(
                escape(f"{company.slug}: {describe_record(grades[0], binding, binding.horizon_days(company))}")
            )
    console.print()


def _metrics(
    conn: psycopg.Connection[Any], contract: Contract, training_run_id: int | None
) -> dict[str, dict[str, float]]:
    metrics: dict[str, dict[str, float]] = {}
    for row in _rows(
        conn,
        contract,
        "select candidate, metric, value from {evaluations} where training_run_id = %s",
        [training_run_id],
    ):
        metrics.setdefault(row["candidate"], {})[row["metric"]] = row["value"]
    return metrics


def _print_risk(conn: psycopg.Connection[Any], console: Console, binding: TaskBinding) -> None:
    table = _table(
        f"{binding.wording.title}: {binding.task.entity}s by risk",
        "company",
        "scores for",
        f"{binding.task.entity}s>",
        "high>",
        "medium>",
        "low>",
        "average risk>",
        "",
    )
    for row in _rows(
        conn,
        binding.relations.contract,
        """
        select company.slug, current.as_of_date, count(*) as entities,
            count(*) filter (where risk_level = 'high') as high,
            count(*) filter (where risk_level = 'medium') as medium,
            count(*) filter (where risk_level = 'low') as low,
            avg({probability}) as average,
            (
                select gate.as_of_date from {publication_gates} as gate
                where gate.company_id = company.company_id and gate.task = {task} and not gate.is_passed
                    and gate.as_of_date > current.as_of_date
                order by gate.publication_gate_id desc limit 1
            ) as held
        from {current} as current inner join {companies} as company using (company_id)
        group by company.slug, company.company_id, current.as_of_date order by company.slug
        """,
    ):
        table.add_row(
            row["slug"],
            str(row["as_of_date"]),
            *(_count(row[name]) for name in ("entities", "high", "medium", "low")),
            f"{row['average']:.1%}",
            f"[yellow]scores for {row['held']} are held back[/yellow]" if row["held"] else "",
        )
    console.print(table, "")


def _print_most_at_risk(conn: psycopg.Connection[Any], console: Console, binding: TaskBinding) -> None:
    console.print(f"[bold]{binding.wording.title}: the five most at risk[/bold]")
    for row in _rows(
        conn,
        binding.relations.contract,
        """
        select company.slug, current.{entity_id} as entity_id, current.{probability} as probability,
            current.risk_level, current.reasons
        from {current} as current inner join {companies} as company using (company_id)
        order by probability desc, company.slug, entity_id limit 5
        """,
    ):
        colour = binding.wording.colours[row["risk_level"]]
        console.print(
            f"[{colour}]{row['probability']:4.0%}[/{colour}]  {escape(row['slug'])} {escape(row['entity_id'])}"
        )
        for sentence in _raising(row["reasons"], binding.task.outcome_noun)[:3]:
            console.print(f"      {escape(sentence)}")
    console.print()


def _raising(published: Sequence[dict[str, Any]], outcome: str) -> list[str]:
    """Sentences on the reasons that raise the risk, the strongest first."""
    reasons = map(Reason.from_published, published)
    return [reason.sentence(outcome) for reason in reasons if reason.direction == "raises" and reason.feature != OTHER]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
