"""What `meta.feature` may say: dbt's macro, called as Python calls it, on columns that are described wrongly."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
import yaml

from ml_assets.task import FeatureKind
from pipeline.features.catalogue import PROJECT_DIRECTORY
from pipeline.features.dbt_macros import MacroRefused, call_macro

RIGHT = {
    "label": "Refunds in the last 30 days",
    "unit": "refunds",
    "family": "payments",
    "kind": "number",
    "basis": "event_times",
}
_MACRO = re.compile(r"\{%-? macro (\w+)\(.*?\{%-? endmacro -?%\}", re.DOTALL)


def _manifest(meta: object, *, is_of_a_mart: bool = True) -> dict[str, Any]:
    """As much of a manifest as the macros read: one model with one described column."""
    texts = [path.read_text() for path in (PROJECT_DIRECTORY / "macros" / "machinery").glob("*.sql")]
    columns: dict[str, Any] = {"refunds_30d": {"name": "refunds_30d", "config": {"meta": meta}}}
    if is_of_a_mart:
        columns["feature_version"] = {"name": "feature_version"}
    return {
        "metadata": {"project_name": "churn_warehouse"},
        "macros": {
            macro[1]: {"name": macro[1], "package_name": "churn_warehouse", "macro_sql": macro[0]}
            for text in texts
            for macro in _MACRO.finditer(text)
        },
        "nodes": {"model.x": {"name": "payment_features", "resource_type": "model", "columns": columns}},
    }


def _said(meta: object, *, is_of_a_mart: bool = True) -> str:
    with pytest.raises(MacroRefused) as refused:
        call_macro(_manifest(meta, is_of_a_mart=is_of_a_mart), "refuse_unknown_words_of_features")
    return str(refused.value)


def _without(key: str) -> dict[str, str]:
    return {name: value for name, value in RIGHT.items() if name != key}


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (RIGHT | {"basis": "attribute"}, "basis is 'attribute'; use one of event_times, attributes"),
        (RIGHT | {"basis": None}, "basis is 'None'; use one of event_times, attributes"),
        (RIGHT | {"basis": ["event_times"]}, "use one of event_times, attributes"),
        (_without("basis"), "basis is missing; use one of event_times, attributes"),
        (RIGHT | {"kind": "nummber"}, "kind is 'nummber'; use one of number, category, flag"),
        (_without("kind"), "kind is missing; use one of number, category, flag"),
        (
            RIGHT | {"family": "payment"},
            "family is 'payment'; use one of customer, tickets, payments, activity, engagement",
        ),
        (RIGHT | {"unit": "day"}, "unit is 'day'; use one of days, "),
        (_without("unit"), "unit is missing; use one of days, "),
        (_without("label") | {"lable": "Refunds"}, "'lable' is no key; use label, family, kind, basis, unit"),
        (_without("label"), "label is missing"),
        (RIGHT | {"label": "  "}, "label is missing"),
        (RIGHT | {"label": "Days since the change of plan", "price or seats": None}, "'price or seats' is no key"),
        (RIGHT | {"deprecated_on": "soon"}, "deprecated_on is 'soon'; write a date as 2026-03-01"),
        (RIGHT | {"deprecated_on": "2026-13-01"}, "deprecated_on is '2026-13-01'"),
        (RIGHT | {"deprecated_on": None}, "deprecated_on is 'None'"),
        ("Refunds", "feature is no mapping of label, family, kind, basis, unit"),
        (None, "feature is no mapping of label, family, kind, basis, unit"),
    ],
)
def test_what_no_feature_may_say_is_refused_with_the_words_that_are_allowed(feature: object, message: str) -> None:
    said = _said({"feature": feature})

    assert "payment_features.refunds_30d: " in said
    assert message in said


def test_a_mistyped_feature_is_seen_in_a_mart_and_other_meta_is_free_elsewhere() -> None:
    assert "meta has 'featrue'; a mart's columns have: feature" in _said({"featrue": RIGHT})
    call_macro(_manifest({"metabase.semantic_type": "type/PK"}, is_of_a_mart=False), "refuse_unknown_words_of_features")
    assert "kind is missing" in _said({"feature": _without("kind")}, is_of_a_mart=False)


def test_a_feature_that_says_all_and_nothing_else_passes() -> None:
    manifest = _manifest({"feature": RIGHT})

    call_macro(manifest, "refuse_unknown_words_of_features")

    (feature,) = call_macro(manifest, "features_of", "payment_features")
    assert feature == RIGHT | {"name": "refunds_30d", "model_name": "payment_features"}


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = _said({"feature": {"kind": "nummber", "lable": "Refunds"}})

    for complaint in ("'lable' is no key", "label is", "kind is", "family is", "basis is", "unit is"):
        assert complaint in said


def test_the_kinds_are_those_that_python_knows() -> None:
    variables = yaml.safe_load((PROJECT_DIRECTORY / "dbt_project.yml").read_text())["vars"]

    assert tuple(variables["feature_words"]["kind"]) == get_args(FeatureKind)


def test_a_macro_that_the_manifest_does_not_hold_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        call_macro(_manifest(None), "no_such_macro")
