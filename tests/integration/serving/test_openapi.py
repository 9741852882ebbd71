"""Everything that the description says can be asked, with both companies' keys: no answer names the other company."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.integration.serving.conftest import Asker
from tests.integration.serving.served import Served

pytestmark = pytest.mark.xdist_group("two_companies")

CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance, unsupported_method]
STREAM = "/v1/changes/{task}/stream"
MARK = "marked-of-the-other"


@pytest.fixture
def marked(served: Served, askers: tuple[Asker, Asker]) -> Iterator[str]:
    """The other company's model and customers' words bear a mark that may be in no answer of the first's."""
    company_id = askers[1].company_id
    statements = (
        "update predictions.churn_publications_v1 set model_version = %(to)s || model_version"
        " where company_id = %(company)s",
        "update predictions.churn_scores_v1 set model_version = %(to)s || model_version where company_id = %(company)s",
        "update predictions.churn_changes_v1 set row_hash = %(to)s || row_hash where company_id = %(company)s",
        "update analytics.model_history set decision = %(to)s || decision where company_id = %(company)s",
    )
    with served.warehouse.connect() as connection:
        for statement in statements:
            connection.execute(statement, {"to": MARK, "company": company_id})
    yield MARK
    with served.warehouse.connect() as connection:
        for statement in statements:
            undone = re.sub(r"= %\(to\)s \|\| (\w+)", r"= replace(\1, %(to)s, '')", statement)
            connection.execute(undone, {"to": MARK, "company": company_id})  # type: ignore[call-overload]


def test_the_description_is_openapi_3_1_and_its_examples_are_true_to_it(served: Served) -> None:
    with served.client() as client:
        description = client.get("/v1/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    schemas = description["components"]["schemas"]
    examples = 0
    for name, schema in schemas.items():
        for example in schema.get("examples", []):
            whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
            jsonschema.validate(example, whole)
            examples += 1
    assert examples >= 10
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description") or operation.get("summary"), (method, path)
            if path.startswith("/v1"):
                assert operation["security"] == [{"key": []}], path
                assert {"401", "404", "422", "429", "503"} <= operation["responses"].keys()


def test_no_answer_to_anything_that_can_be_asked_names_the_other_company(
    served: Served, askers: tuple[Asker, Asker], marked: str
) -> None:
    """With the key of the one company, ids of the other among what is asked; 20 requests of each operation."""
    mine, theirs = askers
    assert marked in theirs.client.get("/v1/tasks").text
    words = [marked, theirs.slug, f"company_{theirs.company_id}", str(theirs.company_id)]
    schema = schemathesis.openapi.from_url(f"{served.address}/v1/openapi.json")
    asked: dict[str, set[int]] = {}

    def ask(case: Any) -> None:
        if case.path == STREAM:
            return
        if "customer_id" in (case.path_parameters or {}) and len(asked.get(case.path, ())) == 0:
            case.path_parameters["customer_id"] = theirs.customers[0]
        response = case.call(headers={"Authorization": f"Bearer {mine.key}"}, base_url=served.address, timeout=20)
        asked.setdefault(case.path, set()).add(response.status_code)
        assert response.status_code < 500, (case.path, response.text)
        assert [word for word in words if word in response.text] == []
        case.validate_response(response, checks=CHECKS, headers={"Authorization": f"Bearer {mine.key}"})

    settings = hypothesis.settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in schema.get_all_operations():
        settings(hypothesis.given(case=operation.ok().as_strategy())(ask))()
    assert len(asked) >= 11
    assert {status for statuses in asked.values() for status in statuses} >= {200, 404}
