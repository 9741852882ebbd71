"""A card's rows as a picture or as words: charts in SVG by matplotlib, numbers with their currency. No SQL here.

SVG with its text left as text: small, sharp on paper, read by screen readers, opened by any mail program's browser.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.integrations.metabase.definitions import CardDefinition

PALETTE = ("#2F5D8A", "#A3123A", "#3B8F86", "#F2A86F", "#7A6C9D", "#8A94A0", "#C9A227", "#5B8C5A")
INK, GRID = "#33404D", "#E3E8ED"
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#B9C3CD",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.constrained_layout.use": True,
}
# A chart of one or two bars keeps their thickness.
FEWEST_ROW_PLACES = 3
MONTHS_APART = {"month": 1, "moved_month": 1, "as_of_month": 1, "quarter_start": 3}
"""Dimensions of which every month or quarter between the first and the last has its place, filled or not."""

CARTESIAN = ("line", "bar", "area", "row")
Rows = Sequence[Mapping[str, Any]]


def column_settings(card: CardDefinition, column: str) -> Mapping[str, Any]:
    """How a column is written."""
    settings: Mapping[str, Any] = card.visualization_settings.get("column_settings", {}).get(f'["name","{column}"]', {})
    return settings


def written(value: Any, settings: Mapping[str, Any], *, short: bool = False) -> str:
    """A value as a reader sees it; nothing is an em dash. `short` is for axes: 12k, 1.2M."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%-d %b %Y %H:%M}" if settings.get("time_enabled") == "minutes" else f"{value:%-d %b %Y}"
    if isinstance(value, date):
        return f"{value:%-d %b %Y}"
    if isinstance(value, str):
        return value
    return number_written(float(value), settings, short=short)


def number_written(number: float, settings: Mapping[str, Any], *, short: bool = False) -> str:
    """A number with its unit: 12.5%, €1,234, 3.2."""
    decimals = settings.get("decimals")
    if settings.get("number_style") == "percent":
        return f"{number:.{decimals if decimals is not None else 1}%}"
    sign = "−" if number < 0 else ""
    amount = abs(number)
    if short and amount >= 10_000:
        text = f"{amount / 1e6:.1f}M" if amount >= 1e6 else f"{amount / 1e3:.0f}k"
    elif decimals is None:
        text = f"{amount:,.0f}" if amount == int(amount) else f"{amount:,.2f}"
    else:
        text = f"{amount:,.{decimals}f}"
    if settings.get("number_style") == "currency":
        currency = str(settings["currency"])
        return f"{sign}{SYMBOLS[currency]}{text}" if currency in SYMBOLS else f"{sign}{currency} {text}"
    return f"{sign}{settings.get('prefix', '')}{text}{settings.get('suffix', '')}"


def at_axis(text: str) -> str:
    """12% of 12.0%: beside an axis a whole number is written as one."""
    return re.sub(r"\.0(?=\D*$)", "", text)


def chart(card: CardDefinition, rows: Rows) -> str:
    """The card as an <svg>; `rows` must hold something. For the displays in CARTESIAN."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": card.entity_id}):
        height = 0.55 + 0.34 * len(rows) if card.display == "row" else 2.9
        figure = Figure(figsize=(6.2, min(max(height, 1.6), 4.2)))
        axes = figure.subplots()
        if card.display == "row":
            draw_row(axes, card, rows)
        else:
            draw_cartesian(axes, card, rows)
        return as_svg(figure, card.name)


def sparkline(values: Sequence[float], name: str) -> str:
    """A small line without axes."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(2.4, 0.42))
        axes = figure.subplots()
        axes.axis("off")
        axes.plot(values, color="#8A94A0", linewidth=1.6)
        axes.plot([len(values) - 1], values[-1:], "o", color="#A3123A", markersize=4)
        return as_svg(figure, name)


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> that scales with the page and tells its name to who cannot see it."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    label = name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(
        r'<svg [^>]*viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{label}">', svg, count=1
    )


def series_of(card: CardDefinition, rows: Rows) -> tuple[list[Any], dict[str, list[float | None]]]:
    """The places on the axis, and per series its value at each (None where there is none)."""
    settings = card.visualization_settings
    dimensions, metrics = settings["graph.dimensions"], settings["graph.metrics"]
    places = list(dict.fromkeys(row[dimensions[0]] for row in rows))
    if all(isinstance(place, date | int) for place in places):
        places.sort()
    if dimensions[0] in MONTHS_APART:
        places = without_leaps(places, MONTHS_APART[dimensions[0]])
    series: dict[str, dict[Any, float]] = {}
    for row in rows:
        for metric in metrics:
            name = str(row[dimensions[1]]) if len(dimensions) > 1 else metric
            if row[metric] is not None:
                series.setdefault(name, {})[row[dimensions[0]]] = float(row[metric])
    return places, {name: [values.get(place) for place in places] for name, values in series.items()}


