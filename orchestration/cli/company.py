"""``churn company``: the registry of companies."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from foundation.counting import counted
from orchestration.cli.options import Yes
from orchestration.cli.terminal import CommandFailed, console, open_company, open_warehouse, read_settings

if TYPE_CHECKING:
    from warehouse.companies.definition import CompanyDefinition
    from warehouse.companies.plan import FieldChange, Plan
    from warehouse.connection import Warehouse
    from warehouse.settings import Settings

company_app = typer.Typer(no_args_is_help=True, help="The registry of companies.")

ReadOnlyRole = Literal["churn_company", "churn_company_sync"]
_ACTIONS = {
    "add": ("[green]+[/green]", "is added"),
    "change": ("[yellow]~[/yellow]", "changes"),
    "enable": ("[green]↑[/green]", "is enabled"),
    "disable": ("[red]↓[/red]", "is disabled"),
    "unchanged": ("[dim]=[/dim]", "stays as it is"),
}


@company_app.command("add")
def company_add(
    file: Annotated[Path, typer.Argument(help="YAML with one company, or a list under `companies`.")],
) -> None:
    """Register the companies of a YAML file, or bring registered ones in line with it; they are active then."""
    from orchestration.cli.company_file import read_companies
    from warehouse.companies import registry

    wanted = read_companies(file)
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        for each in wanted:
            is_active = each.is_active is not False
            company = registry.add_company(conn, each.definition, actor=getpass.getuser(), is_active=is_active)
            console.print(f"{company.slug} is registered as company {company.company_id}.")


@company_app.command("apply")
def company_apply(
    file: Annotated[Path, typer.Argument(help="YAML with all companies, as a list under `companies`.")],
    yes: Yes = False,
) -> None:
    """Show what a file of companies would change, ask, and change it: all of them or none.

    A company that the file does not name stays as it is; `is_active: false` disables one.
    """
    from orchestration.cli.company_file import read_companies
    from warehouse.companies import plan as company_plan

    wanted = read_companies(file)
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        plan = company_plan.plan(conn, wanted)
        conn.rollback()  # Nothing is locked while a person reads.
        _print_plan(plan)
        if plan.is_empty:
            console.print("Nothing to change.")
            return
        if not yes and not typer.confirm("Apply?"):
            raise CommandFailed("Nothing was changed.")
        company_plan.apply(conn, wanted, plan, actor=getpass.getuser())
    console.print("Applied.")


@company_app.command("change")
def company_change(
    slug: str,
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE...",
            help="As in YAML: tasks.churn.horizon_days=60, entities='[customers, payments]', "
            "connector_settings.page_size=500.",
        ),
    ],
) -> None:
    """Change single fields of a company; the rest stays."""
    from orchestration.cli.company_file import print_caution, print_moved_fields, read_assignment
    from pipeline.companies import parse_definition
    from warehouse.companies import plan as company_plan
    from warehouse.companies import registry

    changes = dict(read_assignment(setting) for setting in settings)
    with open_company(slug) as (_, warehouse, before), warehouse.connect() as conn:
        definition = registry.changed_definition(before, changes, parse_definition)
        changed = company_plan.field_changes(before, definition, is_active=None)
        registry.change_company(conn, slug, changes, getpass.getuser(), parse_definition)
    print_moved_fields(slug, changes)
    print_caution(definition)
    if not changed:
        console.print(f"{slug} is so already.")
    for change in changed:
        console.print(_changed_line(change))


@company_app.command("list")
def company_list() -> None:
    """Every registered company, active or not."""
    from orchestration.cli.summary import print_companies
    from warehouse.companies import registry
    from warehouse.companies.quarantine import open_quarantines

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        print_companies(registry.list_companies(conn, active_only=False), open_quarantines(conn), console)


@company_app.command("show")
def company_show(slug: str) -> None:
    """A company's definition as YAML; encrypted secrets are shown as fingerprints."""
    import yaml

    from warehouse.redaction import masked

    with open_company(slug) as (_, _warehouse, company):
        described = masked(company.model_dump(mode="json", exclude_none=True))
    described.pop("company_id")
    console.print(f"# company {company.company_id}")
    console.print(escape(yaml.safe_dump(described, sort_keys=False, allow_unicode=True)), end="")


