"""What a tracked event must be, field by field, and when it happened by our clock.

The fields are those that the field's own libraries send (Segment's specification). Consent is looked at first, so that
nothing of an event without it is kept, not even as a rejected record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.streaming.event_json import keepable, write_json, written_size
from warehouse.landing.records import RejectedRecord
from warehouse.landing.tracked import Dropped, TrackedEvent

LONGEST_ID = 200
"""Characters of ids and of an event's name."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

KINDS = ("track", "identify", "alias")
_TEXTS = ("messageId", "event", "anonymousId", "userId", "previousId")
_TIMES = ("timestamp", "originalTimestamp", "sentAt")
_OBJECTS = ("properties", "traits", "context")
# Sent by others' libraries, and of no meaning here.
_PASSED_OVER = ("channel", "integrations", "receivedAt", "version", "writeKey", "_metadata")
_KNOWN = frozenset((*_TEXTS, *_TIMES, *_OBJECTS, *_PASSED_OVER, "type"))

_REQUIRED: Mapping[str, Callable[[Mapping[str, str | None]], str | None]] = {
    "track": lambda ids: (
        "event is missing"
        if not ids["event"]
        else None
        if ids["userId"] or ids["anonymousId"]
        else "userId or anonymousId is missing"
    ),
    "identify": lambda ids: None if ids["userId"] else "userId is missing",
    "alias": lambda ids: None if ids["userId"] and ids["previousId"] else "userId or previousId is missing",
}


class _Wrong(ValueError):
    """The event breaks the contract; the message says where."""


def read_event(
    raw: Any,
    received_at: datetime,
    *,
    consent_categories: Sequence[str] | None = None,
    event_bytes: int = 32 * 1024,
) -> TrackedEvent | RejectedRecord | Dropped:
    """The event that was sent, or why it is none, or why it may not be kept.

    ``consent_categories`` are those that may be kept; None: whatever the event says. ``event_bytes`` bounds the event
    as JSON without blanks.
    """
    refused = _without_consent(raw, consent_categories)
    if refused is not None:
        return Dropped(_readable_id(raw), refused)
    try:
        return _read(raw, received_at, event_bytes)
    except _Wrong as error:
        return RejectedRecord(_readable_id(raw), str(error), keepable(raw))


def corrected(received_at: datetime, original_at: datetime | None, sent_at: datetime | None) -> datetime:
    """When the event happened by our clock: as long before we received it as, by the device's, it was sent after it.

    Without ``sent_at`` the device's clock is believed; without either the event happened when it arrived. Nothing
    happened after it arrived. Raises OverflowError for a time that no calendar has.
    """
    if original_at is None:
        return received_at
    if sent_at is None:
        return min(original_at, received_at)
    return received_at - max(sent_at - original_at, timedelta())


def _read(raw: Any, received_at: datetime, event_bytes: int) -> TrackedEvent:
    if not isinstance(raw, dict):
        raise _Wrong("the event is no object")
    unknown = raw.keys() - _KNOWN
    if unknown:
        raise _Wrong(f"there is no field {_shortened(min(unknown))}")
    size = written_size(raw)
    if size > event_bytes:
        raise _Wrong(f"the event has {size} bytes, and at most {event_bytes} are taken")
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _Wrong("type is none of track, identify, alias")
    texts = {name: _text(raw, name) for name in _TEXTS}
    if texts["messageId"] is None:
        raise _Wrong("messageId is missing")
    missing = _REQUIRED[kind](texts)
    if missing:
        raise _Wrong(missing)
    stated_at, original_at, sent_at = (_time(raw, name) for name in _TIMES)
    return TrackedEvent(
        message_id=texts["messageId"],
        kind=kind,
        name=texts["event"],
        anonymous_id=texts["anonymousId"],
        customer_id=texts["userId"],
        previous_id=texts["previousId"],
        properties=_object(raw, _told_in(raw, kind)),
        context=_object(raw, "context"),
        stated_at=stated_at,
        original_at=original_at,
        sent_at=sent_at,
        received_at=received_at,
        occurred_at=_occurred_at(received_at, original_at or stated_at, sent_at),
    )


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise _Wrong(f"{name} is no text, or empty")
    if len(value) > LONGEST_ID:
        raise _Wrong(f"{name} has more than {LONGEST_ID} characters")
    if "\0" in value or not _is_unicode(value):
        raise _Wrong(f"{name} holds a character that Postgres cannot keep")
    return value


def _time(raw: Mapping[str, Any], name: str) -> datetime | None:
    value = raw.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Wrong(f"{name} is no time as ISO 8601 has it, such as 2026-01-31T08:15:30.250Z") from None
    if moment.tzinfo is None:
        raise _Wrong(f"{name} has no time zone: end it with Z where it is UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _Wrong(f"{name} lies outside the calendar") from None


def _occurred_at(received_at: datetime, original_at: datetime | None, sent_at: datetime | None) -> datetime:
    try:
        happened_at = corrected(received_at, original_at, sent_at)
    except OverflowError:
        happened_at = datetime.min.replace(tzinfo=UTC)
    if happened_at < EARLIEST:
        raise _Wrong("the event happened before 1970")
    return happened_at


def _told_in(raw: Mapping[str, Any], kind: str) -> str:
    if "traits" not in raw:
        return "properties"
    if kind != "identify":
        raise _Wrong("traits belong to identify")
    if "properties" in raw:
        raise _Wrong("properties and traits are one thing of an identify: send one of them")
    return "traits"


def _object(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _Wrong(f"{name} is no object")
    try:
        return write_json(value)
    except ValueError as error:
        raise _Wrong(f"{name} {error}") from None


def _without_consent(raw: Any, allowed: Sequence[str] | None) -> str | None:
    """Why the event may not be kept; None where it may, or where it is nothing that could say."""
    if allowed is None:
        return None
    context = raw.get("context") if isinstance(raw, dict) else None
    consent = context.get("consent") if isinstance(context, dict) else None
    category = consent.get("category") if isinstance(consent, dict) else None
    if category is None:
        return "consent: context.consent.category is missing, and the key takes named categories only"
    if not isinstance(category, str) or category not in allowed:
        return "consent: the key does not take events of this category"
    return None


def _readable_id(raw: Any) -> str | None:
    value = raw.get("messageId") if isinstance(raw, dict) else None
    is_readable = isinstance(value, str) and 0 < len(value) <= LONGEST_ID and "\0" not in value and _is_unicode(value)
    return value if is_readable else None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _shortened(text: str) -> str:
    return ascii(text[:40])
