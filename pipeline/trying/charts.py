"""The charts of a trial's page, in the report's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.telling.charts import PALETTE, STYLE, as_svg

Report = Mapping[str, Sequence[Mapping[str, Any]]]
_BLUE, _RED, _GREY = PALETTE[0], PALETTE[1], "#8A94A0"
_LONGEST_NAME = 46


def calibration_chart(report: Report) -> str:
    """Promised against kept, with Wilson's intervals, beside the line of what would be kept to the letter."""
    bins = report["calibration"]
    promised, kept = [each["promised"] for each in bins], [each["kept"] for each in bins]
    errors = [
        [max(0.0, each["kept"] - each["kept_low"]) for each in bins],
        [max(0.0, each["kept_high"] - each["kept"]) for each in bins],
    ]
    end = max([*promised, *(each["kept_high"] for each in bins)])
    with mpl.rc_context(STYLE | {"svg.hashsalt": "calibration"}):
        figure = Figure(figsize=(6.2, 3.4))
        axes = figure.subplots()
        axes.plot([0, end], [0, end], color=_GREY, linewidth=1, linestyle="--")
        axes.errorbar(promised, kept, yerr=errors, fmt="o", capsize=3, color=_BLUE, markersize=5)
        axes.set(xlabel="promised", ylabel="kept")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0 if end > 0.05 else 1))
        return as_svg(figure, "Promised and kept")


def lift_chart(report: Report) -> str:
    """The outcome's share in each tenth over its share in all."""
    tenths = report["lift"]
    with mpl.rc_context(STYLE | {"svg.hashsalt": "lift"}):
        figure = Figure(figsize=(6.2, 3.4))
        axes = figure.subplots()
        bars = axes.bar([each["tenth"] for each in tenths], [each["lift"] for each in tenths], 0.75, color=_BLUE)
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
        axes.axhline(1, color=_GREY, linewidth=1, linestyle="--")
        axes.set(xlabel="tenth, the highest risk first", ylabel="times the share of all")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.grid(visible=False, axis="x")
        return as_svg(figure, "Lift by tenth")


def driver_chart(report: Report) -> str:
    """The columns' shares of all contributions, the largest on top."""
    drivers = list(report["drivers"])[::-1]
    names = [_short(each["label"]) for each in drivers]
    with mpl.rc_context(STYLE | {"svg.hashsalt": "drivers"}):
        figure = Figure(figsize=(12.6, min(max(0.55 + 0.3 * len(drivers), 1.6), 5.2)))
        axes = figure.subplots()
        bars = axes.barh(range(len(drivers)), [each["share"] for each in drivers], 0.68, color=_RED)
        axes.set_yticks(range(len(drivers)), names)
        axes.bar_label(bars, fmt=lambda value: f"{value:.0%}", fontsize=8.5, padding=3)
        axes.margins(x=0.08)
        axes.xaxis.set_visible(False)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return as_svg(figure, "What moves the scores")


def _short(name: str) -> str:
    """In one line, and no formula of matplotlib's."""
    text = " ".join(name.split()).replace("$", r"\$")
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
