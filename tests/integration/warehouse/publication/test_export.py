"""`churn export`, the estimate, and the sample consumers in docs/examples, each run as it stands there."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as parquet
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from foundation.spreadsheets import harmless_cell
from orchestration.cli.main import app
from tests.conftest import TestServer
from tests.integration.published import CHURN, FIRST_DAY, Score, at, publish, snapshot
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.embedded.server import EmbeddedServer
from warehouse.publication import export as publication_export
from warehouse.publication.export import CursorNotUsable, Format, reading_as_company
from warehouse.publication.feed import compact_feed, feed_cursors, move_cursor
from warehouse.roles import Role, set_company_password

# A login's password is the server's, and the server is shared: one after the other.
pytestmark = pytest.mark.xdist_group("company_passwords")

EXAMPLES = Path(__file__).parents[4] / "docs" / "examples"
DAY = timedelta(days=1)
DAYS = [
    {"a": Score(0.2), "b": Score(0.9), "c": Score(0.4)},
    {"a": Score(0.5), "b": Score(0.9), "d": Score(0.3)},
    {"a": Score(0.8), "d": Score(0.3)},
]


@pytest.fixture
def company_id(warehouse: Warehouse, add_company: Callable[..., Any]) -> int:
    """A company with two published days, and another whose rows nobody else may see."""
    acme, other = add_company(slug="acme").company_id, add_company(slug="other").company_id
    publish(warehouse, other, FIRST_DAY, {"stranger": Score(0.7)})
    for number, scores in enumerate(DAYS[:2]):
        publish(warehouse, acme, FIRST_DAY + number * DAY, scores)
    return acme


def compact(warehouse: Warehouse, company_id: int) -> None:
    with warehouse.connect(Role.publisher, autocommit=True) as conn:
        compact_feed(conn, CHURN, company_id, at(FIRST_DAY + 30 * DAY))


@pytest.fixture
def churn(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a churn command in this process, on the test's warehouse."""
    monkeypatch.setenv("CHURN_DATABASE_URL", warehouse.url("postgresql"))
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), catch_exceptions=False)

    return run


