"""What a change does to predictions, as people and programs read it: one Markdown, one JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from foundation.counting import counted
from ml_assets.change.judging import Judgement
from ml_assets.change.moves import Moves
from ml_assets.judging.evaluate import Difference
from ml_assets.task import Feature
from pipeline.development.markdown import cell
from pipeline.development.training import ChangedModel, NotCompared

_MEASURES: Mapping[str, tuple[str, int, int]] = {
    "auc": ("AUC", 4, 1),
    "average_precision": ("average precision", 4, 1),
    "log_loss": ("log loss", 4, -1),
    "calibration_error": ("calibration error", 4, -1),
}
"""Title, decimals, and which way is better, in the order in which they are read."""


def verdict(changed: ChangedModel) -> str:
    """What the change does, in a sentence or two."""
    judgement = changed.judgement
    if changed.is_leaking:
        reasons = "; ".join(_leaks(changed))
        return f"Do not use it: {reasons}{'' if reasons.endswith('?') else '.'}"
    if changed.change.is_empty:
        return "No feature differs: the model stays as it is."
    if judgement.gain is None:
        return "Nothing can be said: too few outcomes lie in the past to learn from some and judge on others."
    figures = f"log loss {judgement.before['log_loss']:.4f} → {judgement.after['log_loss']:.4f}"
    rows = (
        f"on {counted(judgement.rows, 'row')} of {counted(judgement.entities, changed.entity)}, "
        f"{judgement.outcomes:,} with the outcome"
    )
    gain = f"a gain of {_signed(judgement.gain)}"
    if judgement.verdict == "better":
        return f"Better for certain: {figures}, {gain}, {rows}.{_placebo(judgement)}"
    if judgement.verdict == "worse":
        return f"Worse: {figures}, {gain}, {rows}.{_placebo(judgement)}"
    return f"No difference that this much data could show: {figures}, {gain}, {rows}.{_placebo(judgement)}"


def training_json(compared: Sequence[ChangedModel | NotCompared]) -> str:
    """A list of objects, one per model: names, verdict, figures, new columns, moves."""
    return orjson.dumps([_plain(each) for each in compared], option=orjson.OPT_SERIALIZE_NUMPY).decode()


def training_markdown(compared: Sequence[ChangedModel | NotCompared]) -> str:
    """A page for the terminal and for a pull request."""
    lines: list[str] = []
    for each in compared:
        if isinstance(each, ChangedModel):
            lines += [*_model(each), ""]
    lines += [f"{each.company} {each.reason}.  " for each in compared if isinstance(each, NotCompared)]
    return "\n".join(lines) or "No company of this place has the task."


def _model(changed: ChangedModel) -> Iterator[str]:
    judgement = changed.judgement
    yield f"## {', '.join(changed.companies.values())}: {changed.version}, {changed.candidate}"
    yield ""
    yield f"**{verdict(changed)}**"
    yield ""
    for title, features in (
        ("Added", changed.change.added),
        ("Altered", changed.change.altered),
        ("Removed", changed.change.removed),
    ):
        if features:
            yield f"{title}: {', '.join(feature.name for feature in features)}.  "
    if changed.only_before or changed.only_after:
        yield (
            f"Not compared: {counted(changed.only_before, 'row')} that production alone has, "
            f"{counted(changed.only_after, 'row')} that the place alone has.  "
        )
    if not changed.publishes:
        yield "The rule publishes today, for no candidate passed the gate: this is what the best of them would do.  "
    if judgement.folds is not None:
        yield f"{_how_judged(judgement)}  "
    yield ""
    yield from _measures(judgement)
    yield from _columns(changed)
    if changed.moves is not None:
        yield from _moves(changed, changed.moves)


def _leaks(changed: ChangedModel) -> Iterator[str]:
    for peek in changed.peeks:
        new = {feature.name for feature in changed.change.new}
        names = [name for name in peek.features if name in new]
        yield f"{' and '.join(f'`{name}`' for name in names)} {peek.reason_of(len(names))}"
    for suspicion in changed.judgement.suspicions:
        yield f"`{suspicion.feature.name}` {suspicion.reason}"


def _placebo(judgement: Judgement) -> str:
    if not judgement.placebo_gains:
        return ""
    low, high = min(judgement.placebo_gains), max(judgement.placebo_gains)
    return (
        f" With the new columns shuffled among the customers of a date the gain is {low:+.4f} to {high:+.4f} "
        f"({len(judgement.placebo_gains)} times)."
    )


def _how_judged(judgement: Judgement) -> str:
    folds = judgement.folds
    if folds is None:
        return ""
    if folds.mode == "by_entity":
        return (
            f"Judged on other customers of the same dates, in {len(folds.folds)} parts: the history is too short to "
            "judge on later dates."
        )
    spans = ", ".join(f"{fold.first:%Y-%m} to {fold.last:%Y-%m}" for fold in folds.folds)
    return f"Judged on dates after those that were learned from: {spans}."


def _measures(judgement: Judgement) -> Iterator[str]:
    if not judgement.differences:
        return
    yield "| | without | with | difference (95% interval, by customer) |"
    yield "|---|---:|---:|---|"
    for name, (title, decimals, better) in _MEASURES.items():
        difference = judgement.differences.get(name)
        if difference is not None:
            before, after = (figures[name] or 0.0 for figures in (judgement.before, judgement.after))
            yield (
                f"| {title} | {before:.{decimals}f} | {after:.{decimals}f} | "
                f"{_signed(difference)}{_direction(difference, better)} |"
            )


def _direction(difference: Difference, better: int) -> str:
    if difference.low <= 0 <= difference.high:
        return ""
    return ", better" if difference.value * better > 0 else ", worse"


def _columns(changed: ChangedModel) -> Iterator[str]:
    weights = changed.moves.weights if changed.moves else {}
    ranks = {name: rank for rank, name in enumerate(weights, 1)}
    if changed.judgement.columns:
        yield ""
        yield "| new column | weight | goes with | explained by all others |"
        yield "|---|---|---|---:|"
    for column in changed.judgement.columns:
        name = column.feature.name
        weight = f"{weights[name]:.1%}, {ranks[name]} of {len(weights)}" if name in weights else "–"
        if column.is_left_out:
            weight += "; a training leaves it out, for outcomes are few"
        nearest = ", ".join(f"{other} {closeness:.2f}" for other, closeness in column.nearest.items())
        explained = "–" if column.explained is None else f"{column.explained:.0%}"
        yield f"| {name} | {weight} | {nearest} | {explained} |"


def _moves(changed: ChangedModel, moves: Moves) -> Iterator[str]:
    yield ""
    yield f"{moves.changed_levels:,} of {counted(moves.entities, changed.entity)} would have another risk level."
    levels = {pair: number for pair, number in moves.levels.items() if pair[0] != pair[1]}
    if levels:
        yield f"{'; '.join(f'{before} → {after}: {number:,}' for (before, after), number in levels.items())}."
    if not moves.most_moved:
        return
    yield ""
    yield f"| {changed.entity} | without | with | moved most by | reasons with the change |"
    yield "|---|---|---|---|---|"
    for move in moves.most_moved:
        company = changed.companies.get(move.company_id, "")
        who = move.entity_id if len(changed.companies) == 1 else f"{company} {move.entity_id}"
        yield (
            f"| {cell(who)} | {move.before:.1%} {move.level_before} | {move.after:.1%} {move.level_after} | "
            f"{cell(move.feature)} | {cell('; '.join(move.reasons))} |"
        )


def _signed(difference: Difference) -> str:
    return f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"


def _plain(compared: ChangedModel | NotCompared) -> dict[str, Any]:
    if isinstance(compared, NotCompared):
        return {"companies": compared.company, "not_compared": compared.reason}
    judgement, moves = compared.judgement, compared.moves
    weights = {} if moves is None else moves.weights
    return {
        "companies": list(compared.companies.values()),
        "model": str(compared.version),
        "candidate": compared.candidate,
        "verdict": "leaks" if compared.is_leaking else judgement.verdict,
        "sentence": verdict(compared),
        **{kind: [feature.name for feature in features] for kind, features in _kinds(compared)},
        "before": judgement.before,
        "after": judgement.after,
        "differences": {name: vars(difference) for name, difference in judgement.differences.items()},
        "placebo_gains": judgement.placebo_gains,
        "columns": [
            {
                **vars(column),
                "feature": column.feature.name,
                "weight": weights.get(column.feature.name),
            }
            for column in judgement.columns
        ],
        "leaks": list(_leaks(compared)),
        "changed_levels": None if moves is None else moves.changed_levels,
        "most_moved": [] if moves is None else [vars(move) for move in moves.most_moved],
    }


def _kinds(changed: ChangedModel) -> Iterator[tuple[str, Sequence[Feature]]]:
    yield "added", changed.change.added
    yield "altered", changed.change.altered
    yield "removed", changed.change.removed
