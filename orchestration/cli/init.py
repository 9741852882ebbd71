"""``churn init``: a dbt project of one's own that takes ours as a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.terminal import console, writing


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make it in; made where it is not there.")],
    name: Annotated[str | None, typer.Option(help="The project's name; the folder's if left out.")] = None,
) -> None:
    """Make a project of your own: features and marts beside those that come along."""
    from pipeline.development.new_project import make_project, usual_project_name

    with writing(folder):
        files = make_project(folder, name or usual_project_name(folder))
    for file in files:
        console.print(escape(f"  {file}"))
    console.print(escape(f"In {folder}, every `churn` command works on this project; elsewhere CHURN_PROJECT says so."))
    console.print(
        "`churn demo run` fills its warehouse with companies that are made up; README.md says what comes then."
    )
