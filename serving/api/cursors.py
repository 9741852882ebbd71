"""Cursors of pages: opaque to who holds them, and good for one set and one question alone."""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import date
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.api.problems import Refused
from warehouse.publication.served import Place, PublishedOne


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    day: str
    edition: str
    question: str
    probability: float
    customer_id: str


def edition_of(published: PublishedOne) -> str:
    """Another one where the same date was published again."""
    return _digest([published.published_at.isoformat(), published.newest_cursor, published.scores])


def question_of(**asked: Any) -> str:
    """What a page was asked by; the next one must be asked by the same."""
    return _digest(asked)


def write_cursor(published: PublishedOne, question: str, place: Place) -> str:
    """The cursor after ``place``."""
    told = _Told(
        day=published.as_of_date.isoformat(),
        edition=edition_of(published),
        question=question,
        probability=place.probability,
        customer_id=place.customer_id,
    )
    return base64.urlsafe_b64encode(told.model_dump_json().encode()).decode().rstrip("=")


def read_cursor(text: str, question: str) -> tuple[date, str, Place]:
    """The set's date, its edition, and the last row told. Raises Refused for what no page gave, or another question."""
    try:
        told = _Told.model_validate_json(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        day = date.fromisoformat(told.day)
    except (ValueError, ValidationError):
        raise Refused(400, "bad-cursor", "The cursor is none of ours") from None
    if not math.isfinite(told.probability) or "\0" in told.customer_id:
        raise Refused(400, "bad-cursor", "The cursor is none of ours")
    if told.question != question:
        raise Refused(
            400, "bad-cursor", "The cursor belongs to another question", "Keep filters and sort as they were."
        )
    return day, told.edition, Place(told.probability, told.customer_id)


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
