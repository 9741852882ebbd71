"""``python -m serving.collector``, which `churn serve collector` becomes: takes events over HTTP until it is stopped.

On SIGTERM and Ctrl-C it takes no more requests, commits what it has taken, answers, and ends.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client import start_http_server

from foundation.errors import ChurnError
from foundation.private_files import make_home, write_privately
from pipeline.prediction.tasks import CONTRACTS
from serving.collector import logs
from serving.collector.app import Collector, app
from serving.collector.figures import Figures
from serving.collector.limits import ANSWER_SECONDS
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.settings import load_settings

PORT, METRICS_PORT = 8790, 9465


class PortTaken(ChurnError):
    """The collector cannot listen where it should."""

    advice = "Name another --port or --metrics-port: `churn serve collector --help`."


def main() -> None:
    """Serve; an error that a person can do something about is one message and exit code 1."""
    arguments = _parser().parse_args()
    write_privately()
    # What ends before it serves gives back the embedded Postgres, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        serve(arguments.host, arguments.port, arguments.metrics_host, arguments.metrics_port)
    except ChurnError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(1)


def serve(host: str, port: int, metrics_host: str, metrics_port: int) -> None:
    """Take events at this address until a signal ends it. Raises ChurnError."""
    settings = load_settings()
    logs.configure(settings)
    make_home(settings.home)
    figures = Figures()
    with Warehouse.open(settings) as warehouse:
        migrate(warehouse, CONTRACTS)
        with _metrics(figures, metrics_host, metrics_port):
            server = uvicorn.Server(
                uvicorn.Config(
                    app(Collector(warehouse, settings, figures)),
                    host=host,
                    port=port,
                    access_log=False,
                    log_config=None,
                    server_header=False,
                    timeout_keep_alive=75,
                    timeout_graceful_shutdown=int(ANSWER_SECONDS) + 5,
                )
            )
            print(f"Events: http://{host}:{port}/v1/batch (Ctrl-C ends it)", flush=True)  # noqa: T201
            # uvicorn ends by them in good order, and raises them once more at its end.
            for ending in (signal.SIGTERM, signal.SIGINT):
                signal.signal(ending, lambda *_: None)
            try:
                server.run()
            except SystemExit:
                raise PortTaken(f"Cannot listen on {host}:{port}.") from None


@contextmanager
def _metrics(figures: Figures, host: str, port: int) -> Iterator[None]:
    try:
        server, _ = start_http_server(port, addr=host, registry=figures.registry)
    except OSError as error:
        raise PortTaken(f"Cannot listen on {host}:{port} for metrics: {error.strerror}.") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="churn serve collector", description="Take events over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on")
    parser.add_argument("--metrics-host", default="127.0.0.1", help="address of /metrics, for Prometheus alone")
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT, help="port of /metrics")
    return parser


if __name__ == "__main__":
    main()
