"""Unit tests that a new `ref` of their model breaks are named before dbt runs them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.development.checking import unit_test_faults

NODE = {"name": "mart", "package_name": "shop"}


def manifest(*given: str, model: str = "mart", package: str = "shop") -> dict[str, Any]:
    test = {"name": "rule", "model": model, "package_name": package, "given": [{"input": each} for each in given]}
    return {"unit_tests": {"unit_test.shop.mart.rule": test}}


def faults(code: str, tests: dict[str, Any]) -> list[str]:
    return [finding.text for finding in unit_test_faults(tests, [{**NODE, "raw_code": code}])]


def test_a_ref_that_a_unit_test_does_not_give_is_named_with_the_test() -> None:
    (text,) = faults("select * from {{ ref('a') }} join {{ ref( \"b\" ) }}", manifest("ref('a')"))
    assert text.startswith("its unit test rule gives no ref('b'), which the SQL reads")


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("select * from {{ ref('a') }}", manifest("ref('a')", "this")),
        ("-- depends_on: {{ ref('b') }}\n{# {{ ref('c') }} #}select * from {{ ref('a') }}", manifest("ref('a')")),
        ("select * from {{ ref('b') }}", manifest("ref('a')", model="another")),
        ("select * from {{ ref('b') }}", manifest("ref('a')", package="churn_warehouse")),
        ("select * from {{ source('raw', 'b') }}", manifest()),
    ],
)
def test_what_a_test_gives_and_what_no_row_is_read_of_is_no_fault(code: str, tests: dict[str, Any]) -> None:
    assert faults(code, tests) == []
