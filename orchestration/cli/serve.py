"""``churn serve``: doors for programs. Each is a process of its own, which takes the place of this one."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from orchestration.cli.terminal import CommandFailed, open_warehouse

PORT, COLLECTOR_PORT, METRICS_PORT = 8700, 8790, 9465

serve_app = typer.Typer(no_args_is_help=True, help="Doors for programs, over HTTP.")


@serve_app.command("api")
def serve_api(
    host: Annotated[str, typer.Option(help="Address to listen on; TLS is a proxy's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = PORT,
) -> None:
    """Serve the HTTP API until Ctrl-C: scores, changes and figures, for holders of a key (`churn key create`)."""
    # What is away is said as by every command; a warehouse of an older release is migrated.
    with open_warehouse():
        pass
    become("serving.api", "--host", host, "--port", str(port))


@serve_app.command("collector")
def serve_collector(
    host: Annotated[str, typer.Option(help="Address to listen on; TLS is a proxy's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = COLLECTOR_PORT,
    metrics_host: Annotated[str, typer.Option(help="Address of /metrics, for Prometheus alone.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of /metrics.")] = METRICS_PORT,
) -> None:
    """Take events of web pages and apps until Ctrl-C, by keys that `churn write-key create` makes."""
    with open_warehouse():
        pass
    listen = ("--host", host, "--port", str(port))
    become("serving.collector", *listen, "--metrics-host", metrics_host, "--metrics-port", str(metrics_port))


def become(module: str, *arguments: str) -> None:
    """Go on as the module's own program. Raises CommandFailed."""
    sys.stdout.flush()
    try:
        os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise CommandFailed(f"Cannot start {module}: {error.strerror}.") from error