@company_app.command("disable")
def company_disable(slug: str) -> None:
    """Stop reading and scoring a company; its history stays."""
    from warehouse.companies import registry

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        registry.disable_company(conn, slug, actor=getpass.getuser())
    console.print(f"{slug} is disabled: its history stays, and its CRM is no longer read.")


@company_app.command("enable")
def company_enable(slug: str) -> None:
    """Read and score a disabled company again, from where it stopped."""
    from warehouse.companies import registry

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        registry.enable_company(conn, slug, actor=getpass.getuser())
    console.print(f"{slug} is enabled: the next sync goes on from where the last one stopped.")


@company_app.command("release")
def company_release(slug: str) -> None:
    """Let the next run try a company again that is left out since a step for all companies failed on it."""
    from warehouse.companies import quarantine

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        is_ended = quarantine.end_quarantine(conn, slug, actor=getpass.getuser())
    console.print(f"{slug} is in the next run again." if is_ended else f"{slug} is not left out.")


@company_app.command("remove")
def company_remove(slug: str, yes: Yes = False) -> None:
    """Erase a company for good: its rows in every schema, its models, its logins. The audit log stays.

    `disable` is what stops a company and can be taken back; this cannot.
    """
    from pipeline.prediction.registry import ModelRegistry
    from pipeline.prediction.tasks import TASKS
    from warehouse.companies import registry
    from warehouse.developers import drop_built_of_companies, dropped_text
    from warehouse.privacy import company_removal

    with open_company(slug) as (settings, warehouse, company):
        with warehouse.connect() as conn:
            rows = company_removal.company_rows(conn, company.company_id)
        _print_rows(f"{escape(company.name)} ({slug}) has", rows)
        if not yes and typer.prompt(f"Type {slug} to erase all of it, for good") != slug:
            raise CommandFailed("Nothing was removed.")
        with warehouse.connect() as conn:
            registry.disable_company(conn, slug, actor=getpass.getuser())
        # First of all, for their store may be away: the company is still there then, to be removed again.
        model_registry = ModelRegistry(warehouse, settings.home)
        names = [f"{binding.name}-{slug}" for binding in TASKS]
        models = sum(map(model_registry.forget, names))
        with warehouse.connect() as conn:
            company_removal.remove_company(conn, slug, actor=getpass.getuser())
        # What a run that was under way wrote while we waited.
        models += sum(map(model_registry.forget, names))
        with warehouse.connect() as conn:
            company_removal.erase_rows(conn, company.company_id)
        dropped = drop_built_of_companies(warehouse)
    console.print(
        f"{slug} is removed, with {counted(sum(rows.values()), 'row')}, {counted(models, 'trained model')} and "
        "its logins."
    )
    if dropped:
        console.print(escape(dropped_text(dropped)))
    if company.shares_training:
        console.print("A pooled model may have learned from it: `churn train` trains pools again without it.")


@company_app.command("check")
def company_check(
    company: Annotated[str, typer.Argument(metavar="FILE|SLUG", help="YAML with one company, or a registered slug.")],
    records: Annotated[
        int, typer.Option(min=1, help="Read at most about this many records per table from an API or a database.")
    ] = 10_000,
) -> None:
    """Try a company's source, registered or not, and tell what would come of it. Writes nothing."""
    from orchestration.cli.company_report import print_check
    from pipeline.loading.check import check_company, pool_of
    from warehouse.clock import Clock

    settings = read_settings()
    failed = []
    with _warehouse_if_there(settings) as warehouse:
        for definition in _definitions(company, warehouse):
            pool = pool_of(warehouse, definition) if warehouse else None
            check = check_company(definition, settings, Clock.from_settings(settings), pool=pool, records=records)
            print_check(check, console)
            failed += [f"{check.company.slug} is not ready: {failure}" for failure in check.failures]
    if failed:
        again = f"Nothing was written; `churn company check {company}` tries again."
        raise CommandFailed("\n".join([*failed, again]))
    console.print("[dim]Nothing was written.[/dim]")


