"""Options that several commands share."""

from datetime import datetime
from typing import Annotated

import typer

CompanySlug = Annotated[str, typer.Option("--company", help="Slug of the company.")]
OptionalCompany = Annotated[
    str | None, typer.Option("--company", help="Slug of one company; all active ones if left out.")
]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="One date.")]
TaskName = Annotated[str, typer.Option("--task", help="What is predicted, such as churn.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="End at once, with 1, where another run is writing in the warehouse.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
