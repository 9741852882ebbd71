"""``churn serve``: doors over HTTP. Each is a program of its own floor, which this process becomes."""

from __future__ import annotations

import os
import sys

import typer

serve_app = typer.Typer(no_args_is_help=True, help="Doors over HTTP, until Ctrl-C.")

_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@serve_app.command("collector", context_settings=_PASSED_ON)
def collector(context: typer.Context) -> None:
    """Take events of web pages and apps: POST /v1/batch; `--help` has its addresses and ports."""
    _become("serving.collector", context.args)


def _become(module: str, arguments: list[str]) -> None:
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - our own interpreter
