"""``churn metrics``: figures for Prometheus, over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestration.cli.terminal import CommandFailed, console, open_warehouse

PORT = 9464


def metrics(
    host: Annotated[str, typer.Option(help="Address to listen on. Whoever reaches it reads it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = PORT,
) -> None:
    """Serve /metrics for Prometheus until Ctrl-C: ages of scores and loads, failing companies, room, backups."""
    from prometheus_client import CollectorRegistry, start_http_server

    from pipeline.telling.metrics import WarehouseMetrics

    with open_warehouse() as (settings, warehouse):
        registry = CollectorRegistry()
        registry.register(WarehouseMetrics(warehouse, settings))
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise CommandFailed(f"Cannot listen on {host}:{port}: {error.strerror}. Name another --port.") from None
        console.print(f"Metrics: http://{host}:{port}/metrics (Ctrl-C ends it)")
        try:
            thread.join()
        except KeyboardInterrupt:
            pass
        finally:
            server.shutdown()
            server.server_close()
