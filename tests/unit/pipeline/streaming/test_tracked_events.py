"""When an event happened by our clock, and JSON that comes as it was sent or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streaming.event_json import DEEPEST, UnreadableJson, keepable, read_json, write_json
from pipeline.streaming.tracked_events import corrected, read_event
from warehouse.landing.records import RejectedRecord
from warehouse.landing.tracked import TrackedEvent

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), children, max_size=3
        )
    ),
    max_leaves=10,
)


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)), st.timedeltas(timedelta(0), timedelta(days=300)))
def test_a_wrong_clock_of_a_device_does_not_matter(skew: timedelta, waited: timedelta) -> None:
    happened_at = NOW - waited
    assert corrected(NOW, happened_at + skew, NOW + skew) == happened_at


@given(st.datetimes(timezones=st.just(UTC)), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_nothing_happened_after_it_arrived(original_at: datetime, sent_at: datetime | None) -> None:
    try:
        assert corrected(NOW, original_at, sent_at) <= NOW
    except OverflowError:
        assert sent_at is not None
        assert sent_at - original_at > timedelta(days=700_000)


def test_without_times_it_happened_when_it_arrived() -> None:
    assert corrected(NOW, None, NOW - timedelta(days=1)) == NOW


@given(PLAIN)
def test_json_comes_as_it_was_sent(value: object) -> None:
    text = json.dumps(value)
    assert json.loads(write_json(read_json(text.encode()))) == value


@given(st.recursive(st.text(st.characters()), lambda some: st.lists(some) | st.dictionaries(st.text(), some)))
def test_whatever_is_rejected_can_be_kept(value: object) -> None:
    kept = keepable(value)
    assert "\\u0000" not in kept
    kept.encode()
    json.loads(kept)


@pytest.mark.parametrize("body", [b"", b"\xff", b"{", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b'"\xed\xa0\x80"'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableJson):
        read_json(body)


def test_large_numbers_are_kept_to_the_last_digit_or_refused() -> None:
    digits = "9" * 300
    assert write_json(read_json(digits.encode())) == digits
    for number in (b"1e400", b"-1e400", b"9" * 5_000):
        with pytest.raises(ValueError, match="too large"):
            write_json(read_json(b'{"n":' + number + b"}"))


def test_nesting_is_bounded() -> None:
    def nested(levels: int) -> object:
        return json.loads("[" * levels + "]" * levels)

    assert write_json(nested(DEEPEST))
    with pytest.raises(ValueError, match="nests deeper"):
        write_json(nested(DEEPEST + 1))


def test_an_identify_has_traits_or_properties_and_not_both() -> None:
    base = {"type": "identify", "messageId": "m", "userId": "c"}
    event = read_event(base | {"traits": {"a": 1}}, NOW)
    assert isinstance(event, TrackedEvent)
    assert event.properties == '{"a":1}'
    assert isinstance(read_event(base | {"traits": {}, "properties": {}}, NOW), RejectedRecord)
