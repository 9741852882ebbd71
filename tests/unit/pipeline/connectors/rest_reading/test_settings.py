"""What a description of a REST API may say, and how it is told what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.connectors.rest_reading.expressions import getter, is_true
from pipeline.connectors.rest_reading.settings import RestSettings

GOOD: dict[str, Any] = {
    "base_url": "https://api.example.com",
    "auth": {"kind": "bearer", "token": "env:KEY"},
    "entities": {
        "customers": {
            "endpoints": [
                {"path": "/customers", "records": "data", "fields": {"customer_id": "id", "created_at": "made"}}
            ]
        }
    },
}

Change = Callable[[dict[str, Any]], Any]


def endpoint(settings: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = settings["entities"]["customers"]["endpoints"][0]
    return first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of.update(base_url="ftp://api.example.com"), "https://api.example.com"),
        (lambda of: of.update(base_url="https://user:word@api.example.com"), "no user"),
        (lambda of: of.update(preset="nobody"), "there is no such preset; there are hubspot, salesforce"),
        (lambda of: of.update(preset="stripe", variant="contacts"), "no such variant"),
        (lambda of: of.update(headers={"Authorization": "x"}), "is set by auth"),
        (lambda of: of.update(headers={"X-Api-Key": "x"}), "is set by auth"),
        (lambda of: of.update(headers={"X-Account": "env:KEY"}), "X-Account is a secret, which only auth sends"),
        (lambda of: endpoint(of).update(params={"who": "file:key"}), "who is a secret, which only auth sends"),
        (lambda of: endpoint(of).update(path="https://evil.org/"), "a path below base_url"),
        (lambda of: endpoint(of).update(path="//evil.org/"), "a path below base_url"),
        (lambda of: endpoint(of).update(path="/../admin"), "a path below base_url"),
        (lambda of: endpoint(of).update(records="data["), "is no JMESPath expression"),
        (lambda of: endpoint(of)["fields"].update(nickname="nick"), "customers, /customers: nickname is no column"),
        (lambda of: endpoint(of)["fields"].pop("created_at"), "nothing is mapped to created_at"),
        (lambda of: endpoint(of)["fields"].update(plan={"path": "p", "unit": "minor"}), "plan is no amount"),
        (lambda of: endpoint(of)["fields"].update(plan={"path": "p", "format": "epoch_seconds"}), "plan is no time"),
        (lambda of: endpoint(of)["fields"].update(plan={}), "needs path or constant"),
        (lambda of: endpoint(of).update(in_order=True), "in_order needs updated_at"),
        (lambda of: endpoint(of).update(path="/of/{id}"), "parent and {id} in path go together"),
        (lambda of: endpoint(of).update(pages={"kind": "cursor"}), "cursor needs path"),
        (lambda of: endpoint(of).update(pages={"kind": "page"}), "page needs param or body"),
        (lambda of: endpoint(of).update(pages={"kind": "seek"}), "seek needs last"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change: Change, message: str) -> None:
    settings = copy.deepcopy(GOOD)
    RestSettings.model_validate(settings)
    change(settings)
    with pytest.raises(ValidationError) as caught:
        RestSettings.model_validate(settings)
    assert message in str(caught.value)
    assert "env:KEY" not in str(caught.value)
    assert "file:key" not in str(caught.value)


@pytest.mark.parametrize("name", ["Plan__c FROM User", "a;b", "a,b", "", "a'b"])
def test_what_is_asked_for_besides_is_a_name_and_no_query(name: str) -> None:
    settings = {
        "preset": "salesforce", "base_url": "https://acme.my.salesforce.com",
        "auth": {"client_id": "x", "client_secret": "env:S"}, "entities": {"customers": {"ask": [name]}},
    }  # fmt: skip
    with pytest.raises(ValidationError, match="ask holds names"):
        RestSettings.model_validate(settings)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,3}", fullmatch=True)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(NAMES, min_size=1, max_size=3).map(".".join), VALUES)
def test_the_quick_way_finds_what_jmespath_finds(path: str, record: Any) -> None:
    assert getter(path)(record) == jmespath.search(path, record)


@given(VALUES)
def test_truth_is_that_of_jmespath(value: Any) -> None:
    assert is_true(value) is (jmespath.search("value && `true` || `false`", {"value": value}) is True)
