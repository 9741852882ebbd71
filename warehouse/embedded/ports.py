"""Ports of this machine for the embedded server."""

from __future__ import annotations

import random
import socket

from warehouse.errors import ServerError

HOST = "127.0.0.1"
# Below the range that systems hand to outgoing connections, so that none of them takes our port.
PORTS = range(20_000, 30_000)


def free_port() -> int:
    """One that nobody listens on. Raises ServerError where a hundred are taken."""
    for _ in range(100):
        port = random.choice(PORTS)  # noqa: S311  (no secret: any free port will do)
        if is_free(port):
            return port
    raise ServerError(
        f"No free port on {HOST} between {PORTS.start} and {PORTS.stop - 1}: end a program that holds one."
    )


def is_free(port: int) -> bool:
    """Whether nobody listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