def test_current_scores_are_the_same_in_every_format(
    churn: Callable[..., Any], company_id: int, tmp_path: Path
) -> None:
    for name in Format:
        done = churn("export", "--company", "acme", "--format", name, "--output", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        assert "3 rows written" in done.stderr
    rows = {
        "csv": list(csv.DictReader(io.StringIO((tmp_path / "csv").read_text()))),
        "jsonl": [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()],
        "parquet": parquet.read_table(tmp_path / "parquet").to_pylist(),
    }
    scores = {
        name: [
            (row["customer_id"], float(row["churn_probability"]), str(row["as_of_date"]), _first_reason(row["reasons"]))
            for row in exported
        ]
        for name, exported in rows.items()
    }
    assert scores["csv"] == scores["jsonl"] == scores["parquet"]
    assert scores["csv"] == [
        (customer, score.probability, "2026-01-02", "tenure_days") for customer, score in sorted(DAYS[1].items())
    ]


def _first_reason(reasons: Any) -> str:
    return (json.loads(reasons) if isinstance(reasons, str) else reasons)[0]["feature"]


def test_a_snapshot_and_the_changes_after_it_are_the_feed_and_each_tells_the_next_cursor(
    warehouse: Warehouse, churn: Callable[..., Any], company_id: int
) -> None:
    taken = churn("export", "--company", "acme", "--snapshot")
    cursor = int(taken.stderr.split("next cursor: ")[1])
    held = {row["customer_id"]: float(row["churn_probability"]) for row in csv.DictReader(io.StringIO(taken.stdout))}
    assert held == {name: score.probability for name, score in DAYS[1].items()}
    publish(warehouse, company_id, FIRST_DAY + 2 * DAY, DAYS[2])
    changed = churn("export", "--company", "acme", "--since", str(cursor), "--format", "jsonl")
    changes = [json.loads(line) for line in changed.stdout.splitlines()]
    assert sorted((row["operation"], row["customer_id"]) for row in changes) == [("delete", "b"), ("upsert", "a")]
    following = int(changed.stderr.split("next cursor: ")[1])
    assert following == changes[-1]["change_id"] > cursor
    nothing = churn("export", "--company", "acme", "--since", str(following), "--format", "jsonl")
    assert (nothing.stdout, nothing.stderr) == ("", f"0 rows written.\nnext cursor: {following}\n")


def test_a_cursor_behind_the_retention_or_of_another_feed_is_refused_with_what_to_do(
    warehouse: Warehouse, churn: Callable[..., Any], company_id: int
) -> None:
    with warehouse.connect() as conn:
        (oldest,) = conn.execute("select min(change_id) from predictions.churn_changes where company_id = 1").fetchone()
    publish(warehouse, company_id, FIRST_DAY + 2 * DAY, DAYS[2])
    compact(warehouse, company_id)
    with pytest.raises(CursorNotUsable, match=r"behind the feed's retention.*--snapshot"):
        churn("export", "--company", "acme", "--since", str(oldest))
    with pytest.raises(CursorNotUsable, match="not of this feed"):
        churn("publication", "estimate", "--company", "acme", "--since", "100000")


def test_a_file_stands_there_only_when_it_is_complete(
    churn: Callable[..., Any], company_id: int, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scores.csv").write_text("of yesterday")
    with pytest.raises(CursorNotUsable):
        churn("export", "--company", "acme", "--since", "100000", "--output", str(tmp_path / "out" / "scores.csv"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.csv"]
    assert (tmp_path / "out" / "scores.csv").read_text() == "of yesterday"


def test_an_export_reads_as_the_companys_own_login_and_can_write_nothing(warehouse: Warehouse, company_id: int) -> None:
    with reading_as_company(warehouse, CHURN, company_id) as reader:
        conn = reader._conn
        assert conn.execute("select current_user").fetchone() == (f"company_{company_id}_sync",)
        assert conn.execute("select distinct company_id from predictions.churn_changes").fetchall() == [(company_id,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("delete from predictions.churn_scores_v1")


def test_content_and_cursor_are_of_one_moment_though_a_set_is_published_in_between(
    warehouse: Warehouse, company_id: int
) -> None:
    with reading_as_company(warehouse, CHURN, company_id) as reader:
        before = reader.cursors
        publish(warehouse, company_id, FIRST_DAY + 2 * DAY, DAYS[2])
        output = io.BytesIO()
        done = reader.write_snapshot(output, Format.jsonl)
    rows = [json.loads(line) for line in output.getvalue().splitlines()]
    assert done.next_cursor == before.newest == rows[0]["next_cursor"]
    assert {row["customer_id"] for row in rows} == set(DAYS[1])


def test_a_parquet_file_is_written_block_by_block(
    warehouse: Warehouse, company_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.publication.export.BLOCK_ROWS", 2)
    with reading_as_company(warehouse, CHURN, company_id) as reader, (tmp_path / "out").open("wb") as file:
        reader.write_changes(0, file, Format.parquet)
    written = parquet.ParquetFile(tmp_path / "out")
    assert [written.metadata.row_group(group).num_rows for group in range(written.num_row_groups)] == [2, 2, 2]


def test_the_estimate_counts_each_customer_once_and_rounds_calls_up(
    warehouse: Warehouse, churn: Callable[..., Any], company_id: int
) -> None:
    """Since the beginning: a was written twice, b and d once, and c came and went."""
    said = churn("publication", "estimate", "--company", "acme", "--since", "0", "--batch-size", "2").stdout
    assert "6 changes since cursor 0: 3 customers to write and 1 to clear." in said
    assert "3 calls of up to 2 customers" in said
    assert "3 customers to write and 0 to clear" in churn("publication", "estimate", "--company", "acme").stdout


def test_compacting_by_command_keeps_the_retention(
    warehouse: Warehouse, churn: Callable[..., Any], company_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_NOW", at(FIRST_DAY + 29 * DAY).isoformat())
    assert "acme: 0 changes" in churn("publication", "compact", "--company", "acme").stdout
    monkeypatch.setenv("CHURN_FEED_RETENTION_DAYS", "1")
    assert "acme: 3 changes compacted" in churn("publication", "compact").stdout


@pytest.fixture
def environment(warehouse: Warehouse, company_id: int, tmp_path: Path) -> dict[str, str]:
    """What a sample consumer finds: psql and churn on the path, the company's own login, an operator's settings."""
    with warehouse.connect() as conn:
        user, password = set_company_password(conn, company_id, Role.company_sync)
    paths = [str(EmbeddedServer.program("psql").parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        "PATH": ":".join(paths),
        "WAREHOUSE": make_conninfo(warehouse.url("postgresql"), user=user, password=password),
        "CHURN_DATABASE_URL": warehouse.url("postgresql"),
        "CHURN_HOME": str(tmp_path / "home"),
        "PAGE": "2",
    }


def run(environment: dict[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)


def held_by(target: str) -> dict[str, tuple[Any, ...]]:
    with psycopg.connect(target) as conn:
        rows = conn.execute("select customer_id, as_of_date, churn_probability, risk_level from churn_risk").fetchall()
    return {customer: tuple(content) for customer, *content in rows}


def test_the_sql_example_follows_through_a_snapshot_changes_and_the_end_of_its_retention(
    postgres: TestServer, warehouse: Warehouse, company_id: int, environment: dict[str, str]
) -> None:
    with postgres.database("template1") as target, warehouse.connect(autocommit=True) as conn:
        environment["TARGET"] = target
        for number in range(1, 5):
            done = run(environment, "bash", EXAMPLES / "follow_with_sql.sh")
            assert done.returncode == 0, done.stderr
            assert held_by(target) == snapshot(conn, company_id) != {}
            assert done.stdout == f"The copy stands at cursor {feed_cursors(conn, CHURN, company_id).newest}.\n"
            publish(warehouse, company_id, FIRST_DAY + number * DAY, DAYS[number % 3])
            if number == 2:
                publish(warehouse, company_id, FIRST_DAY + number * DAY, DAYS[0])
                compact(warehouse, company_id)


def test_the_csv_example_drops_a_snapshot_then_changes_and_nothing_where_nothing_changed(
    warehouse: Warehouse, company_id: int, environment: dict[str, str], tmp_path: Path
) -> None:
    def drop() -> list[str]:
        done = run(environment, "bash", EXAMPLES / "drop_csv.sh", "acme", tmp_path / "drop")
        assert done.returncode == 0, done.stderr
        return sorted(path.name for path in (tmp_path / "drop").iterdir())

    assert drop() == ["cursor", "snapshot.csv"]
    cursor = (tmp_path / "drop" / "cursor").read_text().strip()
    assert drop() == ["cursor", "snapshot.csv"]
    publish(warehouse, company_id, FIRST_DAY + 2 * DAY, DAYS[2])
    assert drop() == [f"changes-after-{cursor}.csv", "cursor", "snapshot.csv"]
    changes = csv.DictReader(io.StringIO((tmp_path / "drop" / f"changes-after-{cursor}.csv").read_text()))
    assert {(row["operation"], row["customer_id"]) for row in changes} == {("delete", "b"), ("upsert", "a")}


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A receiver: its address, the bodies it took, and the statuses it still has to refuse with."""
    bodies: list[dict[str, Any]] = []
    refusals: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = refusals.pop() if refusals else 200
            if status == 200:
                bodies.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", bodies, refusals
        server.shutdown()


def received(bodies: list[dict[str, Any]]) -> dict[str, float]:
    """What the receiver holds after all it took."""
    held: dict[str, float] = {}
    for body in bodies:
        if body["starts_over"]:
            held = {}
        for change in body["changes"]:
            if change["operation"] == "delete":
                held.pop(change["customer_id"], None)
            else:
                held[change["customer_id"]] = change["churn_probability"]
    return held


def test_the_webhook_example_sends_batches_again_that_were_refused_and_starts_over_behind_the_retention(
    warehouse: Warehouse, company_id: int, environment: dict[str, str], tmp_path: Path
) -> None:
    with webhook() as (url, bodies, refusals), warehouse.connect(autocommit=True) as conn:

        def send(*options: str) -> subprocess.CompletedProcess[str]:
            script = EXAMPLES / "follow_with_webhook.py"
            arguments = (url, tmp_path / "cursor", "--batch-size", "2", *options)
            return run(environment, sys.executable, script, *arguments)

        assert send("--estimate").stdout == "3 customers, 2 calls\n"
        assert bodies == []
        refusals.append(503)
        assert send().returncode != 0
        done = send()
        assert done.returncode == 0, done.stderr
        assert [body["starts_over"] for body in bodies] == [True, False]
        publish(warehouse, company_id, FIRST_DAY + 2 * DAY, DAYS[2])
        assert send().returncode == 0
        assert received(bodies) == {name: row[1] for name, row in snapshot(conn, company_id).items()}
        for number in (3, 4):
            publish(warehouse, company_id, FIRST_DAY + number * DAY, DAYS[number % 3])
        compact(warehouse, company_id)
        assert send().returncode == 0
        assert bodies[-1]["changes"]
        assert received(bodies) == {name: row[1] for name, row in snapshot(conn, company_id).items()}
        assert sum(body["starts_over"] for body in bodies) == 2


def test_an_export_holds_a_block_in_memory_however_many_rows_there_are(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication_export, "BLOCK_ROWS", 1_000)
    company = add_company("acme")
    with warehouse.connect() as conn:
        conn.execute(
            "insert into predictions.churn_changes_v1 (company_id, customer_id, operation, change_reason, as_of_date,"
            " churn_probability, risk_level, reasons, model_version, row_hash, changed_at)"
            " select %s, 'c' || number, 'upsert', 'behaviour', '2026-01-01', 0.5, 'low',"
            " json_build_array(repeat('x', 1000)), 'm', 'h', now() from generate_series(1, 20000) as number",
            [company.company_id],
        )
        move_cursor(conn, CHURN, company.company_id)
    for format in Format:
        path = tmp_path / format
        with reading_as_company(warehouse, CHURN, company.company_id) as reader, path.open("wb") as output:
            newest = reader.cursors.newest
            reader.write_changes(newest - 1, io.BytesIO(), format)  # What is imported at first use does not count.
            tracemalloc.start()
            try:
                exported = reader.write_changes(0, output, format)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert exported.rows == 20_000  # More than 20 MB; a block of 1,000 rows is a twentieth.
        assert peak < 8_000_000, (format, peak)


FORMULAS = [
    "=1+1",
    " =1",
    "\t=1",
    "\x0b-1",
    "@x",
    "＝1",
    "+4",
    "-",
    "\n",
    "a\tb\r\nc",
    "\x01=",
    "\x85\x9f",
    "A-1",
    "",
    "'=",
    "\u00a0x",
]


def test_a_cell_that_is_written_without_postgres_is_the_same(warehouse: Warehouse) -> None:
    harmless = publication_export._harmless(sql.Identifier("cell"))  # what the file of a trial must agree with
    query = sql.SQL("select {} from unnest(%s::text[]) as cell").format(harmless)
    with warehouse.connect() as connection:
        cells = [cell for (cell,) in connection.execute(query, [FORMULAS]).fetchall()]

    assert cells == [harmless_cell(text) for text in FORMULAS]
