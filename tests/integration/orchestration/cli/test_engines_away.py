"""Every command, with each engine away that it uses: one message that names what is away and what helps, and exit 1."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from orchestration.cli import main
from orchestration.cli.lazy import LazyCommand
from pipeline.companies import parse_definition
from pipeline.features import dbt
from pipeline.integrations.metabase import client as metabase_client
from pipeline.prediction.registry import ModelRegistry
from tests.integration.dbt_project.dbt_runs import PROJECT, DbtRuns
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.embedded import binaries
from warehouse.prediction.model_log import Promotion, TrainingRecord, record_promotion, record_training
from warehouse.settings import Settings

pytestmark = pytest.mark.xdist_group("engines_away")

ROOT = Path(__file__).parents[4]
NOWHERE = "127.0.0.1:1"
TODAY = datetime.now(UTC).date()


@dataclass(frozen=True)
class Engine:
    """What a command may find away: how a message names it, and the command that helps."""

    named: str
    helps: str


ENGINES = {
    "warehouse": Engine(f"the warehouse at {NOWHERE}", "`churn up`"),
    "home": Engine("Cannot create the home folder", "CHURN_HOME"),
    "psql": Engine("psql is not installed", "Install Postgres's client"),
    "dbt": Engine("dbt cannot be run", "`churn migrate`"),
    "MLflow": Engine("acme: the model registry (MLflow", "`churn status`"),
    "source": Engine(f"source database postgresql+psycopg://reader:***@{NOWHERE}/crm", "`churn company check acme`"),
    "Metabase": Engine("No answer from Metabase at http://127.0.0.1:1", "`churn dashboards plan`"),
    "mail": Engine("Not everybody could be told", "`churn notify test"),
    "demo CRM": Engine("The demo CRM ended at once", "`churn demo run`"),
    "demo world": Engine("There is no demo world", "`churn demo run`"),
    "this release": Engine("A newer release has migrated the warehouse at", "Install that release or a later one"),
    "key": Engine("CHURN_SECRET_KEY, which is not set", "set it and run again"),
}

ACME = ("--company", "acme")
IN_JOBS = {"warehouse": (), "dbt": (), "demo CRM": ()}
"""Of every command that runs a job; with the source away: see the end; with MLflow away: see the demo's line."""

CASES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "up": {"warehouse": (), "home": ()},
    "down": {"home": ()},
    "status": {"warehouse": ()},
    "migrate": {"warehouse": (), "dbt": ()},
    "backup": {"warehouse": ("churn.backup",)},
    "restore": {"warehouse": ("FILE",)},
    "sync": IN_JOBS,
    "train": IN_JOBS,
    "score": {**IN_JOBS, "MLflow": (*ACME, "--customer", "c1")},
    "run": IN_JOBS,
    "backfill": dict.fromkeys(IN_JOBS, ("2026-01-01",)),
    "metrics": {"warehouse": ()},
    "doctor": {},  # What is away is what it tells: test_doctor.py.
    "serve api": {"warehouse": ()},
    "key create": {"warehouse": ACME},
    "key list": {"warehouse": ()},
    "key revoke": {"warehouse": ("churn_0123456789ab",)},
    "psql": {"warehouse": (), "psql": ()},
    "ui": IN_JOBS,
    "company add": {"warehouse": ("FILE",)},
    "company apply": {"warehouse": ("FILE", "--yes")},
    "company change": {"warehouse": ("acme", "tasks.churn.horizon_days=60")},
    "company list": {"warehouse": ()},
    "company show": {"warehouse": ("acme",)},
    "company disable": {"warehouse": ("acme",)},
    "company release": {"warehouse": ("acme",)},
    "company accept": {"warehouse": ("acme", "customers", "fax")},
    "company enable": {"warehouse": ("acme",)},
    "company remove": {"warehouse": ("acme", "--yes"), "MLflow": ("acme", "--yes")},
    "company check": {"warehouse": ("acme",), "source": ("acme",)},
    "company password": {"warehouse": ("acme",)},
    "secret encrypt": {"key": ()},
    "secret rotate": {"warehouse": (), "key": ()},
    "decide plan": {"warehouse": ACME},
    "decide publish": {"warehouse": ACME},
    "decide show": {"warehouse": ACME},
    "dashboards plan": {"warehouse": (), "Metabase": ()},
    "dashboards apply": {"warehouse": (), "Metabase": ()},
    "dashboards verify": {"warehouse": (), "Metabase": ()},
    "dashboards key": {"Metabase": ()},
    "dashboards exposures": {},  # It reads and writes files of the project only.
    "demo run": {"warehouse": ("--customers", "300"), "demo CRM": (), "dbt": ("--customers", "300")},
    "demo advance": {"warehouse": (), "demo world": ()},
    "demo serve": {"demo CRM": (), "demo world": ()},
    "model list": {"warehouse": ACME},
    "model show": {"warehouse": ACME, "MLflow": ACME},
    "model promote": dict.fromkeys(("warehouse", "MLflow"), (*ACME, "--version", "2")),
    "model rollback": {"warehouse": ACME, "MLflow": ACME},
    "model card": {"warehouse": ACME, "MLflow": ACME},
    "model repeat": {"warehouse": ACME, "MLflow": ACME},
    "publication estimate": {"warehouse": ACME},
    "publication compact": {"warehouse": ()},
    "export": {"warehouse": ACME},
    "report": {"warehouse": ACME},
    "features": {"warehouse": (), "dbt": (), "MLflow": ACME},
    "features prove": {"warehouse": (), "dbt": ()},
    "record": {"warehouse": ()},
    "try": {},  # It opens nothing but the file.
    "init": {},  # It writes files, and opens nothing.
    "dev start": {"warehouse": ("--name", "anna")},
    "dev build": {"warehouse": ("--name", "anna")},
    "dev test": {"warehouse": ("--name", "anna")},
    "dev diff": {"warehouse": ("--name", "anna")},
    "dev check": {"warehouse": ("--name", "anna")},
    "dev train": {"warehouse": ("--name", "anna")},
    "dev report": {"warehouse": ("--name", "anna")},
    "dev revert": {"warehouse": ("--all", "--name", "anna")},
    "dev list": {"warehouse": ()},
    "dev drop": {"warehouse": ("anna", "--yes")},
    "notify test": {"warehouse": ("acme",), "mail": ("acme",)},
    "notify send": {"warehouse": (), "mail": ()},
    "notify list": {"warehouse": ()},
    "impact": {"warehouse": ("churn_current",), "dbt": ("churn_current",)},
    "forget": {"warehouse": (*ACME, "--customer", "c1", "--yes")},
    "canaries check": {"warehouse": ()},
    "serve collector": {"warehouse": ()},
    "write-key create": {"warehouse": (*ACME, "--source", "web")},
    "write-key list": {"warehouse": ()},
    "write-key revoke": {"warehouse": ("cwk_0",)},
    "grade": {"warehouse": ()},
    "drift": {"warehouse": (), "MLflow": ()},
    "replay": {"warehouse": ACME, "dbt": ACME},
    "holds": {"warehouse": ()},
    "holds accept": {"warehouse": (*ACME, "--date", "2026-01-01", "--because", "a sale")},
}


