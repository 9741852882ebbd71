"""The page that describes the Habari CRM API says what the served OpenAPI says, field by field and error by error."""

import re
from pathlib import Path
from typing import Any

import pytest

from demo.crm.home import furnish
from demo.crm.limits import Failures, RateLimit
from demo.crm.server import create_app
from demo.world.build import build_world

PAGE = (Path(__file__).parents[2] / "docs" / "habari-crm-api.md").read_text()
SCHEMAS = {"Customer": "customers", "Ticket": "tickets", "Payment": "payments", "Event": "events"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI description that /openapi.json answers with."""
    home = tmp_path_factory.mktemp("churn") / "demo"
    build_world(home, customers=300, seed=7, progress=lambda _: None)
    furnish(home, home.parent, 8791)
    return create_app(home, limit=RateLimit(), failures=Failures(0, 0)).openapi()


def operations(served: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in served["paths"].items()
        for method, operation in methods.items()
    }


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def described_operations() -> dict[str, list[str]]:
    lines = re.findall(r"^\| `((?:GET|POST) [^`]+)` \| (.*) \|$", section("Operations"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}


def test_the_page_lists_the_operations_that_are_served(served: dict[str, Any]) -> None:
    assert described_operations().keys() == operations(served).keys()


def test_every_operation_answers_with_the_statuses_that_the_page_names(served: dict[str, Any]) -> None:
    for name, operation in operations(served).items():
        assert described_operations()[name][2].split(", ") == sorted(operation["responses"]), name


def test_every_operation_takes_the_parameters_and_the_key_that_the_page_names(served: dict[str, Any]) -> None:
    headers = {name: scheme["name"] for name, scheme in served["components"]["securitySchemes"].items()}
    for name, operation in operations(served).items():
        key, parameters, _ = described_operations()[name]
        names = [each["name"] for each in operation.get("parameters", [])]
        keys = [headers[scheme] for each in operation.get("security", []) for scheme in each]
        assert re.findall(r"`(\w+)`", parameters) == names, name
        assert re.findall(r"`([\w-]+)`", key) == keys, name


def test_page_sizes_are_bounded_as_the_page_says(served: dict[str, Any]) -> None:
    parameters = {each["name"]: each["schema"] for each in operations(served)["GET /api/v1/tickets"]["parameters"]}
    size = parameters["page_size"]
    assert f"`page_size`: {size['minimum']} to {size['maximum']}, by default {size['default']}." in PAGE


@pytest.mark.parametrize("record", SCHEMAS)
def test_records_have_the_fields_that_the_page_names_and_null_where_it_says(
    served: dict[str, Any], record: str
) -> None:
    named: dict[str, bool] = {}
    for cell in re.findall(r"^\| (`.*?) \|", section(record), re.MULTILINE):
        named |= {field: bool(star) for field, star in re.findall(r"`(\w+)`(\*?)", cell)}
    fields = served["components"]["schemas"][record]["properties"]
    nullable = {
        name: any(option.get("type") == "null" for option in field.get("anyOf", [])) for name, field in fields.items()
    }
    assert named == nullable


def test_choices_are_the_ones_that_the_page_names(served: dict[str, Any]) -> None:
    for record in SCHEMAS:
        for name, field in served["components"]["schemas"][record]["properties"].items():
            options = [field, *field.get("anyOf", [])]
            for choice in (value for option in options for value in option.get("enum", [])):
                assert f"`{choice}`" in section(record), f"{record}.{name}: {choice}"


def test_errors_have_the_codes_that_the_page_names(served: dict[str, Any]) -> None:
    named = re.findall(r"^\| \d+ \| `(\w+)` \|", section("Errors"), re.MULTILINE)
    assert sorted(named) == sorted(served["components"]["schemas"]["ErrorDetail"]["properties"]["code"]["enum"])


def test_every_error_is_described_with_the_one_shape(served: dict[str, Any]) -> None:
    for name, operation in operations(served).items():
        for status, answer in operation["responses"].items():
            if status != "200":
                shape = answer["content"]["application/json"]["schema"]["$ref"]
                assert shape == "#/components/schemas/ErrorAnswer", (name, status)
    limited = operations(served)["GET /api/v1/totals"]["responses"]["429"]
    assert "Retry-After" in limited["headers"]


def test_the_limits_on_the_page_are_the_defaults() -> None:
    limit = RateLimit()
    assert f"{limit.burst} requests at once and {limit.per_second:.0f} a second" in PAGE
