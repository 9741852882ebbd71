"""`churn company` and `churn secret` as an operator types them, on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from psycopg.rows import dict_row

from orchestration.cli.terminal import CommandFailed
from pipeline.companies import parse_definition
from tests.integration.company_ids import take_ids_of_no_other_test
from tests.integration.conftest import Churn
from warehouse.companies import plan as company_plan
from warehouse.companies.definition import Company
from warehouse.companies.registry import get_company, list_companies
from warehouse.connection import Warehouse
from warehouse.errors import CompaniesMoved, CompanyDefinitionError, SecretNotFound
from warehouse.secrets import encrypt_secret, resolve_secret
from warehouse.settings import Settings

OLD_KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()

ACME: dict[str, Any] = {
    "slug": "acme",
    "name": "Acme",
    "connector": "habari_api",
    "connector_settings": {"base_url": "https://crm.example.com", "api_key": "env:CHURN_SOURCE_ACME__KEY"},
    "tasks": {"churn": {"kind": "cancellation"}},
    "currency": "EUR",
}
SHOP = ACME | {"slug": "shop", "name": "Shop", "tasks": {"churn": {"kind": "inactivity", "inactivity_days": 90}}}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(*companies: dict[str, Any]) -> str:
        path = tmp_path / "companies.yml"
        path.write_text(yaml.safe_dump({"companies": [deepcopy(each) for each in companies]}))
        return str(path)

    return write


def registered(warehouse: Warehouse) -> dict[str, Company]:
    with warehouse.connect() as connection:
        return {company.slug: company for company in list_companies(connection, active_only=False)}


def with_horizon(company: dict[str, Any], days: int) -> dict[str, Any]:
    return company | {"tasks": {"churn": company["tasks"]["churn"] | {"horizon_days": days}}}


def horizon_days(warehouse: Warehouse, slug: str) -> int:
    return int(registered(warehouse)[slug].tasks["churn"]["horizon_days"])


def audit(warehouse: Warehouse) -> list[dict[str, Any]]:
    with warehouse.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from ops.audit_log order by audit_id").fetchall()


def test_a_file_is_shown_as_a_plan_and_applied_when_a_person_says_so(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    refused = churn("company", "apply", file(ACME, SHOP), typed="n\n")
    assert "acme is added" in refused.output
    assert "connector_settings.api_key: env:CHURN_SOURCE_ACME__KEY" in refused.output
    assert registered(warehouse) == {}
    churn("company", "apply", file(ACME, SHOP), typed="y\n")
    assert registered(warehouse).keys() == {"acme", "shop"}
    assert {row["action"] for row in audit(warehouse)} == {"company.added", "company.task_switched_on"}


def test_a_file_applied_again_changes_nothing_and_asks_nothing(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    churn("company", "apply", file(ACME, SHOP), "--yes")
    again = churn("company", "apply", file(ACME, SHOP))
    assert "acme stays as it is" in again.output
    assert "Nothing to change" in again.output
    assert [row["action"] for row in audit(warehouse)].count("company.added") == 2
    assert len(audit(warehouse)) == 4


def test_a_change_is_shown_field_by_field(churn: Churn, file: Callable[..., str], warehouse: Warehouse) -> None:
    churn("company", "apply", file(ACME), "--yes")
    changed = with_horizon(ACME, 60) | {
        "connector_settings": ACME["connector_settings"] | {"page_size": 500},
        "custom_attributes": [{"name": "industry", "kind": "category", "is_fixed": True}],
    }
    output = churn("company", "apply", file(changed), "--yes").output
    assert "tasks.churn.horizon_days: 30 → 60" in output
    assert "connector_settings.page_size: 500" in output
    assert "custom_attributes.industry.kind: category" in output
    assert "currency" not in output
    assert {row["action"] for row in audit(warehouse)[2:]} == {"company.changed", "company.task_changed"}
    assert horizon_days(warehouse, "acme") == 60


def test_a_company_that_the_file_does_not_name_stays_and_one_is_disabled_only_by_saying_so(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    churn("company", "apply", file(ACME, SHOP), "--yes")
    output = churn("company", "apply", file(ACME | {"is_active": False}), "--yes").output
    assert "acme is disabled" in output
    assert "left as they are: shop" in output
    assert {slug: company.is_active for slug, company in registered(warehouse).items()} == {"acme": False, "shop": True}
    # What a person disabled is not enabled by a file that does not speak of it.
    assert "acme stays as it is" in churn("company", "apply", file(ACME), "--yes").output
    assert "acme is enabled" in churn("company", "apply", file(ACME | {"is_active": True}), "--yes").output
    assert [row["action"] for row in audit(warehouse)][-2:] == ["company.disabled", "company.enabled"]


def test_one_wrong_company_keeps_all_out_and_every_problem_is_named(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    wrong = with_horizon(SHOP, 0) | {"segment_by": "plan"}
    with pytest.raises(CompanyDefinitionError) as caught:
        churn("company", "apply", file(ACME, wrong, ACME | {"slug": "b2", "is_active": "perhaps"}, ACME), "--yes")
    message = str(caught.value)
    for part in (
        "companies.yml",
        "Company shop: tasks: churn.horizon_days",
        "greater than 0",
        "Company b2: is_active",
        "acme: the file has",
    ):
        assert part in message
    assert registered(warehouse) == {}


def test_a_failure_halfway_leaves_all_companies_as_they_were(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    churn("company", "apply", file(ACME), "--yes")
    with warehouse.connect() as connection:
        connection.execute("alter table ops.companies add constraint no_shop check (slug <> 'shop')")
    with pytest.raises(Exception, match="no_shop"):
        churn("company", "apply", file(with_horizon(ACME, 60), SHOP), "--yes")
    assert horizon_days(warehouse, "acme") == 30
    assert len(audit(warehouse)) == 2


def test_a_plan_that_is_no_longer_true_is_not_applied(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    churn("company", "apply", file(ACME), "--yes")
    wanted = company_plan.parse_companies(with_horizon(ACME, 60), parse_definition)
    with warehouse.connect() as connection:
        plan = company_plan.plan(connection, wanted)
        connection.rollback()
        churn("company", "disable", "acme")
        churn("company", "change", "acme", "tasks.churn.horizon_days=90")
        with pytest.raises(CompaniesMoved, match="nothing is applied"):
            company_plan.apply(connection, wanted, plan, "tests")
    assert horizon_days(warehouse, "acme") == 90


def test_a_field_that_stands_twice_is_an_error_with_its_line(churn: Churn, tmp_path: Path) -> None:
    path = tmp_path / "one.yml"
    path.write_text(yaml.safe_dump(ACME) + "currency: USD\n")
    failed = churn("company", "apply", str(path), "--yes")
    assert isinstance(failed.exception, CommandFailed)
    assert "currency stands there twice" in str(failed.exception)
    assert "line 11" in str(failed.exception)


def test_single_fields_change_and_the_rest_stays(churn: Churn, file: Callable[..., str], warehouse: Warehouse) -> None:
    churn("company", "add", file(ACME))
    output = churn(
        "company", "change", "acme", "connector_settings.page_size=500", "entities=[customers, payments]"
    ).output
    assert "entities" in output
    acme = registered(warehouse)["acme"]
    assert acme.connector_settings == ACME["connector_settings"] | {"page_size": 500}
    assert acme.entities == ("customers", "payments")
    assert "so already" in churn("company", "change", "acme", "tasks.churn.horizon_days=30").output
    with pytest.raises(CompanyDefinitionError, match="did you mean horizon_days"):
        churn("company", "change", "acme", "horizon=60")
    with pytest.raises(CompanyDefinitionError, match="slug: cannot change"):
        churn("company", "change", "acme", "slug=other")


def test_fields_that_moved_to_a_task_are_read_with_a_note_that_names_their_place(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    earlier = {name: value for name, value in ACME.items() if name != "tasks"}
    added = churn("company", "add", file(earlier | {"churn_kind": "cancellation", "horizon_days": 60}, SHOP)).output
    assert (
        "acme: churn_kind, horizon_days now stand under tasks: churn:, as tasks.churn.kind, tasks.churn.horizon_days."
        in added
    )
    assert added.count("now stand") == 1
    assert horizon_days(warehouse, "acme") == 60
    changed = churn("company", "change", "acme", "horizon_days=90").output
    assert "acme: horizon_days now stands under tasks: churn:, as tasks.churn.horizon_days." in changed
    assert horizon_days(warehouse, "acme") == 90


def test_what_is_shown_can_be_applied_again(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse, tmp_path: Path
) -> None:
    churn("company", "add", file(SHOP | {"business_hours": {"monday": ["09:00", "17:00"]}}))
    before = registered(warehouse)
    path = tmp_path / "shown.yml"
    path.write_text(churn("company", "show", "shop").output)
    assert "Nothing to change" in churn("company", "apply", str(path)).output
    assert registered(warehouse) == before


def test_a_horizon_shorter_than_the_silence_is_taken_and_said(churn: Churn, file: Callable[..., str]) -> None:
    said = "shop: A horizon of 30 days is shorter than the silence of 90: only who has been silent for 60 days already"
    assert said in " ".join(churn("company", "add", file(SHOP)).output.split())
    longer = churn("company", "change", "shop", "tasks.churn.horizon_days=90").output
    assert "is shorter than" not in longer
    shorter = churn("company", "change", "shop", "tasks.churn.horizon_days=30").output
    assert said in " ".join(shorter.split())


def test_a_company_is_removed_after_its_slug_is_typed(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse
) -> None:
    with warehouse.connect() as connection:
        take_ids_of_no_other_test(connection)
    churn("company", "add", file(ACME, SHOP))
    refused = churn("company", "remove", "acme", typed="shop\n")
    assert refused.exit_code != 0
    assert registered(warehouse)["acme"].is_active
    churn("company", "remove", "acme", typed="acme\n")
    assert registered(warehouse).keys() == {"shop"}
    assert audit(warehouse)[-1]["action"] == "company.removed"
    churn("company", "remove", "shop", "--yes")
    assert registered(warehouse) == {}


def test_an_encrypted_secret_is_a_reference_that_opens_and_is_shown_to_nobody(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_SECRET_KEY", OLD_KEY)
    reference = churn("secret", "encrypt", "--company", "acme", typed="hunter2\n").stdout.strip()
    assert resolve_secret(reference, Settings(secret_key=OLD_KEY), "acme") == "hunter2"
    settings = {"base_url": "https://crm.example.com", "api_key": reference}
    planned = churn("company", "apply", file(ACME | {"connector_settings": settings}), "--yes").output
    listing = churn("company", "show", "acme").output
    trail = str(audit(warehouse))
    for text in (planned, listing, trail):
        assert "encrypted:#" in text
        assert reference.removeprefix("encrypted:") not in text
        assert "hunter2" not in text


def test_rotation_encrypts_every_companys_secrets_again_and_audits_no_value(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Settings(secret_key=OLD_KEY), Settings(secret_key=NEW_KEY)
    both = Settings(secret_key=NEW_KEY, secret_key_previous=OLD_KEY)
    reference = encrypt_secret("hunter2", old, "acme")
    assert resolve_secret(reference, both, "acme") == "hunter2"  # Before the rotation all goes on.
    settings = {"base_url": "https://crm.example.com", "api_key": reference}
    churn("company", "add", file(ACME | {"connector_settings": settings, "notification_addresses": [reference]}, SHOP))
    monkeypatch.setenv("CHURN_SECRET_KEY", NEW_KEY)
    monkeypatch.setenv("CHURN_SECRET_KEY_PREVIOUS", OLD_KEY)
    assert "2 secrets encrypted again" in churn("secret", "rotate").output
    acme = registered(warehouse)["acme"]
    for rotated in (acme.connector_settings["api_key"], *acme.notification_addresses):
        assert resolve_secret(rotated, new, "acme") == "hunter2"
    with pytest.raises(SecretNotFound):
        resolve_secret(acme.connector_settings["api_key"], old, "acme")
    row = audit(warehouse)[-1]
    assert row["action"] == "company.secrets_rotated"
    assert row["before"]["notification_addresses"] != row["after"]["notification_addresses"]
    assert row["after"].keys() == {"connector_settings", "notification_addresses"}
    assert row["after"]["notification_addresses"][0].startswith("encrypted:#")
    assert "already" in churn("secret", "rotate").output
    assert registered(warehouse)["acme"] == acme


def test_a_secret_that_no_key_opens_stops_the_rotation_before_anything_changed(
    churn: Churn, file: Callable[..., str], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = encrypt_secret("hunter2", Settings(secret_key=Fernet.generate_key().decode()), "zeta")
    for slug, reference in (("acme", encrypt_secret("hunter2", Settings(secret_key=OLD_KEY), "acme")), ("zeta", lost)):
        settings = {"base_url": "https://crm.example.com", "api_key": reference}
        churn("company", "add", file(ACME | {"slug": slug, "connector_settings": settings}))
    before = registered(warehouse)
    monkeypatch.setenv("CHURN_SECRET_KEY", NEW_KEY)
    monkeypatch.setenv("CHURN_SECRET_KEY_PREVIOUS", OLD_KEY)
    with pytest.raises(SecretNotFound, match=r"Company zeta, connector_settings\.api_key.*No secret was changed"):
        churn("secret", "rotate")
    assert registered(warehouse) == before


def test_disabled_and_enabled_by_command(churn: Churn, file: Callable[..., str], warehouse: Warehouse) -> None:
    churn("company", "add", file(ACME))
    churn("company", "disable", "acme")
    with warehouse.connect() as connection:
        assert not get_company(connection, "acme").is_active
    churn("company", "enable", "acme")
    assert registered(warehouse)["acme"].is_active


def test_accepting_names_what_is_accepted_and_of_which_table(churn: Churn, file: Callable[..., str]) -> None:
    churn("company", "apply", file(ACME), "--yes")
    for arguments, told in (
        (("customers",), "Name the columns that may be missing, or give --deletions."),
        (("customers", "fax", "--deletions"), "Name the columns that may be missing, or give --deletions."),
        (("events", "fax"), "acme has no events; it has customers, tickets, payments."),
    ):
        refused = churn("company", "accept", "acme", *arguments)
        assert (refused.exit_code, str(refused.exception)) == (1, told)
    assert "fax may be missing from customers" in churn("company", "accept", "acme", "customers", "fax").output
