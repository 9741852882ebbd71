"""What Dagster is told of a dbt model's end."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from orchestration.dbt_assets import ROWS_WRITTEN, dagster_events, rows_written


@pytest.mark.parametrize(
    ("event", "answer", "rows"),
    [
        ("LogModelResult", "INSERT 0 849", 849),
        ("LogModelResult", "INSERT 0 0", 0),
        ("LogModelResult", "SELECT 12", 12),
        ("LogModelResult", "CREATE VIEW", None),
        ("LogModelResult", None, None),
        ("LogTestResult", "SELECT 12", None),
    ],
)
def test_rows_are_those_that_postgres_answered(event: str, answer: str | None, rows: int | None) -> None:
    assert rows_written({"info": {"name": event}, "data": {"status": answer}}) == rows


def test_a_tables_materialization_says_how_many_rows_were_written_beside_what_else_is_known() -> None:
    made = dg.Output(None, output_name="mart", metadata={"Execution Duration": 1.5})

    def events(**_: object) -> Iterator[Any]:
        yield made
        yield dg.AssetCheckResult(passed=True)

    end = {"info": {"name": "LogModelResult"}, "data": {"status": "INSERT 0 7"}}
    invocation: Any = SimpleNamespace(
        manifest={},
        dagster_dbt_translator=None,
        context=None,
        target_path=None,
        project=None,
    )

    message: Any = SimpleNamespace(raw_event=end, to_default_asset_events=events)

    output, check = dagster_events(invocation, message)

    assert output.metadata[ROWS_WRITTEN].value == 7
    assert output.metadata["Execution Duration"].value == 1.5
    assert isinstance(check, dg.AssetCheckResult)