@company_app.command("accept")
def company_accept(
    slug: str,
    entity: Annotated[str, typer.Argument(help="customers, tickets, payments, events, campaigns or sends.")],
    columns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COLUMN...]", help="Columns that may be missing, as the source calls them."),
    ] = None,
    deletions: Annotated[
        bool, typer.Option("--deletions", help="What the next sync misses was deleted, however much it is.")
    ] = False,
) -> None:
    """Say that what a sync refused is right: a column is gone for good, or many records were deleted at once."""
    from warehouse.landing import expectations

    if bool(columns) == deletions:
        raise CommandFailed("Name the columns that may be missing, or give --deletions.")
    with open_company(slug) as (_, warehouse, company), warehouse.connect() as conn:
        if entity not in company.entities:
            raise CommandFailed(f"{slug} has no {entity}; it has {', '.join(company.entities)}.")
        if columns:
            expectations.accept_missing(conn, company.company_id, entity, columns)
            told = f"{', '.join(columns)} may be missing from {entity}"
        else:
            expectations.accept_deletions(conn, company.company_id, entity)
            told = f"the {entity} that the next sync misses were deleted"
    console.print(f"{slug}: {told}. `churn sync --company {slug}` goes on.")


@company_app.command("password")
def company_password(
    slug: str,
    role: Annotated[
        ReadOnlyRole,
        typer.Option("--for", help="churn_company reads the marts (BI), churn_company_sync the predictions."),
    ] = "churn_company",
) -> None:
    """Make a new password for a company's read-only login; it is shown once and kept nowhere."""
    from warehouse.companies import registry
    from warehouse.roles import Role

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        login, password = registry.issue_company_password(conn, slug, Role(role), actor=getpass.getuser())
        console.print(f"Login {login} at {warehouse.place}, password {escape(password)} (shown once).")


def _definitions(company: str, warehouse: Warehouse | None) -> list[CompanyDefinition]:
    """Those of a file, or that of a registered company."""
    from orchestration.cli.company_file import read_companies
    from warehouse.companies import plan as company_plan
    from warehouse.companies import registry
    from warehouse.errors import CompanyNotFound

    path = Path(company)
    if path.suffix in {".yml", ".yaml"} or path.exists():
        wanted = read_companies(path)
        if warehouse is not None:
            with warehouse.connect() as conn:
                company_plan.plan(conn, wanted)  # Trying a source sends its key there: refused what apply would refuse.
        return [company.definition for company in wanted]
    if warehouse is None:
        raise CompanyNotFound(f"There is no file {company}, and no warehouse yet that could know the slug.")
    with warehouse.connect() as conn:
        return [registry.get_company(conn, company)]


@contextmanager
def _warehouse_if_there(settings: Settings) -> Iterator[Warehouse | None]:
    """The warehouse as it stands, without creating or migrating it; None where there is none."""
    from warehouse.connection import Warehouse
    from warehouse.embedded.server import EmbeddedServer

    if settings.database_url is None and EmbeddedServer(settings.home).status().state == "not created":
        yield None
        return
    with Warehouse.open(settings) as warehouse:
        yield warehouse if warehouse.is_migrated() else None


def _print_plan(plan: Plan) -> None:
    for change in plan.changes:
        sign, effect = _ACTIONS[change.action]
        console.print(f"{sign} {change.slug} {effect}")
        for field in change.fields:
            console.print(_changed_line(field))
    if plan.absent:
        console.print(f"[dim]Not in the file, and left as they are: {', '.join(plan.absent)}[/dim]")


def _changed_line(change: FieldChange) -> str:
    after = escape(_field_text(change.after))
    if change.before is None:
        return f"    {escape(change.field)}: {after}"
    return f"    {escape(change.field)}: {escape(_field_text(change.before))} → {after}"


def _field_text(value: object) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _print_rows(title: str, rows: Mapping[str, int]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
