"""How an error reads: what happened, to which company, and what helps."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

import pytest

from foundation.errors import ChurnError, about

ROOT = Path(__file__).parents[3]
PYTHONS_OWN = {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
}


class Broken(ChurnError):
    advice = "`churn mend --company SLUG` mends it."


class Plain(ChurnError):
    """Its messages say themselves what helps."""


def test_the_advice_follows_the_message_as_a_sentence_of_its_own() -> None:
    assert str(Broken("the model is gone")) == "the model is gone. `churn mend --company SLUG` mends it."
    assert str(Broken("Is it gone?")) == "Is it gone? `churn mend --company SLUG` mends it."
    assert str(Broken("one\ntwo")) == "one\ntwo\n`churn mend --company SLUG` mends it."
    assert str(Plain("It is gone")) == "It is gone"


def test_an_error_that_tells_of_another_leaves_its_advice_to_the_reader_of_the_first() -> None:
    assert Broken("the model is gone").message == "the model is gone"


def test_an_error_names_the_company_that_was_worked_on_and_advises_for_it() -> None:
    with (
        pytest.raises(Broken, match=r"^acme: the model is gone. `churn mend --company acme` mends it.$"),
        about("acme"),
    ):
        raise Broken("the model is gone")


def test_beside_the_name_of_the_company_the_advice_alone_names_it() -> None:
    assert Broken("the model is gone").told_of("acme") == "the model is gone. `churn mend --company acme` mends it."
    with pytest.raises(Broken) as caught, about("acme"):
        raise Broken("the model is gone")
    assert caught.value.told_of("acme") == "the model is gone. `churn mend --company acme` mends it."


def test_a_company_that_the_message_names_is_not_named_twice_and_the_innermost_stays() -> None:
    with pytest.raises(Broken, match=r"^The model of acme is gone. `churn mend --company acme`"), about("acme"):
        raise Broken("The model of acme is gone.")
    with pytest.raises(Plain, match=r"^acme: gone$"), about("other"), about("acme"):
        raise Plain("gone")


def test_the_company_stands_in_advice_where_it_is_filled_in_and_in_no_message() -> None:
    """At the terminal's door nobody may have named one yet: there SLUG is a word of the command's usage."""
    unfilled = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for package in ("foundation", "ml_assets", "pipeline", "warehouse")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and any("SLUG" in ast.unparse(argument) for argument in node.args)
    ]
    assert unfilled == []


def test_only_the_root_and_values_that_cannot_be_read_derive_from_pythons_own_errors() -> None:
    strangers = {
        node.name
        for package in ("foundation", "ml_assets", "orchestration", "pipeline", "warehouse")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & PYTHONS_OWN
    }
    # Jinja's way to return a value from a macro is an exception, and no error.
    assert strangers == {"ChurnError", "Unreadable", "UnreadableJson", "_Returned", "_Wrong"}