AWAY = [(command, engine) for command, engines in CASES.items() for engine in engines]
AWAY += [(command, "this release") for command, engines in CASES.items() if "warehouse" in engines]
"""What opens the warehouse changes nothing in one that a later release has migrated."""


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command by what is typed, those that a group is by itself too."""
    if path and group.invoke_without_command:
        yield " ".join(path)
    for name, command in group.commands.items():
        loaded = command.place.load(name) if isinstance(command, LazyCommand) else command
        if isinstance(loaded, TyperGroup):
            yield from commands(loaded, (*path, name))
        else:
            yield " ".join((*path, name))


def test_every_command_has_a_case() -> None:
    assert set(commands(typer.main.get_group(main.app))) == set(CASES)


@dataclass
class Home:
    """A command line on a warehouse with one company: trained, scored, notified by mail, its CRM at a dead address."""

    path: Path
    manifest: Path
    warehouse: Warehouse
    environment: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        add_parsed_project(self.path, self.manifest)
        self.environment = {
            "CHURN_HOME": str(self.path),
            "CHURN_DATABASE_URL": self.warehouse.url("postgresql"),
            "CHURN_SOURCE_ACME__DATABASE": f"postgresql+psycopg://reader:hidden-word@{NOWHERE}/crm",
            "CHURN_MAIL_URL": f"mailto://{NOWHERE}?from=churn@example.com",
            "CHURN_OPERATOR_ADDRESSES": "boss@example.com",
        }
        with self.warehouse.connect() as conn:
            company = add_company(conn, parse_definition(DEFINITION), "tests")
            run = record_training(conn, training(company.company_id))
            replaced = ("replaced", "churn-acme", "2", "1", "better", {}, "training", run)
            record_promotion(conn, Promotion(company.company_id, "churn", *replaced))
            for statement in SCORED:
                conn.execute(statement, {"company": company.company_id, "today": TODAY})


DEFINITION: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "sql_database",
    "connector_settings": {"url": "env:CHURN_SOURCE_ACME__DATABASE", "tables": {"customers": {"table": "customers"}}},
    "entities": ["customers"],
    "tasks": {"churn": {"kind": "cancellation"}},
    "currency": "EUR",
    "notification_addresses": ["boss@example.com"],
}
DEMO = DEFINITION | {"slug": "demo", "connector": "habari_api", "connector_settings": {"base_url": f"http://{NOWHERE}"}}
SCORED = (
    # What MLflow's own tables say, without MLflow, whose first start makes them in several seconds.
    "create table mlflow.registered_model_aliases (name text, alias text, version int)",
    "insert into mlflow.registered_model_aliases values ('churn-acme', 'champion', 1)",
    "create table mlflow.runs (name text, run_uuid text)",
    "insert into mlflow.runs values ('churn-acme', 'a-run')",
    # What dbt makes.
    "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
    " feature_version text, tenure_days int, custom_attributes jsonb)",
    "insert into features.churn_feature_matrix values (%(company)s, 'c1', %(today)s, 'v', 12, '{}')",
    "create table features.feature_catalogue (company_id int, feature text, label text, family text, model_name text,"
    " share_missing float, share_missing_on_newest_date float, first_date_available date, is_proven boolean,"
    " proof_rows_compared bigint, proof_rows_differing bigint, proof_date date)",
    "grant select on all tables in schema features to churn_ml",
    "insert into ops.run_log (company_id, stage, status, started_at, finished_at, error)"
    " values (%(company)s, 'train', 'failed', now(), now(), 'it broke')",
)


def training(company_id: int) -> TrainingRecord:
    return TrainingRecord(
        task="churn",
        company_id=company_id,
        rung="own_model",
        status="promoted",
        model_name="churn-acme",
        model_version="1",
        mlflow_run_id=None,
        as_of_date=TODAY,
        rows=9,
        customers=9,
        outcomes=2,
        decision={"chosen": "rule"},
        evaluations={},
        cause="asked",
    )


def add_parsed_project(home: Path, manifest: Path) -> None:
    target = home / "dbt" / "target" / "manifest.json"
    target.parent.mkdir(parents=True)
    shutil.copyfile(manifest, target)
    target.with_name("parsed_project").write_text(dbt.project_fingerprint(Settings(home=home)))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dbt's manifest of this project, parsed once."""
    folder = tmp_path_factory.mktemp("dbt")
    Warehouse("postgresql://nobody@localhost/churn").write_dbt_profile(folder)
    DbtRuns(PROJECT, folder).parse()
    return folder / "target" / "manifest.json"


