"""``churn company`` and ``churn secret``: the registry of companies, and the secrets that their rows refer to."""

import getpass
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from rich.markup import escape
from rich.table import Table

from orchestration.cli.terminal import CommandFailed, console, open_warehouse
from pipeline.companies import parse_definition
from warehouse.companies import plan as company_plan
from warehouse.companies import registry
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.errors import CompanyDefinitionError, CompanyNotFound
from warehouse.redaction import masked
from warehouse.roles import Role
from warehouse.secrets import encrypt_secret
from warehouse.settings import Settings, load_settings

company_app = typer.Typer(no_args_is_help=True, help="The registry of companies.")
secret_app = typer.Typer(no_args_is_help=True, help="Secrets that stand encrypted in a company's definition.")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
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
    wanted = read_companies(file)
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        for one in wanted:
            is_active = one.is_active is not False
            company = registry.add_company(conn, one.definition, actor=getpass.getuser(), is_active=is_active)
            console.print(f"{company.slug} is registered as company {company.company_id}.")


@company_app.command("apply")
def company_apply(
    file: Annotated[Path, typer.Argument(help="YAML with all companies, as a list under `companies`.")],
    yes: Yes = False,
) -> None:
    """Show what a file of companies would change, ask, and change it: all of them or none.

    A company that the file does not name stays as it is; `is_active: false` disables one.
    """
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
            help="As in YAML: horizon_days=60, entities='[customers, payments]', connector_settings.page_size=500.",
        ),
    ],
) -> None:
    """Change single fields of a company; the rest stays."""
    changes = dict(_assignment(setting) for setting in settings)
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        before = registry.get_company(conn, slug)
        definition = registry.changed_definition(before, changes, parse_definition)
        changed = company_plan.field_changes(before, definition, is_active=None)
        registry.change_company(conn, slug, changes, getpass.getuser(), parse_definition)
    if not changed:
        console.print(f"{slug} is so already.")
    for change in changed:
        console.print(_changed_line(change))


@company_app.command("list")
def company_list() -> None:
    """Every registered company, active or not."""
    from orchestration.cli.summary import print_companies

    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        print_companies(registry.list_companies(conn, active_only=False), console)


@company_app.command("show")
def company_show(slug: str) -> None:
    """A company's definition as YAML; encrypted secrets are shown as fingerprints."""
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        company = registry.get_company(conn, slug)
    described = masked(company.model_dump(mode="json", exclude_none=True))
    described.pop("company_id")
    console.print(f"# company {company.company_id}")
    console.print(escape(yaml.safe_dump(described, sort_keys=False, allow_unicode=True)), end="")


@company_app.command("disable")
def company_disable(slug: str) -> None:
    """Stop reading and scoring a company; its history stays."""
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        registry.disable_company(conn, slug, actor=getpass.getuser())
    console.print(f"{slug} is disabled: its history stays, and its CRM is no longer read.")


@company_app.command("enable")
def company_enable(slug: str) -> None:
    """Read and score a disabled company again, from where it stopped."""
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        registry.enable_company(conn, slug, actor=getpass.getuser())
    console.print(f"{slug} is enabled: the next sync goes on from where the last one stopped.")


@company_app.command("remove")
def company_remove(slug: str, yes: Yes = False) -> None:
    """Erase a company for good: its rows in every schema, its models, its logins. The audit log stays.

    `disable` is what stops a company and can be taken back; this cannot.
    """
    from pipeline.prediction.registry import ModelRegistry
    from warehouse.privacy import company_removal

    with open_warehouse() as (settings, warehouse):
        with warehouse.connect() as conn:
            company = registry.get_company(conn, slug)
            rows = company_removal.company_rows(conn, company.company_id)
        _print_rows(f"{company.name} ({slug}) has", rows)
        if not yes and typer.prompt(f"Type {slug} to erase all of it, for good") != slug:
            raise CommandFailed("Nothing was removed.")
        with warehouse.connect() as conn:
            registry.disable_company(conn, slug, actor=getpass.getuser())
        with warehouse.connect() as conn:
            company_removal.remove_company(conn, slug, actor=getpass.getuser())
        models = ModelRegistry(warehouse, settings.home).forget(f"churn-{slug}")
        with warehouse.connect() as conn:  # What a run that was under way wrote while we waited.
            company_removal.erase_rows(conn, company.company_id)
    console.print(f"{slug} is removed, with {sum(rows.values()):,} rows, {models} trained models and its logins.")
    if company.shares_training:
        console.print("A pooled model may have learned from it: `churn train` trains pools anew without it.")


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

    settings = load_settings()
    path = Path(company)
    is_file = path.suffix in {".yml", ".yaml"} or path.exists()
    with _warehouse_if_there(settings) as warehouse:
        if is_file:
            definitions = [one.definition for one in read_companies(path)]
        elif warehouse is None:
            raise CompanyNotFound(f"There is no file {company}, and no warehouse yet that could know the slug.")
        else:
            with warehouse.connect() as conn:
                definitions = [registry.get_company(conn, company)]
        failed = []
        for definition in definitions:
            pool = pool_of(warehouse, definition) if warehouse else None
            check = check_company(definition, settings, Clock.from_settings(settings), pool=pool, records=records)
            print_check(check, console)
            if check.failures:
                failed.append(check.company.slug)
    if failed:
        raise CommandFailed(f"Not ready: {', '.join(failed)}. Nothing was written.")
    console.print("[dim]Nothing was written.[/dim]")


