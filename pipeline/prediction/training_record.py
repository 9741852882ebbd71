"""What is recorded of a training: its metrics, its parameters, and the report that it can be repeated from. Pure.

Where it is recorded belongs in `registry.py`.
"""

from __future__ import annotations

import re

import orjson

from ml_assets.training.train import TrainingResult

_LONGEST_PARAMETER = 500
_NOT_IN_A_METRIC = re.compile(r"[^\w./ -]")
"""What MLflow does not take in the name of a metric."""


def metrics_of(result: TrainingResult) -> dict[str, float]:
    """Every candidate's metrics as "candidate/metric", and the counts; what has no value is left out."""
    counts = {f"training/{name}": float(value) for name, value in vars(result.counts).items()}
    judged = {
        _NOT_IN_A_METRIC.sub("_", f"{candidate}/{metric}"): value
        for candidate, metrics in result.evaluations.items()
        for metric, value in metrics.items()
        if value is not None
    }
    return counts | judged | _fold_metrics(result)


def parameters_of(result: TrainingResult) -> dict[str, str]:
    """What a training can be repeated from, as MLflow's text parameters."""
    facts = result.model.facts
    parameters = {
        "estimator": result.model.estimator.kind,
        "horizon_days": facts.horizon_days,
        "seed": facts.seed,
        "rows": facts.rows,
        "base_rate": facts.base_rate,
        "features": len(result.model.encoder.features),
        "feature_version": facts.feature_version,
        "split": result.split.get("mode"),
        "threads": facts.threads,
        "fingerprint": facts.fingerprint,
        "folds": orjson.dumps(result.decision.get("search", {}).get("folds", [])).decode(),
        "calibration_slope": result.model.calibrator.slope,
        "calibration_intercept": result.model.calibrator.intercept,
        **{f"setting.{key}": value for key, value in result.model.estimator.settings().items()},
        **{f"library.{key}": value for key, value in facts.libraries.items()},
    }
    return {key: str(value)[:_LONGEST_PARAMETER] for key, value in parameters.items()}


def report_of(result: TrainingResult) -> bytes:
    """Split, decision, evaluations, report and features as JSON: to read in MLflow, and to repeat the training from."""
    report = {
        "status": result.status,
        "rung": result.model.rung,
        "counts": vars(result.counts),
        "split": result.split,
        "decision": result.decision,
        "evaluations": result.evaluations,
        "report": result.report,
        "features": [vars(feature) for feature in result.model.encoder.features],
        "facts": vars(result.model.facts),
    }
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)


def _fold_metrics(result: TrainingResult) -> dict[str, float]:
    """Each fold's log loss of the settings that the search chose, as "fold/candidate/number/log_loss"."""
    candidates = result.decision.get("search", {}).get("candidates", {})
    return {
        f"fold/{candidate}/{number}/log_loss": loss
        for candidate, search in candidates.items()
        for number, loss in enumerate(search["fold_log_loss"], 1)
    }
