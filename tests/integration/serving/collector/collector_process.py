"""A collector as it is run: a process of its own, on ports of its own, to be asked, stopped and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

PATIENCE_SECONDS = 60


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class CollectorProcess:
    """`python -m serving.collector`; started again it has the same address."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment}
        self.log = log
        self.port, self.metrics_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "serving.collector", "--port", str(self.port)),
                    *("--metrics-port", str(self.metrics_port)),
                ],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        self.wait_until_ready()

    def wait_until_ready(self, status: int = 200) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == status:
                    return
            except httpx.HTTPError:
                assert self.process is None or self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def post(self, path: str, content: Any = None, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **more.pop("headers", {})}
        body = {"content": content} if isinstance(content, bytes) else {"json": content}
        return httpx.post(f"{self.url}{path}", headers=headers, timeout=20, **body, **more)

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5).text

    def kill(self, sent: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(sent)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def collecting(environment: Mapping[str, str], log: Path) -> Iterator[CollectorProcess]:
    """A collector that takes events; killed at the end."""
    collector = CollectorProcess(environment, log)
    try:
        collector.start()
        yield collector
    finally:
        if collector.process is not None:
            collector.process.kill()
            collector.process.wait()
