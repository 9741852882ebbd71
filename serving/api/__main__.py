"""``python -m serving.api``: serve the HTTP API until it is told to stop. `churn serve api` runs it."""

from __future__ import annotations

import argparse
import logging
import sys

import uvicorn

from foundation.errors import ChurnError
from foundation.private_files import make_home, write_privately
from pipeline.prediction.tasks import CONTRACTS
from serving.api.app import make_app
from warehouse.connection import Warehouse
from warehouse.migrate import migrate
from warehouse.settings import load_settings

HOST, PORT = "127.0.0.1", 8700
_AT_ONCE = 200
"""Connections beyond this many are answered with 503 at once."""


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 where it could not begin."""
    asked = _arguments()
    write_privately()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = load_settings()
        logging.getLogger("serving").setLevel(settings.log_level.upper())
        make_home(settings.home)
        with Warehouse.open(settings) as warehouse:
            migrate(warehouse, CONTRACTS)
            print(f"API: http://{asked.host}:{asked.port}/v1 (Ctrl-C ends it)", flush=True)  # noqa: T201 - to a terminal
            uvicorn.run(
                make_app(warehouse, settings),
                host=asked.host,
                port=asked.port,
                access_log=False,
                log_config=None,
                server_header=False,
                limit_concurrency=_AT_ONCE,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=10,
                h11_max_incomplete_event_size=32 * 1024,
            )
    except ChurnError as error:
        print(error, file=sys.stderr)  # noqa: T201 - to a terminal
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="churn serve api", description="Serve the HTTP API.")
    parser.add_argument("--host", default=HOST, help="address to listen on")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
