"""The HTTP API: one score published and one computed now, at 100 requests a second, beside the bare SQL of its login.

    python -m benchmarks.api [--scores 20000] [--seconds 20]

One run, on an embedded Postgres of its own, with the API as a process and the clients in this one: all on the same
cores. Requests come at their times, whether or not the ones before are answered, and latency counts from then. A
published score is the whole answer, with reasons, move and grading record; the bare SQL reads the same by the
key's login on one connection. A computed one is of a model of trees with eleven features.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.publication import COMPANIES, CONTRACT, DAY, PROJECT, make_marts, scores, stage_and_publish
from ml_assets.training.train import train
from pipeline.companies import parse_definition
from pipeline.features.catalogue import manifest_path
from pipeline.prediction.registry import ModelRegistry
from pipeline.prediction.tasks import CONTRACTS, task_named
from tests.unit.ml_assets.ml_world import CHURN, FEATURES, HORIZON_DAYS, TRAINED_AT, simulate
from warehouse.companies.api_keys import access_by, create_key
from warehouse.companies.registry import add_company
from warehouse.connection import Warehouse
from warehouse.frames import copy_arrow
from warehouse.migrate import migrate
from warehouse.publication.served import published_sets, score_of
from warehouse.publication.told_of_scores import grades_of, move_of
from warehouse.roles import Role
from warehouse.session_pool import CompanyReader
from warehouse.settings import Settings

RATE, CLIENTS = 100, 16
PUBLISHED_P50_MS, PUBLISHED_P99_MS, COMPUTED_P99_MS, MEMORY_GROWTH = 10, 50, 100, 1.1
VERSION = "sql1.set1"
PEOPLE = 500


def write_model(warehouse: Warehouse, home: Path) -> None:
    """A champion of the first company, and the matrix and the manifest that it reads."""
    rows = simulate(PEOPLE, 1).drop(columns=["outcome", "true_probability", "custom_attributes"], errors="ignore")
    rows = rows.assign(as_of_date=DAY, feature_version=VERSION, company_id=np.int32(1))
    rows["entity_id"] = [f"cus_{number:08d}" for number in range(1, PEOPLE + 1)]
    columns = {"number": "double precision", "category": "text", "flag": "boolean"}
    features = ", ".join(f"{feature.name} {columns[feature.kind]}" for feature in FEATURES)
    with warehouse.connect() as conn, conn.cursor() as cursor:
        cursor.execute("drop view features.churn_feature_matrix cascade")
        cursor.execute(
            "create table features.churn_feature_matrix (company_id int, customer_id text, as_of_date date,"
            f" {features}, feature_version text, custom_attributes jsonb,"
            " primary key (company_id, as_of_date, customer_id))"
        )
        cursor.execute("grant select on features.churn_feature_matrix to churn_ml")
        names = ["company_id", "entity_id", "as_of_date", *(feature.name for feature in FEATURES), "feature_version"]
        table = rows[names].rename(columns={"entity_id": "customer_id"})
        copy_arrow(cursor, pa.Table.from_pandas(table, preserve_index=False), task_named("churn").relations.matrix)
    world = simulate(2_000, 10, rate=0.1).assign(feature_version=VERSION)
    task = replace(CHURN, candidates=("xgboost",))
    result = train(world, FEATURES, task, horizon_days=HORIZON_DAYS, trained_at=TRAINED_AT, threads=2, seed=1)
    registered = ModelRegistry(warehouse, home).log_training("churn-company1", result, CHURN)
    with warehouse.connect() as conn:
        conn.execute(
            "insert into ml.training_runs (task, company_id, rung, status, model_name, model_version)"
            " values ('churn', 1, 'own_model', 'promoted', %s, %s)",
            [registered.version.name, registered.version.number],
        )
    said = ("label", "unit", "family", "kind")
    words = {each.name: {"meta": {"feature": {name: getattr(each, name) for name in said}}} for each in FEATURES}
    node = {"name": "churn_feature_matrix", "resource_type": "model", "config": {}, "columns": words}
    path = manifest_path(Settings(home=home))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"nodes": {"model.churn_warehouse.churn_feature_matrix": node}}))


def at_rate(address: str, key: str, ask: Callable[[int], tuple[str, str]], seconds: int, rate: int) -> list[float]:
    """Milliseconds of each request, from the moment at which it was to be made; every answer must be 200."""
    place, local = urlsplit(address), threading.local()
    headers = {"Authorization": f"Bearer {key}"}
    began = time.perf_counter() + 0.5

    def one(number: int) -> float:
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection(place.hostname or "", place.port)
        method, path = ask(number)
        local.connection.request(method, path, headers=headers)
        answer = local.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return (time.perf_counter() - due) * 1000

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(one, range(seconds * rate)))


def most_a_second(address: str, key: str, ask: Callable[[int], tuple[str, str]], seconds: int) -> float:
    """Requests a second that four clients get answered who ask again at once."""
    place, answered = urlsplit(address), [0] * 4

    def client(which: int) -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            method, path = ask(answered[which] * 4 + which)
            connection.request(method, path, headers={"Authorization": f"Bearer {key}"})
            connection.getresponse().read()
            answered[which] += 1

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(client, range(4)))
    return sum(answered) / seconds


def bare_sql(warehouse: Warehouse, key: str, rows: int, times: int = 1_000) -> list[float]:
    """Milliseconds of the same statements, by the key's login on one connection."""
    with warehouse.connect(Role.api, autocommit=True) as desk:
        access = access_by(desk, key)
    assert access is not None
    reader, took = CompanyReader(warehouse), []
    for number in range(times):
        began = time.perf_counter()
        with reader.reading(access) as connection:
            (newest,) = published_sets(connection, CONTRACT, access.company_id)
            score = score_of(connection, CONTRACT, access.company_id, _customer(number, rows), newest.as_of_date)
            assert score is not None
            move_of(connection, access.company_id, "churn", score)
            grades_of(connection, access.company_id, "churn")
        took.append((time.perf_counter() - began) * 1000)
    reader.close()
    return took


