"""A change as one page, in HTML or Markdown: what was found before it was built, in rows, and in predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from foundation.errors import ChurnError
from foundation.private_files import private_file
from pipeline.development.building import compiled_directory, manifest_of
from pipeline.development.checking import check_change
from pipeline.development.checking_text import check_markdown
from pipeline.development.difference_text import to_markdown
from pipeline.development.differences import find_differences
from pipeline.development.training import ChangedModel, ChangeTrainer
from pipeline.development.training_text import training_markdown, verdict
from pipeline.prediction.tasks import TaskBinding
from pipeline.telling.pages import rendered
from warehouse.connection import Warehouse
from warehouse.developers import Developer
from warehouse.settings import Settings


@dataclass(frozen=True)
class Part:
    """A section of the page, as Markdown without a heading of its own."""

    key: str
    title: str
    markdown: str


@dataclass(frozen=True)
class ChangeReport:
    """What a place's change is and does. `verdicts` say it in a sentence per model, the company's name before it."""

    place: str
    task: str
    verdicts: tuple[str, ...]
    parts: tuple[Part, ...]

    def to_markdown(self) -> str:
        """The page for a pull request."""
        lines = [f"# {self.place}: what the change does", "", *(f"- {sentence}" for sentence in self.verdicts)]
        for part in self.parts:
            lines += ["", f"# {part.title}", "", part.markdown]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The page by itself: no server, no network, no script; what a company wrote is text."""
        markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        sections = [(part.key, part.title, Markup(markdown.render(part.markdown))) for part in self.parts]  # noqa: S704 - markdown-it writes it, and escapes what is no Markdown
        return rendered(
            "pipeline.development", "report.html.j2", place=self.place, verdicts=self.verdicts, sections=sections
        )


def write_change_report(report: ChangeReport, path: Path) -> None:
    """Write the page, Markdown where the name ends with `.md`; it takes its name only when all of it is written."""
    text = report.to_markdown() if path.suffix == ".md" else report.to_html()
    with private_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def make_change_report(
    settings: Settings, warehouse: Warehouse, place: Developer, binding: TaskBinding
) -> ChangeReport:
    """Check, compare and train what a place has built; a part that cannot be made says why.

    Raises NoState where production's manifest is not there.
    """
    verdicts: list[str] = []

    def predictions() -> str:
        compared = ChangeTrainer(settings, warehouse, place, binding).compare()
        verdicts.extend(
            f"{', '.join(each.companies.values())}: {verdict(each)}"
            for each in compared
            if isinstance(each, ChangedModel)
        )
        return training_markdown(compared)

    parts = [
        Part("rows", "What changes in rows", _or_why(lambda: _rows(settings, warehouse, place))),
        Part("predictions", "What it does to predictions", _or_why(predictions)),
    ]
    # Last, for it reads the project again: what was built is compared by what dbt said of it then.
    check = Part("check", "What was found before it was built", _or_why(lambda: _check(settings, warehouse, place)))
    return ChangeReport(place.name, binding.name, tuple(verdicts), (check, *parts))


def _check(settings: Settings, warehouse: Warehouse, place: Developer) -> str:
    return check_markdown(check_change(settings, warehouse, place))


def _rows(settings: Settings, warehouse: Warehouse, place: Developer) -> str:
    if not place.own_relations:
        return "Nothing was built: `churn dev build` first."
    models: Sequence[str] = place.own_relations
    manifest, compiled = manifest_of(settings), compiled_directory(settings)
    return to_markdown(find_differences(warehouse, place, models, manifest, compiled))


def _or_why(make: Callable[[], str]) -> str:
    try:
        return make()
    except ChurnError as error:
        return str(error)