@pytest.fixture
def home(warehouse: Warehouse, manifest: Path, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", manifest, warehouse)
    home.prepare()
    return home


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """The command takes over signals, which are the test run's here."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def take_away(engine: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take one engine away; the others stand."""
    match engine:
        case "warehouse":
            home.environment["CHURN_DATABASE_URL"] = f"postgresql://churn:hidden-word@{NOWHERE}/churn"
        case "home":
            del home.environment["CHURN_DATABASE_URL"]
            home.environment["CHURN_HOME"] = "/proc/nowhere/churn"
        case "this release":
            with home.warehouse.connect() as conn:
                conn.execute("update ops.alembic_version set version_num = '9999'")
        case "psql":
            monkeypatch.setenv("PATH", "/nowhere")
            monkeypatch.setattr(binaries, "folder", lambda: home.path / "nowhere")
        case "dbt":
            monkeypatch.setattr(dbt, "dbt_command", lambda: ["/nowhere/dbt"])
            (home.path / "dbt" / "target" / "manifest.json").unlink()
        case "MLflow":
            address = f"postgresql+psycopg://churn:hidden-word@{NOWHERE}/churn"
            monkeypatch.setattr(ModelRegistry, "tracking_uri", address)
        case "Metabase":
            home.environment |= {"CHURN_METABASE_URL": f"http://{NOWHERE}", "CHURN_METABASE_API_KEY": "hidden-word"}
            monkeypatch.setattr(metabase_client, "waiting_time", lambda *_: 0.0)
        case "demo CRM":
            # It is built by its companies' file, and has nothing to serve.
            folder = home.path / "demo"
            folder.mkdir()
            (folder / "companies.yaml").write_text(yaml.safe_dump({"companies": [DEMO]}))
        case "key":
            with home.warehouse.connect() as conn:
                conn.execute(
                    'update ops.companies set connector_settings = \'{"url": "encrypted:gAAAAAB"}\'::jsonb',
                )
        case "source" | "mail" | "demo world":
            """They are never there."""


@pytest.mark.parametrize(("command", "engine"), AWAY)
def test_an_engine_that_is_away_ends_a_command_in_one_message(
    command: str,
    engine: str,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    take_away(engine, home, monkeypatch)
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "acme.yaml"
    file.write_text(yaml.safe_dump(DEFINITION))
    case = CASES[command]["warehouse" if engine == "this release" else engine]
    arguments = [str(file) if argument == "FILE" else argument for argument in case]
    monkeypatch.setattr(sys, "argv", ["churn", *command.split(), *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO("a secret"))
    with pytest.raises(SystemExit) as ended:
        main.main()
    told = capfd.readouterr()
    assert ended.value.code == 1, told
    check(told.err, engine)
    assert "Traceback" not in told.out


def check(message: str, engine: str) -> None:
    assert message.count(ENGINES[engine].named) == 1, message
    assert ENGINES[engine].helps in message
    assert "Traceback" not in message
    assert "hidden-word" not in message
    # Read aloud: whole sentences, none of them twice, nothing of the code.
    assert message.rstrip().endswith((".", "?", "`"))
    assert ".." not in message
    assert "Error:" not in message


def test_a_source_that_is_away_ends_the_whole_line_in_one_message(home: Home) -> None:
    """A process of its own, for Dagster loads what it finds once; `churn sync` is tried in test_company_runs."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("churn")), "run"],
        cwd=ROOT,
        env={**os.environ, **home.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    check(done.stderr, "source")
    assert "Traceback" not in done.stdout