def _customer(number: int, rows: int) -> str:
    return f"cus_{number * 7919 % rows:08d}"


def main() -> None:
    """Run the benchmark and print what came out; exits 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Warehouse.open(Settings(home=Path(name) / "home")) as warehouse:
        home = Path(name) / "home"
        migrate(warehouse, CONTRACTS)
        with warehouse.connect() as conn:
            for number in range(1, COMPANIES + 1):
                definition = {"slug": f"company{number}", "name": "A", "connector": "files", "currency": "EUR"}
                add_company(conn, parse_definition(definition | {"churn_kind": "cancellation"}), "benchmark")
        make_marts(warehouse, Path(name) / "dbt", options.scores * COMPANIES)
        stage_and_publish(warehouse, 1, list(scores(options.scores, 1)))
        write_model(warehouse, home)
        with warehouse.connect() as conn:
            key = create_key(
                conn,
                "company1",
                scopes=("read", "score"),
                expires_at=datetime.now(UTC) + timedelta(days=1),
                requests_per_minute=1_000_000,
                note="",
                actor="benchmark",
            ).text
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**os.environ, "CHURN_HOME": str(home), "CHURN_LOG_LEVEL": "warning"}
        command = [sys.executable, "-m", "serving.api", "--port", str(port)]
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
        try:
            kept = measure(warehouse, f"http://127.0.0.1:{port}", key, process.pid, options.scores, options.seconds)
        finally:
            process.terminate()
            process.wait(30)
    if not kept:
        raise SystemExit(1)


def measure(warehouse: Warehouse, address: str, key: str, pid: int, rows: int, seconds: int) -> bool:
    """Print every figure; whether all promises were kept."""

    def published(number: int) -> tuple[str, str]:
        return "GET", f"/v1/customers/{_customer(number, rows)}/scores/churn"

    def computed(number: int) -> tuple[str, str]:
        return "POST", f"/v1/customers/cus_{1 + number % PEOPLE:08d}/scores/churn/score"

    _wait(address)
    at_rate(address, key, published, 3, RATE)
    at_rate(address, key, computed, 3, 5)
    memory = psutil.Process(pid).memory_info().rss
    bare = bare_sql(warehouse, key, rows)
    print(f"One score with reasons, of {rows:,} published, and the same statements by the key's login")
    print(f"  bare SQL, one connection     p50 {statistics.median(bare):6.1f} ms  p99 {_p99(bare):6.1f} ms")
    took = at_rate(address, key, published, seconds, RATE)
    kept = [
        _promise(f"p50 at {RATE} requests/s, ms", statistics.median(took), PUBLISHED_P50_MS),
        _promise(f"p99 at {RATE} requests/s, ms", _p99(took), PUBLISHED_P99_MS),
    ]
    print(f"  requests/s at most           {most_a_second(address, key, published, seconds // 2):6.0f}")
    print("One score computed now")
    took = at_rate(address, key, computed, seconds, 5)
    print(f"  p50 at 5 requests/s          {statistics.median(took):6.1f} ms")
    kept.append(_promise("p99 at 5 requests/s, ms", _p99(took), COMPUTED_P99_MS))
    print(f"  requests/s at most           {most_a_second(address, key, computed, seconds // 2):6.0f}")
    grown = psutil.Process(pid).memory_info().rss / memory
    print(f"Memory of the process {memory / 2**20:.0f} MiB at first")
    kept.append(_promise("at the end / at first", grown, MEMORY_GROWTH))
    return all(kept)


def _wait(address: str) -> None:
    place, deadline = urlsplit(address), time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the API does not answer")


def _p99(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]


def _promise(name: str, value: float, promised: float) -> bool:
    kept = value <= promised
    print(f"    {name:34} {value:7.2f}   (promised: at most {promised:g}){'' if kept else '   MISSED'}", flush=True)
    return kept


if __name__ == "__main__":
    main()
