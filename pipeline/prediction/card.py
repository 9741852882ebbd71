"""A model's card: one HTML page without outside files, made from what a training found."""

from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from foundation.counting import counted
from ml_assets.model.calibrate import RANGE_SDS
from ml_assets.model.trained import TrainedModel
from ml_assets.task import PredictionTask
from ml_assets.training.train import TrainingResult

_TEMPLATE = Path(__file__).with_name("card.html.j2")
_FEW_OUTCOMES = 200
_VERDICTS = {
    "promoted": "It was found fit to publish.",
    "kept_champion": "It is a challenger: the champion before it went on publishing.",
    "too_few_outcomes": "There are too few outcomes for a model: this is the rule that stands in for one.",
}


def render_card(name: str, result: TrainingResult, task: PredictionTask, parameters: Mapping[str, str]) -> str:
    """The page as text. `name` heads it; `parameters` are those of the run, for repeating it."""
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(_TEMPLATE.read_text())
    report = result.report
    return template.render(
        name=name,
        task=task,
        facts=result.model.facts,
        rung=result.model.rung,
        features=result.model.encoder.features,
        left_out=result.decision.get("features", {}).get("left_out", []),
        evaluations=result.evaluations,
        chosen=result.decision.get("chosen"),
        reason=result.decision.get("reason", ""),
        verdict=_verdict(result),
        spans=_spans(result.split),
        report=report,
        plots=_plots(report) if report else None,
        calibration=describe_calibration(result.evaluations.get(str(result.decision.get("chosen"))) or {}),
        limits=limits_of(result),
        parameters=parameters,
        failed=result.decision.get("failed"),
        percent=lambda value: "–" if value is None else f"{value:.1%}",
        number=_number,
        ranged=_ranged,
    )


def describe_calibration(figures: Mapping[str, float | None]) -> str:
    """The calibration error over dates, in a sentence: one date's would be that of one month's season."""
    error, dates = figures.get("calibration_error_by_date"), int(figures.get("judged_dates") or 0)
    if error is None:
        return f"{counted(dates, 'date')} that no fit had learned from cannot tell how well it is calibrated."
    least, greatest = (figures[f"calibration_error_by_date_{end}"] for end in ("low", "high"))
    return f"Calibration error, mean of {dates} dates: {error:.3f} ({least:.3f} to {greatest:.3f})."


def with_track_record(page: str, sentence: str) -> str:
    """The page with what would have been said in the company's past months, before what limits it."""
    limits = "<h2>Limits</h2>"
    section = (
        f"<h2>Track record, replayed</h2>\n<p>{escape(sentence)} Each month was scored by a model that had learned "
        f"only from what was known then; this version made none of these scores.</p>\n\n{limits}"
    )
    return page.replace(limits, section, 1)


def limits_of(result: TrainingResult) -> list[str]:
    """What a reader must know before trusting it, in sentences."""
    limits = ["A score says what usually followed such figures; after a change of prices or product it lags."]
    judged = (result.evaluations.get(str(result.decision.get("chosen"))) or {}).get("outcomes")
    if judged is not None and judged < _FEW_OUTCOMES:
        limits.append(
            f"It was judged on {counted(int(judged), 'outcome')}: small differences between candidates are noise."
        )
    limits.append(_limit_of_split(result.split))
    limits += _limit_of_level(result.model)
    if result.model.rung == "pooled_model":
        limits.append("It is shared by several companies, and calibrated to all of them together.")
    limits.append(_describe_shape(result.report))
    return limits


def _limit_of_level(model: TrainedModel) -> list[str]:
    """How far all scores of a day may be too high or too low together."""
    if model.level is None:
        return []
    level = model.level.at(model.facts.trained_at.date())
    apart = np.exp(RANGE_SDS * level.sd)
    season = "" if level.is_season_seen else ", and no second year has shown the season yet"
    return [
        f"How many have the outcome rests on {counted(level.dates, 'date')}{season}: in odds, all scores of a day may "
        f"be up to {apart:.1f} times too high or too low together. Their order stands."
    ]


def _describe_shape(report: Mapping[str, Any]) -> str:
    shallower = report.get("shallower")
    if not shallower:
        return "Its reasons cost next to nothing: no shallower shape would be cheaper to explain."
    cost = shallower["reason_cost"] / report["reason_cost"]
    return (
        f"With trees one level less deep its reasons would cost {cost:.0%} of what they cost now, and its log loss "
        f"would change by {shallower['log_loss_lost']:+.4f} ({shallower['log_loss_lost_low']:+.4f} to "
        f"{shallower['log_loss_lost_high']:+.4f}; more is worse); its AUC would be {_number(shallower['auc'])}."
    )


def _limit_of_split(split: Mapping[str, Any]) -> str:
    match split.get("mode"):
        case "three_way":
            return (
                "What was judged had not learned from the newest dates; what publishes has, and may do better or worse."
            )
        case "by_entity":
            return f"Nothing shows yet whether tomorrow is like today: {split['note']}."
        case _:
            return f"The slope of its calibration is not fitted: {split.get('note')}."


def _verdict(result: TrainingResult) -> str:
    compared = result.decision.get("champion", {})
    return (
        f"{_VERDICTS[result.status]} {'Against the champion: ' + compared['reason'] + '.' if compared else ''}".strip()
    )


def _spans(split: Mapping[str, Any]) -> list[tuple[str, str]]:
    labels = {"fit": "Fitted on", "calibrate": "Calibrated on", "test": "Judged on"}
    return [
        (label, f"{split[part][0]} to {split[part][-1]} ({counted(len(split[part]), 'date')})")
        for part, label in labels.items()
        if split.get(part)
    ]


def _number(value: float | None, decimals: int = 3) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"


def _ranged(figures: Mapping[str, float | None], metric: str, decimals: int = 3) -> str:
    """A figure with its interval, where there is one."""
    low, high = figures.get(f"{metric}_low"), figures.get(f"{metric}_high")
    figure = _number(figures.get(metric), decimals)
    return figure if low is None or high is None else f"{figure} ({low:.{decimals}f} to {high:.{decimals}f})"


def _plots(report: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, str]:
    """Calibration and lift as inline SVG."""
    from matplotlib.figure import Figure

    calibration = Figure(figsize=(4.5, 3.6), layout="constrained")
    axes = calibration.subplots()
    bins = report["calibration"]
    promised, kept = [bucket["promised"] for bucket in bins], [bucket["kept"] for bucket in bins]
    errors = [
        [max(0.0, bucket["kept"] - bucket["kept_low"]) for bucket in bins],
        [max(0.0, bucket["kept_high"] - bucket["kept"]) for bucket in bins],
    ]
    axes.errorbar(promised, kept, yerr=errors, fmt="o", capsize=3, color="#1f5fa8")
    end = max([*promised, *(bucket["kept_high"] for bucket in bins)])
    axes.plot([0, end], [0, end], color="#999", linewidth=1)
    axes.set(title="Promised and kept", xlabel="promised probability", ylabel="share with the outcome")
    lift = Figure(figsize=(4.5, 3.6), layout="constrained")
    axes = lift.subplots()
    axes.bar([row["tenth"] for row in report["lift"]], [row["lift"] for row in report["lift"]], color="#1f5fa8")
    axes.axhline(1, color="#999", linewidth=1)
    axes.set(title="Lift by tenth, the riskiest first", xlabel="tenth", ylabel="outcomes over the average")
    return {"calibration": _svg(calibration), "lift": _svg(lift)}


def _svg(figure: Any) -> str:
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
