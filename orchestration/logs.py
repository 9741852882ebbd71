"""Logs of a process: from CHURN_LOG_LEVEL on, as text or, with CHURN_LOG_FORMAT=json, one JSON object a line.

What a command prints for people is no log, and stays as it is. Dagster's services take the same two settings as
arguments, for they log before they load anything of ours.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from warehouse.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

_OURS = ("orchestration", "pipeline", "warehouse", "ml_assets")


def configure(settings: Settings) -> None:
    """Write this process's logs to standard error: ours from the level of the settings on, others' warnings.

    Dagster's it writes itself.
    """
    # MLflow would write its lines a second time, in a format of its own.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _StandardError)]:
        root.removeHandler(handler)
    root.addHandler(_StandardError(_json() if settings.log_format == "json" else logging.Formatter("%(message)s")))
    for package in _OURS:
        logging.getLogger(package).setLevel(settings.log_level.upper())


def of_runs(settings: Settings) -> dict[str, dg.LoggerDefinition]:
    """What a run of Dagster logs by."""
    import dagster as dg

    return {"console": dg.json_console_logger if settings.log_format == "json" else dg.colored_console_logger}


class _StandardError(logging.Handler):
    """Whatever standard error is at the time: tests and Dagster put another in its place."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.addFilter(lambda record: not record.name.startswith("dagster"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what cannot be written ends nothing."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)


def _json() -> logging.Formatter:
    import structlog
    from structlog import processors, stdlib

    return stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            stdlib.add_log_level,
            stdlib.add_logger_name,
            processors.TimeStamper(fmt="iso", utc=True),
            stdlib.ExtraAdder(),
        ],
        processors=[
            stdlib.ProcessorFormatter.remove_processors_meta,
            processors.format_exc_info,
            processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
