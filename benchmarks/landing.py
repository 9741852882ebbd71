"""Landing, beside a bare COPY of the same rows into the same keyed table and beside dlt's own loading.

    python -m benchmarks.landing [--rows 100000] [--rounds 3] [--dlt-rows 20000]

One run, on an embedded Postgres of its own, ways taken in turn so that a busy machine slows all
alike. The rows are payments. `land` is an Arrow table through the version log; `records to landed`
begins with the dicts that a CRM's JSON gives, and so holds the contract's checks; dlt begins with
the same dicts and loads them with its defaults and a merge key, which is not enforced.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as arrow_csv

from pipeline.companies import parse_definition
from pipeline.connectors.contract import PAYMENTS
from pipeline.connectors.validation import Reading, validate_records
from pipeline.loading.sync import CHUNK_ROWS
from pipeline.prediction.tasks import CONTRACTS
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow
from warehouse.landing.version_log import VersionLog
from warehouse.migrate import migrate
from warehouse.relations import RAW_PAYMENTS
from warehouse.roles import Role
from warehouse.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READING = Reading(ZoneInfo("UTC"), NOW)
Way = Callable[[Warehouse], None]


def payments(rows: int) -> list[dict[str, Any]]:
    """Records as JSON gives them, in order of updated_at, of 20 customers per 1000 payments."""
    chance = np.random.default_rng(7)
    start = NOW - timedelta(days=700)
    seconds = np.sort(chance.integers(0, 690 * 86_400, rows)).tolist()
    amounts = chance.random(rows) * 200
    customers = chance.integers(0, max(1, rows // 50), rows)
    numbers = chance.permutation(rows).tolist()
    return [
        {
            "payment_id": f"pay_{numbers[row]:09d}",
            "updated_at": (start + timedelta(seconds=seconds[row])).isoformat(),
            "is_deleted": False,
            "customer_id": f"cus_{customers[row]:07d}",
            "kind": "charge",
            "status": "succeeded" if row % 9 else "failed",
            "amount": f"{amounts[row]:.2f}",
            "currency": "EUR",
            "method": "card" if row % 3 else "transfer",
            "failed_attempts": row % 2,
            "issued_at": (start + timedelta(seconds=seconds[row] - 86_400)).isoformat(),
            "due_at": (start + timedelta(seconds=seconds[row])).isoformat(),
            "paid_at": (start + timedelta(seconds=seconds[row])).isoformat() if row % 9 else None,
            "failed_at": None,
            "channel": "web",
            "attempt": row,
        }
        for row in range(rows)
    ]


def with_own_columns(accepted: pa.Table, company_id: int) -> pa.Table:
    """The rows as they stand in the raw table, for a COPY straight into it."""
    size = accepted.num_rows
    return (
        accepted.append_column("company_id", pa.array(np.full(size, company_id), pa.int32()))
        .append_column("known_at", accepted["updated_at"])
        .append_column("is_backfill", pa.array(np.ones(size, dtype=bool)))
        .append_column("load_id", pa.array(np.ones(size), pa.int64()))
    )


def land(warehouse: Warehouse, company_id: int, chunks: list[pa.Table]) -> None:
    """Through the version log, chunk by chunk."""
    with warehouse.connect(Role.loader, autocommit=True) as connection:
        versions = VersionLog(connection, company_id, "payments")
        with versions.lock():
            load = versions.open_load(updated_since=None, known_at=NOW)
            for chunk in chunks:
                cursor = chunk["updated_at"][-1].as_py()
                versions.land_chunk(load, chunk, (), received=chunk.num_rows, cursor=cursor, reject_limit=0)
            versions.complete_load(load, source_live=None, source_deleted=None, warehouse=None)


def validated(records: list[dict[str, Any]]) -> list[pa.Table]:
    """Checked against the contract, in chunks as a sync makes them."""
    return [
        validate_records(PAYMENTS, records[start : start + CHUNK_ROWS], READING).accepted
        for start in range(0, len(records), CHUNK_ROWS)
    ]


def copy_binary(warehouse: Warehouse, rows: pa.Table) -> None:
    """COPY in binary straight into the keyed table: the limit."""
    with warehouse.connect(Role.loader) as connection, connection.cursor() as cursor:
        copy_arrow(cursor, rows, RAW_PAYMENTS, json_columns=("attributes",))


def copy_csv(warehouse: Warehouse, rows: pa.Table) -> None:
    """COPY of CSV, written by Arrow, straight into the keyed table."""
    with warehouse.connect(Role.loader) as connection, connection.cursor() as cursor:
        columns = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, rows.column_names))
        statement = psycopg.sql.SQL("copy {} ({}) from stdin (format csv)").format(RAW_PAYMENTS.identifier, columns)
        with cursor.copy(statement) as copy:
            for start in range(0, rows.num_rows, CHUNK_ROWS):
                block = io.BytesIO()
                without_header = arrow_csv.WriteOptions(include_header=False)
                arrow_csv.write_csv(rows.slice(start, CHUNK_ROWS), block, without_header)
                copy.write(block.getvalue())


def load_by_dlt(warehouse: Warehouse, records: list[dict[str, Any]], folder: Path) -> None:
    """dlt's default path: dict rows, its own normalisation, and a merge on the version key."""
    import dlt

    pipeline = dlt.pipeline(
        "landing_benchmark",
        destination=dlt.destinations.postgres(warehouse.url("postgresql")),
        dataset_name="dlt_benchmark",
        pipelines_dir=str(folder),
    )
    pipeline.run(
        [record | {"company_id": 1} for record in records],
        table_name="payments",
        write_disposition="merge",
        primary_key=["company_id", "payment_id", "updated_at"],
    )