@company_app.command("password")
def company_password(
    slug: str,
    role: Annotated[
        Role, typer.Option("--for", help="churn_company reads the marts (BI), churn_company_sync the predictions.")
    ] = Role.company,
) -> None:
    """Make a new password for a company's read-only login; it is shown once and kept nowhere."""
    with open_warehouse() as (_, warehouse), warehouse.connect() as conn:
        login, password = registry.issue_company_password(conn, slug, role, actor=getpass.getuser())
        console.print(f"Login {login} at {warehouse.place}, password {escape(password)} (shown once).")


@secret_app.command("encrypt")
def secret_encrypt() -> None:
    """Print the reference that stands for a secret, to put into a company's definition. Needs CHURN_SECRET_KEY.

    The secret is asked for without showing it, or read from standard input: never from the command line, which
    other users can see and the shell remembers.
    """
    settings = load_settings()
    given = getpass.getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.read()
    secret = given.strip()
    if not secret:
        raise CommandFailed("No secret was given: type it, or pipe it in.")
    print(encrypt_secret(secret, settings))  # noqa: T201  (a long line that must not be wrapped or styled)


@secret_app.command("rotate")
def secret_rotate() -> None:
    """Encrypt every company's secrets with CHURN_SECRET_KEY; CHURN_SECRET_KEY_PREVIOUS opens those of before."""
    from warehouse.companies.key_rotation import rotate_secrets

    with open_warehouse() as (settings, warehouse), warehouse.connect() as conn:
        rotated = rotate_secrets(conn, settings, actor=getpass.getuser())
    for slug, fields in rotated.items():
        console.print(f"{slug}: {', '.join(fields)}")
    count = sum(map(len, rotated.values()))
    console.print(f"{count} secrets encrypted anew." if count else "Every secret is under today's key already.")
    if settings.secret_key_previous is not None:
        console.print("CHURN_SECRET_KEY_PREVIOUS is no longer needed here.")


def read_companies(file: Path) -> list[company_plan.WantedCompany]:
    """The companies of a YAML file. Raises CommandFailed or CompanyDefinitionError, which say what is wrong where."""
    try:
        content = yaml.load(file.read_text(), _StrictLoader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise CommandFailed(f"Cannot read {file}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{file} is no YAML: {error}") from None
    try:
        return company_plan.parse_companies(content, parse_definition)
    except CompanyDefinitionError as error:
        raise CompanyDefinitionError(f"{file} cannot be used.\n{error}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a field that stands twice is an error: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} stands there twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _assignment(setting: str) -> tuple[str, Any]:
    field, sign, value = setting.partition("=")
    if not sign or not field:
        raise CommandFailed(f"{setting} is no FIELD=VALUE.")
    try:
        return field, yaml.safe_load(value)
    except yaml.YAMLError:
        raise CommandFailed(f"The value of {field} is no YAML; quote it.") from None


@contextmanager
def _warehouse_if_there(settings: Settings) -> Iterator[Warehouse | None]:
    """The warehouse as it stands, without creating or migrating it; None where there is none."""
    if settings.database_url is None and EmbeddedServer(settings.home).status().state == "not created":
        yield None
        return
    with Warehouse.open(settings) as warehouse:
        yield warehouse


def _print_plan(plan: company_plan.Plan) -> None:
    for change in plan.changes:
        sign, words = _ACTIONS[change.action]
        console.print(f"{sign} {change.slug} {words}")
        for field in change.fields:
            console.print(_changed_line(field))
    if plan.absent:
        console.print(f"[dim]Not in the file, and left as they are: {', '.join(plan.absent)}[/dim]")


def _changed_line(change: company_plan.FieldChange) -> str:
    after = escape(_shown(change.after))
    if change.before is None:
        return f"    {escape(change.field)}: {after}"
    return f"    {escape(change.field)}: {escape(_shown(change.before))} → {after}"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _print_rows(title: str, rows: Mapping[str, int]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.add_column("table")
    table.add_column("rows", justify="right")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
