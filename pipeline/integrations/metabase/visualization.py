"""Which visualization settings exist per display, and which output columns they name.

Metabase stores any key and ignores the ones it does not know, so a typing error shows up as a chart without
the setting. This list is the check that the server does not make.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

ANY_CARD = frozenset({"card.title", "card.description", "card.hide_empty"})
COLUMN_SETTINGS = frozenset({"column_settings"})
CARTESIAN = COLUMN_SETTINGS | {
    "graph.dimensions",
    "graph.metrics",
    "graph.series_order",
    "graph.show_goal",
    "graph.goal_value",
    "graph.goal_label",
    "graph.show_trendline",
    "graph.show_values",
    "graph.label_value_frequency",
    "graph.label_value_formatting",
    "graph.show_stack_values",
    "graph.x_axis.scale",
    "graph.x_axis.axis_enabled",
    "graph.x_axis.labels_enabled",
    "graph.x_axis.title_text",
    "graph.y_axis.scale",
    "graph.y_axis.axis_enabled",
    "graph.y_axis.labels_enabled",
    "graph.y_axis.title_text",
    "graph.y_axis.auto_range",
    "graph.y_axis.auto_split",
    "graph.y_axis.min",
    "graph.y_axis.max",
    "graph.y_axis.unpin_from_zero",
    "graph.tooltip_columns",
    "series_settings",
    "stackable.stack_type",
}
SCALAR = COLUMN_SETTINGS | {"scalar.field", "scalar.compact_primary_number"}
TABLE = COLUMN_SETTINGS | {
    "table.columns",
    "table.column_formatting",
    "table.pagination",
    "table.row_index",
    "table.freeze_columns",
    "table.freeze_columns_count",
    "table.pivot",
    "table.pivot_column",
    "table.cell_column",
}
SETTINGS_BY_DISPLAY: Mapping[str, frozenset[str]] = {
    "area": CARTESIAN,
    "bar": CARTESIAN,
    "combo": CARTESIAN,
    "line": CARTESIAN,
    "row": CARTESIAN - {"graph.show_trendline", "graph.tooltip_columns"},
    "waterfall": CARTESIAN
    | {
        "waterfall.increase_color",
        "waterfall.decrease_color",
        "waterfall.show_total",
        "waterfall.total_color",
    },
    "pie": COLUMN_SETTINGS
    | {
        "pie.dimension",
        "pie.metric",
        "pie.show_legend",
        "pie.show_total",
        "pie.show_labels",
        "pie.percent_visibility",
        "pie.decimal_places",
        "pie.slice_threshold",
    },
    "gauge": COLUMN_SETTINGS | {"gauge.segments"},
    "progress": COLUMN_SETTINGS | {"progress.value", "progress.goal", "progress.color"},
    "scalar": SCALAR | {"scalar.segments"},
    "smartscalar": SCALAR | {"scalar.comparisons", "scalar.switch_positive_negative"},
    "table": TABLE,
    "object": COLUMN_SETTINGS | {"table.columns"},
    "map": COLUMN_SETTINGS
    | {
        "map.type",
        "map.region",
        "map.dimension",
        "map.metric",
        "map.colors",
        "map.latitude_column",
        "map.longitude_column",
        "map.pin_type",
    },
}
REQUIRED_BY_DISPLAY: Mapping[str, frozenset[str]] = {
    **{
        display: frozenset({"graph.dimensions", "graph.metrics"})
        for display in ("area", "bar", "combo", "line", "row", "waterfall")
    },
    "pie": frozenset({"pie.dimension", "pie.metric"}),
    "smartscalar": frozenset({"scalar.field", "scalar.comparisons"}),
}
COLUMN_KEYS = frozenset(
    {
        "column_title",
        "text_align",
        "text_wrapping",
        "show_mini_bar",
        "number_style",
        "number_separators",
        "currency",
        "currency_style",
        "currency_in_header",
        "decimals",
        "scale",
        "prefix",
        "suffix",
        "date_style",
        "date_separator",
        "date_abbreviate",
        "time_enabled",
        "time_style",
    }
)
SERIES_KEYS = frozenset(
    {
        "title",
        "color",
        "display",
        "axis",
        "show_series_values",
        "show_series_trendline",
        "line.interpolate",
        "line.style",
        "line.size",
        "line.marker_enabled",
        "line.missing",
    }
)
COMPARISONS: Mapping[str, frozenset[str]] = {
    "previousPeriod": frozenset(),
    "previousValue": frozenset(),
    "periodsAgo": frozenset({"value"}),
    "staticNumber": frozenset({"value", "label"}),
    "anotherColumn": frozenset({"column", "label"}),
}
ONE_COLUMN = (
    "scalar.field",
    "pie.metric",
    "progress.value",
    "map.dimension",
    "map.metric",
    "map.latitude_column",
    "map.longitude_column",
    "table.pivot_column",
    "table.cell_column",
)
MANY_COLUMNS = ("graph.dimensions", "graph.metrics", "graph.tooltip_columns")
Settings = Mapping[str, Any]


def settings_errors(display: str, settings: Settings) -> Iterator[str]:
    """What is wrong with a card's settings, one sentence per fault; nothing when all is well."""
    allowed = SETTINGS_BY_DISPLAY.get(display)
    if allowed is None:
        yield f"display {display!r} is none of {', '.join(sorted(SETTINGS_BY_DISPLAY))}"
        return
    for key in sorted(settings.keys() - allowed - ANY_CARD):
        yield f"visualization_settings.{key} means nothing to a {display}"
    for key in sorted(REQUIRED_BY_DISPLAY.get(display, frozenset()) - settings.keys()):
        yield f"visualization_settings.{key} is missing, without which a {display} does not draw"
    yield from column_settings_errors(settings)
    yield from series_errors(settings)
    yield from comparison_errors(settings)