def empty(warehouse: Warehouse) -> None:
    """Make the tables as new, so that every way starts alike."""
    with warehouse.connect(autocommit=True) as connection:
        connection.execute("truncate raw.payments, ops.sync_cursors, ops.load_log")
        connection.execute("drop schema if exists dlt_benchmark cascade")
        connection.execute("drop schema if exists dlt_benchmark_staging cascade")


def measure(warehouse: Warehouse, ways: dict[str, tuple[int, Way]], rounds: int) -> dict[str, float]:
    """Rows per second of each way: the median over the rounds, ways taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (_, way) in ways.items():
            empty(warehouse)
            started = time.perf_counter()
            way(warehouse)
            seconds[name].append(time.perf_counter() - started)
    return {name: rows / statistics.median(seconds[name]) for name, (rows, _) in ways.items()}


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dlt-rows", type=int, default=20_000)
    options = parser.parse_args()
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    records = payments(options.rows)
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Settings(home=Path(folder) / "home")) as warehouse:
        migrate(warehouse, CONTRACTS)
        definition = {
            "slug": "acme",
            "name": "Acme",
            "connector": "files",
            "churn_kind": "cancellation",
            "currency": "EUR",
        }
        with warehouse.connect() as connection:
            company = add_company(connection, parse_definition(definition), "benchmark").company_id
        chunks = validated(records)
        whole = with_own_columns(pa.concat_tables(chunks).combine_chunks(), company)
        few = records[: options.dlt_rows]
        ways: dict[str, tuple[int, Way]] = {
            "bare COPY, binary": (options.rows, lambda warehouse: copy_binary(warehouse, whole)),
            "bare COPY, csv": (options.rows, lambda warehouse: copy_csv(warehouse, whole)),
            "land": (options.rows, lambda warehouse: land(warehouse, company, chunks)),
            "records to landed": (options.rows, lambda warehouse: land(warehouse, company, validated(records))),
            "dlt, dict rows": (len(few), lambda warehouse: load_by_dlt(warehouse, few, Path(folder) / "dlt")),
        }
        speed = measure(warehouse, ways, options.rounds)
    print(f"Landing {options.rows:,} payments (dlt: {len(few):,}), median of {options.rounds} rounds")
    for name, value in speed.items():
        print(f"  {name:20} {value:10,.0f} rows/s")
    promises = {
        "land / bare COPY, binary": (speed["land"] / speed["bare COPY, binary"], 0.5),
        "land / bare COPY, csv": (speed["land"] / speed["bare COPY, csv"], 0.5),
        "land / dlt, dict rows": (speed["land"] / speed["dlt, dict rows"], 10.0),
    }
    for name, (ratio, promised) in promises.items():
        verdict = "" if ratio >= promised else "   MISSED"
        print(f"  {name:36} {ratio:6.2f}   (promised: at least {promised:g}){verdict}")
    checked = speed["records to landed"] / speed["dlt, dict rows"]
    print(
        f"  {'records to landed / dlt, dict rows':36} {checked:6.2f}   (with the contract's checks; nothing promised)"
    )
    if any(ratio < promised for ratio, promised in promises.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
