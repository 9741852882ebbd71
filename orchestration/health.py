"""Whether a service of ours works, asked by its container: `python -m orchestration.health SERVICE`.

It is asked every half minute, so it imports little and takes a third of a second; a `dagster` command takes ten times
that. What it says goes to standard error, where `docker inspect` shows it.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta

import psycopg

from foundation.errors import ChurnError
from warehouse.settings import load_settings

ANSWER_SECONDS = 10
CODE_SERVER = "127.0.0.1:4000"
WEBSERVER = "http://127.0.0.1:3000/graphql"
METRICS = "http://127.0.0.1:9464/metrics"
API = "http://127.0.0.1:8700/health/ready"
COLLECTOR = "http://127.0.0.1:8790/health/ready"
HEARTBEAT_WITHIN = timedelta(minutes=5)
"""Dagster's daemons write one every half minute, late where a sensor takes long."""


class Unwell(ChurnError):
    """The service does not do its work; the message says what is missing."""


def code_server() -> None:
    """It answers, and runs that it starts may log in to the warehouse. Raises Unwell."""
    import grpc

    with grpc.insecure_channel(CODE_SERVER) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            # A HealthCheckRequest for the service DagsterApi; 08 01 is a HealthCheckResponse that says SERVING.
            answer = check(b"\x0a\x0aDagsterApi", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            raise Unwell(f"The code server does not answer: {error.code().name}.") from None
    if not answer.startswith(b"\x08\x01"):
        raise Unwell("The code server does not serve.")
    with _warehouse() as connection:
        connection.execute("select 1")


def webserver() -> None:
    """It answers, and reads Dagster's runs with the login that it holds. Raises Unwell."""
    # Without the results it would not ask the database.
    query = json.dumps({"query": "{ runsOrError(limit: 1) { __typename ... on Runs { results { runId } } } }"}).encode()
    request = urllib.request.Request(WEBSERVER, query, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - our own
            answer = json.load(response)
    except (OSError, ValueError) as error:
        raise Unwell(f"The webserver does not answer: {error}.") from None
    if not answer.get("data") or answer["data"]["runsOrError"]["__typename"] != "Runs":
        told = "; ".join(error["message"] for error in answer.get("errors", ()))
        raise Unwell(f"The webserver cannot read Dagster's runs: {told or 'it does not say why'}.")


def daemon() -> None:
    """Each of its parts has written a heartbeat lately, and scores are published. Raises Unwell.

    Without any company's scores for so long the line stands still, whatever else is well.
    """
    from warehouse.publication.lateness import LATE_AFTER

    with _warehouse() as connection:
        silent = connection.execute(
            "select string_agg(daemon_type || ' since ' || to_char(timestamp, 'YYYY-MM-DD HH24:MI'), ', '), count(*)"
            " from dagster.daemon_heartbeats where timestamp < (now() at time zone 'utc') - %s::interval",
            [HEARTBEAT_WITHIN],
        ).fetchone()
        there = connection.execute("select count(*) from dagster.daemon_heartbeats").fetchone()
        newest = connection.execute(
            # By the run log, whose clock is the real one: a company may have a clock of its own.
            "select max(finished_at), max(finished_at) < now() - %s::interval from ops.run_log"
            " where stage ~ '^publish ' and status = 'succeeded'",
            [LATE_AFTER],
        ).fetchone()
    if silent and silent[1]:
        raise Unwell(f"Dagster's daemon is silent: {silent[0]} UTC.")
    if not (there and there[0]):
        raise Unwell("Dagster's daemon has never written a heartbeat.")
    if newest and newest[1]:
        raise Unwell(f"Nothing was published since {newest[0]:%Y-%m-%d %H:%M} UTC.")


def metrics() -> None:
    """It answers, and reads the warehouse. Raises Unwell."""
    try:
        with urllib.request.urlopen(METRICS, timeout=ANSWER_SECONDS) as response:
            figures = response.read().decode().splitlines()
    except OSError as error:
        raise Unwell(f"The metrics' server does not answer: {error}.") from None
    if "churn_warehouse_up 1.0" not in figures:
        raise Unwell("The warehouse does not answer the metrics' server.")


def api() -> None:
    """It answers, and reads the warehouse. Raises Unwell."""
    try:
        with urllib.request.urlopen(API, timeout=ANSWER_SECONDS):
            pass
    except OSError as error:
        raise Unwell(f"The HTTP API does not answer, or not from the warehouse: {error}.") from None


def collector() -> None:
    """It answers, and the warehouse takes its events. Raises Unwell."""
    try:
        urllib.request.urlopen(COLLECTOR, timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise Unwell(f"The collector takes no events: {error}.") from None


SERVICES: Mapping[str, Callable[[], None]] = {
    "code-server": code_server,
    "webserver": webserver,
    "daemon": daemon,
    "metrics": metrics,
    "api": api,
    "collector": collector,
}


def _warehouse() -> psycopg.Connection[tuple[object, ...]]:
    url = load_settings().database_url
    if url is None:
        raise Unwell("CHURN_DATABASE_URL is not set: this is for services beside a Postgres of their own.")
    scheme, _, place = url.get_secret_value().partition("://")
    try:
        return psycopg.connect(
            f"{scheme.partition('+')[0]}://{place}",
            connect_timeout=ANSWER_SECONDS,
            application_name="churn-health",
            autocommit=True,
        )
    except psycopg.OperationalError as error:
        raise Unwell(f"The warehouse does not let us in: {str(error).strip()}") from None


def main() -> None:
    """Ends with 0 where the service is well, else with 1 and a line."""
    (service,) = sys.argv[1:]
    try:
        SERVICES[service]()
    except (ChurnError, psycopg.Error) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