def without_leaps(months: Sequence[date], apart: int) -> list[date]:
    """The months with those that are missing between them, so that a gap is drawn for them; apart: in months."""
    if not months:
        return []
    numbers = [month.year * 12 + month.month - 1 for month in months]
    return [date(number // 12, number % 12 + 1, 1) for number in range(numbers[0], numbers[-1] + 1, apart)]


def look(card: CardDefinition, name: str, number: int) -> tuple[str, str]:
    """The title and colour of a series."""
    settings = card.visualization_settings.get("series_settings", {}).get(name, {})
    return str(settings.get("title", name)), str(settings.get("color", PALETTE[number % len(PALETTE)]))


def draw_cartesian(axes: Axes, card: CardDefinition, rows: Rows) -> None:
    """Lines or bars over time, a number or categories."""
    settings = card.visualization_settings
    places, series = series_of(card, rows)
    is_stacked = settings.get("stackable.stack_type") == "stacked"
    above, below = [0.0] * len(places), [0.0] * len(places)
    width = 0.8 if is_stacked else 0.8 / max(len(series), 1)
    for number, (name, values) in enumerate(series.items()):
        title, color = look(card, name, number)
        if card.display != "bar":
            gaps = [float("nan") if value is None else value for value in values]
            # A point that is the largest of all lies on the edge, and would be cut in half.
            is_points = len(places) < 3
            marker = "o" if is_points else ""
            axes.plot(
                range(len(places)), gaps, label=title, color=color, linewidth=2, marker=marker, clip_on=not is_points
            )
            continue
        heights = [value or 0.0 for value in values]
        if is_stacked:
            bottoms = [above[at] if height >= 0 else below[at] for at, height in enumerate(heights)]
            axes.bar(range(len(places)), heights, width, bottom=bottoms, label=title, color=color)
            for at, height in enumerate(heights):
                (above if height >= 0 else below)[at] += height
        else:
            shift = (number - (len(series) - 1) / 2) * width
            bars = axes.bar([at + shift for at in range(len(places))], heights, width, label=title, color=color)
            if settings.get("graph.show_values") and len(places) <= 12:
                axes.bar_label(bars, fmt=lambda value: written(value, {}, short=True), fontsize=8, padding=2)
    if settings.get("graph.show_goal"):
        axes.axhline(settings["graph.goal_value"], color="#8A94A0", linewidth=1, linestyle="--")
    how = column_settings(card, settings["graph.metrics"][0])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: at_axis(written(value, how, short=True))))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=how.get("number_style") is None))
    low, high = settings.get("graph.y_axis.min"), settings.get("graph.y_axis.max")
    if low is not None or high is not None:
        axes.set_ylim(low, high)
    axes.grid(visible=False, axis="x")
    if len(places) < 4:
        axes.set_xlim(-1.5, len(places) + 0.5)
    name_places(axes, places)
    if len(series) > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=min(len(series), 4),
            frameon=False,
            fontsize=8.5,
            handlelength=1.1,
            columnspacing=1.2,
            borderaxespad=0.2,
        )


def name_places(axes: Axes, places: Sequence[Any]) -> None:
    """At most eight names along the axis, months as such."""
    step = max(1, -(-len(places) // 8))
    ticks = list(range(len(places)))[::-1][::step][::-1]
    days = [place for place in places if isinstance(place, date)]
    by_month = bool(days) and all(day.day == 1 for day in days)

    def name(place: Any) -> str:
        if isinstance(place, date):
            return f"{place:%b %y}" if by_month else f"{place:%-d %b %y}"
        return str(place)

    axes.set_xticks(ticks, [name(places[at]) for at in ticks])
    axes.tick_params(axis="x", length=0)


def draw_row(axes: Axes, card: CardDefinition, rows: Rows) -> None:
    """Bars side by side from the left, the largest on top, each with its number; several metrics follow each other."""
    settings = card.visualization_settings
    dimension, metrics = settings["graph.dimensions"][0], settings["graph.metrics"]
    names = [str(row[dimension]) for row in rows][::-1]
    names = [name if len(name) <= 46 else f"{name[:45]}…" for name in names]
    begins = [0.0] * len(rows)
    for number, metric in enumerate(metrics):
        values = [float(row[metric] or 0) for row in rows][::-1]
        if number > 0 and not any(values):
            continue
        title, color = look(card, metric, number)
        bars = axes.barh(names, values, 0.68, left=begins, color=color, label=title)
        begins = [begin + value for begin, value in zip(begins, values, strict=True)]
    how = column_settings(card, metrics[0])
    axes.bar_label(bars, [written(end, how, short=True) for end in begins], fontsize=8.5, padding=3)
    if len(axes.containers) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=8.5, handlelength=1.1)
    axes.margins(x=0.12)
    if len(rows) < FEWEST_ROW_PLACES:
        axes.set_ylim(len(rows) - FEWEST_ROW_PLACES - 0.5, len(rows) - 0.5)
    axes.xaxis.set_visible(False)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
