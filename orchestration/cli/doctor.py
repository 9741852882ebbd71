"""The command that looks whether everything is in place."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.terminal import console, read_settings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for a program.")] = False,
) -> None:
    """Look whether everything is in place: disk, server, clock, logins, secrets, loads; and say what helps.

    It changes nothing. Ends with 1 where something is not in order.
    """
    from pipeline.watching.doctor import examine

    settings = read_settings()
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            mark = "[green]✓[/green]" if finding.is_well else "[red]✗[/red]"
            console.print(f"{mark} {finding.subject}: {escape(finding.says)}")
            if finding.helps:
                console.print(f"  [dim]helps:[/dim] {escape(finding.helps)}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    raise typer.Exit(0 if all(finding.is_well for finding in findings) else 1)
