"""Logs of a collector, to standard error: what it does, and no word of an event or of a key."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog import processors, stdlib

from warehouse.settings import Settings


def configure(settings: Settings) -> None:
    """Ours from CHURN_LOG_LEVEL on, others' warnings; with CHURN_LOG_FORMAT=json one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if settings.log_format == "json" else logging.Formatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("serving").setLevel(settings.log_level.upper())


def _json() -> logging.Formatter:
    return stdlib.ProcessorFormatter(
        foreign_pre_chain=[stdlib.add_log_level, stdlib.add_logger_name, processors.TimeStamper(fmt="iso", utc=True)],
        processors=[
            stdlib.ProcessorFormatter.remove_processors_meta,
            processors.format_exc_info,
            processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
