"""A first load by the REST connector, beside a bare COPY of the same rows, and the memory that it takes.

    python -m benchmarks.rest [--rows 100000] [--page 1000] [--rounds 3]

One run, on an embedded Postgres of its own, ways taken in turn. The API is a process of its own on this machine, with
pages of payments that are ready, by a cursor and in no order, as most vendors' are. `land` is what the connector gave,
through the version log; `read and landed` begins with the first request. Memory is the highest of a process that loads
so many rows and nothing else, and that of a process which loads a quarter of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pyarrow as pa

from benchmarks.landing import NOW, READING, Way, copy_binary, land, measure, payments, with_own_columns
from pipeline.companies import parse_definition
from pipeline.connectors.contract import PAYMENTS
from pipeline.connectors.rest import RestSettings, RestSource
from pipeline.loading.sync import CHUNK_ROWS, sync_company
from pipeline.prediction.tasks import CONTRACTS
from pipeline.reach import Reach
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.settings import Settings

PROMISED = 0.5
"""Of a bare COPY's rows per second."""
MOST_BYTES_A_ROW = 1000
"""One GB for a million."""


def serve(rows: int, page: int, told: Connection) -> None:
    """Answer /payments?at=N with a page; tells its port. In a process of its own."""
    records = payments(rows)
    pages = []
    for start in range(0, rows, page):
        following = str(start + page) if start + page < rows else None
        pages.append(orjson.dumps({"data": records[start : start + page], "next": following}))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            at = parse_qs(urlsplit(self.path).query).get("at", ["0"])[0]
            body = pages[int(at) // page]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_port)
    server.serve_forever()


@contextmanager
def api(rows: int, page: int) -> Iterator[str]:
    """The address of an API with so many payments."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(rows, page, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def described(url: str) -> dict[str, Any]:
    """The connector's settings."""
    names = [field.name for field in PAYMENTS.fields]
    endpoint = {
        "path": "/payments",
        "params": {"since": "{since}"},
        "records": "data",
        "pages": {"kind": "cursor", "path": "next", "param": "at"},
        "since": {},
        "fields": {name: name for name in names if name != "discount_amount"},
        "attributes": {"channel": "channel", "attempt": "attempt"},
    }
    return {"base_url": url, "auth": {"kind": "none"}, "entities": {"payments": {"endpoints": [endpoint]}}}


def read(url: str, settings: Settings) -> list[pa.Table]:
    """What the connector makes of the API."""
    source = RestSource("acme", RestSettings.model_validate(described(url)), str, READING, Reach(settings))
    chunks = [chunk.accepted for chunk in source.read(PAYMENTS, None, CHUNK_ROWS)]
    source.close()
    return [chunk for chunk in chunks if chunk.num_rows]


def load_alone(address: str, definition: dict[str, Any], settings: Settings, told: Connection) -> None:
    """Sync in a process of its own; tells the rows, its CPU seconds and how many bytes its memory grew by."""
    base = resource.getrusage(resource.RUSAGE_SELF)
    warehouse = Warehouse(address)
    company = Company(company_id=definition.pop("company_id"), is_active=True, **definition)
    (result,) = sync_company(warehouse, company, Clock(NOW), settings, ["payments"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - base.ru_utime - base.ru_stime
    told.send((result.loaded, result.error, cpu, (used.ru_maxrss - base.ru_maxrss) * 1024))


def memory_of(warehouse: Warehouse, settings: Settings, slug: str, rows: int, page: int) -> tuple[float, int]:
    """CPU seconds and bytes of a process that loads so many rows."""
    with api(rows, page) as url:
        definition = {
            "slug": slug,
            "name": slug,
            "connector": "rest",
            "connector_settings": described(url),
            "entities": ["customers", "payments"],
            "churn_kind": "cancellation",
            "currency": "EUR",
        }
        parsed = parse_definition(definition)
        with warehouse.connect() as connection:
            identifier = add_company(connection, parsed, "benchmark").company_id
        ours, theirs = multiprocessing.Pipe()
        given = parsed.model_dump() | {"company_id": identifier}
        process = multiprocessing.get_context("spawn").Process(
            target=load_alone, args=(warehouse.url("postgresql"), given, settings, theirs)
        )
        process.start()
        loaded, error, cpu, grown = ours.recv()
        process.join()
    if loaded != rows:
        raise SystemExit(f"{loaded} of {rows} rows were loaded: {error}")
    return cpu, grown


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    os.environ["CHURN_PRIVATE_SOURCES"] = "127.0.0.0/8"
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        with Warehouse.open(settings) as warehouse, api(options.rows, options.page) as url:
            migrate(warehouse, CONTRACTS)
            memory = {
                rows: memory_of(warehouse, settings, f"rows_{rows}", rows, options.page)
                for rows in (options.rows // 4, options.rows)
            }
            definition = {"slug": "acme", "name": "Acme", "connector": "files", "churn_kind": "cancellation"}
            with warehouse.connect() as connection:
                company = add_company(connection, parse_definition(definition | {"currency": "EUR"}), "benchmark")
            chunks = read(url, settings)
            whole = with_own_columns(pa.concat_tables(chunks).combine_chunks(), company.company_id)
            ways: dict[str, tuple[int, Way]] = {
                "bare COPY, binary": (options.rows, lambda warehouse: copy_binary(warehouse, whole)),
                "land": (options.rows, lambda warehouse: land(warehouse, company.company_id, chunks)),
                "read and landed": (
                    options.rows,
                    lambda warehouse: land(warehouse, company.company_id, read(url, settings)),
                ),
            }
            speed = measure(warehouse, ways, options.rounds)
    print(f"A first load of {options.rows:,} payments, {options.page:,} a page, median of {options.rounds} rounds")
    for name, value in speed.items():
        print(f"  {name:20} {value:10,.0f} rows/s")
    ratio = speed["land"] / speed["bare COPY, binary"]
    print(f"  land / bare COPY     {ratio:10.2f}   (promised: at least {PROMISED})")
    for rows, (cpu, grown) in memory.items():
        print(f"  {rows:,} rows alone: {cpu:.1f} s of CPU, {grown / 2**20:,.0f} MiB more memory")
    if ratio < PROMISED or memory[options.rows][1] > MOST_BYTES_A_ROW * 1_000_000:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
