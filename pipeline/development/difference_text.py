"""The differences of a developer's models as people and programs read them: one Markdown, one JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import orjson

from foundation.counting import counted, plural
from pipeline.development.differences import ColumnDifference, Difference
from pipeline.development.markdown import cell
from warehouse.row_differences import Values

_READERS = {
    "features": "Features",
    "models": "Models below",
    "exposures": "Dashboards and other readers",
    "published": "Published fields",
}


def to_json(differences: Sequence[Difference]) -> str:
    """A list of objects with the fields of `Difference`."""
    return orjson.dumps([asdict(difference) for difference in differences], default=str).decode()


def to_markdown(differences: Sequence[Difference]) -> str:
    """A page for the terminal and for a pull request; models that are the same share its last line."""
    differing = [difference for difference in differences if not difference.is_empty]
    same = [difference.model for difference in differences if difference.is_empty]
    lines = [line for difference in differing for line in (*_model(difference), "")]
    if same:
        lines.append(f"As in production: {', '.join(same)}.")
    return "\n".join(lines)


def _model(difference: Difference) -> Iterator[str]:
    yield f"## {difference.model}"
    yield ""
    if difference.is_new:
        yield f"New: production has no such model. {counted(difference.total('added'), 'row')}."
        return
    yield from _columns_of_contract(difference)
    yield from _rows(difference)
    if difference.columns:
        total = difference.total("changed") + difference.total("same")
        yield ""
        yield "| column | changed | without a value | before | after |"
        yield "|---|---:|---|---|---|"
        for column in difference.columns:
            yield _column(column, total)
    yield from _examples(difference)
    yield from _readers(difference)


def _columns_of_contract(difference: Difference) -> Iterator[str]:
    if difference.added_columns:
        yield f"New {plural(len(difference.added_columns), 'column')}: {', '.join(difference.added_columns)}.  "
    if difference.removed_columns:
        yield f"**Gone**: {', '.join(difference.removed_columns)}.  "
    for name, (before, after) in difference.retyped_columns.items():
        yield f"**Another type**: {name} was {before}, and is {after}.  "
    if difference.breaks_contract:
        yield "This breaks the model's contract: whoever reads these columns must change with it."
    yield ""


def _rows(difference: Difference) -> Iterator[str]:
    if not difference.key:
        yield "Nothing says what tells its rows apart, so rows are compared whole."
        yield ""
    yield "| company | added | removed | changed | same |"
    yield "|---|---:|---:|---:|---:|"
    for slug, rows in difference.rows.items():
        yield f"| {slug} | {rows.added:,} | {rows.removed:,} | {rows.changed:,} | {rows.same:,} |"


def _column(column: ColumnDifference, total: int) -> str:
    nulls = f"{column.before.null_share:.1%} → {column.after.null_share:.1%}"
    share = f"{column.changed:,} ({column.changed / max(total, 1):.1%})"
    return f"| {column.name} | {share} | {nulls} | {_values(column.before)} | {_values(column.after)} |"


def _values(values: Values) -> str:
    if values.quantiles:
        return " · ".join(values.quantiles)
    return cell(", ".join(f"{text} ({number:,})" for text, number in values.commonest)) or "–"


def _examples(difference: Difference) -> Iterator[str]:
    if not difference.examples:
        return
    yield ""
    yield f"| {' | '.join(difference.key)} | before → after |"
    yield "|" + "---|" * (len(difference.key) + 1)
    for example in difference.examples:
        changes = "; ".join(f"{name}: {old} → {new}" for name, (old, new) in example.changes.items())
        yield f"| {' | '.join(cell(str(value)) for value in example.key.values())} | {cell(changes)} |"


def _readers(difference: Difference) -> Iterator[str]:
    yield ""
    for kind, title in _READERS.items():
        names = getattr(difference.readers, kind)
        if names:
            yield f"{title}: {', '.join(names)}.  "
