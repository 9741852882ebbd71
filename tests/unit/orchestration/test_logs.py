"""Logs as one JSON object a line, where that is asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from orchestration import logs
from warehouse.settings import Settings


@pytest.fixture(autouse=True)
def _levels_kept() -> Iterator[None]:
    root = logging.getLogger()
    before = [*root.handlers]
    yield
    root.handlers[:] = before
    for package in logs._OURS:
        logging.getLogger(package).setLevel(logging.NOTSET)


def test_a_line_is_an_object_whatever_the_message_holds(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json"))
    log = logging.getLogger("pipeline.loading.sync")
    hostile = 'two\nlines "quoted" {"level": "info"} \x1b[31m \u2028'
    log.warning("%s of %s", hostile, "acme", extra={"company": "acme"})
    try:
        raise ValueError("boom\nmore")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["message"] == f"{hostile} of acme"
    assert (first["level"], first["logger"], first["company"]) == ("warning", "pipeline.loading.sync", "acme")
    assert first["timestamp"].endswith("Z")
    assert (second["message"], second["level"]) == ("failed", "error")
    assert "ValueError: boom" in second["exception"]


@pytest.mark.parametrize(("level", "told"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_is_that_of_the_settings(level: str, told: int, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level=level))
    log = logging.getLogger("warehouse.anything")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert capsys.readouterr().err.splitlines() == ["a", "b", "c"][3 - told :]


def test_others_are_heard_from_warnings_on_and_twice_configured_is_once_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Settings(log_level="debug"))
    logs.configure(Settings(log_level="debug"))
    logging.getLogger("somebody.else").info("quiet")
    logging.getLogger("somebody.else").warning("loud")
    logging.getLogger("dagster.daemon").warning("Dagster writes this itself")
    assert capsys.readouterr().err == "loud\n"