def column_settings_errors(settings: Settings, extra: frozenset[str] = frozenset()) -> Iterator[str]:
    """Faults of `column_settings`: its keys are JSON text `["name","<output column>"]`."""
    for key, values in settings.get("column_settings", {}).items():
        if column_of_key(key) is None:
            yield f'visualization_settings.column_settings: {key!r} is not of the form ["name","column"]'
        for name in sorted(values.keys() - COLUMN_KEYS - extra):
            yield f"visualization_settings.column_settings.{key}.{name} is not known"


def series_errors(settings: Settings) -> Iterator[str]:
    """Faults of `series_settings`."""
    for series, values in settings.get("series_settings", {}).items():
        for name in sorted(values.keys() - SERIES_KEYS):
            yield f"visualization_settings.series_settings.{series}.{name} is not known"


def comparison_errors(settings: Settings) -> Iterator[str]:
    """Faults of a smartscalar's comparisons (Metabase shows three at most)."""
    comparisons = settings.get("scalar.comparisons", [])
    if len(comparisons) > 3:
        yield "visualization_settings.scalar.comparisons has more than three entries"
    for comparison in comparisons:
        kind = comparison.get("type")
        if kind not in COMPARISONS:
            yield f"visualization_settings.scalar.comparisons: type {kind!r} is not known"
        elif comparison.keys() != COMPARISONS[kind] | {"id", "type"}:
            wanted = ", ".join(sorted(COMPARISONS[kind] | {"id", "type"}))
            yield f"visualization_settings.scalar.comparisons: {kind} takes exactly {wanted}"


def column_of_key(key: str) -> str | None:
    """`score` of the key `["name","score"]`, None for anything else."""
    try:
        parsed = json.loads(key)
    except ValueError:
        return None
    if isinstance(parsed, list) and len(parsed) == 2 and parsed[0] == "name" and isinstance(parsed[1], str):
        return parsed[1]
    return None


def columns_named(settings: Settings) -> set[str]:
    """Every output column that the settings name, so that it can be compared with what the SQL returns."""
    names = {settings[key] for key in ONE_COLUMN if key in settings}
    for key in MANY_COLUMNS:
        names.update(settings.get(key, ()))
    dimension = settings.get("pie.dimension", ())
    names.update((dimension,) if isinstance(dimension, str) else dimension)
    names.update(column["name"] for column in settings.get("table.columns", ()))
    for rule in settings.get("table.column_formatting", ()):
        names.update(rule["columns"])
    names.update(
        comparison["column"]
        for comparison in settings.get("scalar.comparisons", ())
        if comparison.get("type") == "anotherColumn"
    )
    names.update(column_of_key(key) or key for key in settings.get("column_settings", {}))
    return names
