"""A source, a driver or a channel says the key in what it answers: at any place, cut, quoted or in another notation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import quote_plus
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.connectors.contract import CUSTOMERS
from pipeline.connectors.errors import ConnectorError
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.http_source import Patience
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm, refusal
from warehouse.redaction import SHORTEST_PART, forms_of, without_secrets
from warehouse.settings import Settings

READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=12, max_size=60).filter(
    lambda key: "*" not in key and "…" not in key
)
PADDING = "_"


def longest_part(text: str, secret: str) -> int:
    """How many characters of the secret's beginning stand anywhere in the text."""
    return max((length for length in range(1, len(secret) + 1) if secret[:length] in text), default=0)


@given(key=KEYS, offset=st.integers(0, 400), longest=st.integers(20, 300))
def test_no_part_of_a_key_survives_at_any_offset(key: str, offset: int, longest: int) -> None:
    said = without_secrets(PADDING * offset + key + PADDING * 40, forms_of(key), longest)
    assert longest_part(said.replace(PADDING, ""), key.replace(PADDING, "")) <= 3
    assert len(said) <= longest


def test_a_key_leaves_nothing_at_every_offset_from_before_the_cut_to_behind_it() -> None:
    for offset in range(100):
        said = without_secrets(PADDING * offset + API_KEY + PADDING * 40, forms_of(API_KEY), 60)
        assert longest_part(said, API_KEY) == 0, offset


@given(key=KEYS, notation=st.sampled_from([quote_plus, lambda key: json.dumps(key)[1:-1], lambda key: repr(key)[1:-1]]))
def test_every_notation_of_a_key_is_struck_out(key: str, notation: object) -> None:
    written = notation(key)  # type: ignore[operator]
    assert without_secrets(f"it says {written}!", forms_of(key)) == "it says ***!"


@given(key=KEYS, cut=st.integers(SHORTEST_PART, 59), after=st.sampled_from(["", "...", "…", "'", '"}']))
def test_a_key_that_the_other_side_cut_is_struck_out_at_the_end(key: str, cut: int, after: str) -> None:
    part = key[: min(cut, len(key) - 1)]
    said = without_secrets(f"unknown {part}{after}", forms_of(key))
    assert part.rstrip(".… '\")]}")[:SHORTEST_PART] not in said or len(part.rstrip(".… '\")]}")) < SHORTEST_PART


@pytest.mark.parametrize("offset", range(0, 90, 3))
def test_an_api_that_says_the_key_at_any_place_of_its_error_tells_nobody(offset: int) -> None:
    with crm({"customers": []}) as stand_in:
        stand_in.misbehave = lambda *_: refusal(401, "x" * offset + API_KEY + " is unknown")
        settings = HabariSettings(base_url=stand_in.url, api_key="file:key")
        source = HabariApi("acme", settings, API_KEY, READING, Reach(Settings()), Patience(attempts=1))
        with pytest.raises(ConnectorError) as caught:
            list(source.read(CUSTOMERS, None, 10))
    assert longest_part(str(caught.value), API_KEY) < SHORTEST_PART


@pytest.mark.parametrize("offset", range(200, 330, 5))
def test_a_driver_that_says_the_password_at_any_place_tells_nobody(offset: int) -> None:
    password = "hunter2-hunter3-hunter4-hunter5"
    url = f"postgresql+psycopg://reader:{password}@127.0.0.1:1/crm"
    settings = SqlSettings.model_validate({"url": "file:url", "tables": {}})
    source = SqlDatabase("acme", settings, url, READING, Settings())
    said = source._reason(ValueError("x" * offset + password + " refused"))
    source.close()
    assert longest_part(said, password) < SHORTEST_PART
