"""Who writes a company's file tries to have secrets sent to him that are not that company's: ours, or another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from foundation.errors import ChurnError
from tests.conftest import TestServer
from tests.integration.company_folders import put_secret
from tests.integration.conftest import Churn
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, StandIn, crm
from warehouse.companies.secret_hosts import refuse_moved_secrets
from warehouse.errors import SecretMoved, SecretNotFound, SecretOfAnother
from warehouse.own_server import is_own_server
from warehouse.secrets import encrypt_secret, resolve_secret, secrets_folder
from warehouse.settings import Settings

SLUGS = st.from_regex(r"[a-z][a-z0-9_]{1,40}", fullmatch=True)
OURS = "the-warehouses-own-password"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(**changes: Any) -> str:
        definition: dict[str, Any] = {
            "slug": "acme",
            "name": "Acme",
            "connector": "habari_api",
            "entities": ["customers"],
            "churn_kind": "cancellation",
            "currency": "EUR",
        }
        path = tmp_path / "acme.yaml"
        path.write_text(yaml.safe_dump(definition | changes))
        return str(path)

    return write


def everything_sent(attacker: StandIn) -> str:
    return str(attacker.requests)


@pytest.mark.parametrize(
    "reference",
    [
        "file:postgres.secrets",
        "file:../../postgres.secrets",
        "file:../zeta/key",
        "file:link",
        "file:folder/postgres.secrets",
        "file:/proc/self/environ",
        "file:pipe",
        "env:CHURN_SECRET_KEY",
        "env:CHURN_DATABASE_URL",
        "env:PATH",
        "env:CHURN_SOURCE_ZETA__KEY",
        "env:CHURN_SOURCE_ACME_EU__KEY",
        "env:CHURN_SOURCE_ACME__",
    ],
)
def test_a_reference_to_what_is_not_the_companys_is_refused_before_anything_is_sent(
    reference: str, churn: Churn, file: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgres.secrets").write_text(OURS)
    put_secret(tmp_path, "zeta", "key", OURS)
    folder = secrets_folder(Settings(home=tmp_path), "acme")
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "postgres.secrets")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    for variable in ("CHURN_SOURCE_ZETA__KEY", "CHURN_SOURCE_ACME_EU__KEY", "CHURN_SOURCE_ACME__"):
        monkeypatch.setenv(variable, OURS)
    monkeypatch.setenv("CHURN_SECRET_KEY", Fernet.generate_key().decode())
    with crm({"customers": []}) as attacker:
        settings = {"base_url": attacker.url, "api_key": reference}
        checked = churn("company", "check", file(connector_settings=settings))
        assert checked.exit_code != 0
        assert attacker.requests == []
        assert OURS not in checked.output + str(checked.exception)


@given(asking=SLUGS, owner=SLUGS, name=st.sampled_from(["KEY", "A_B", "_KEY", "__KEY"]))
def test_no_company_opens_a_variable_of_another(asking: str, owner: str, name: str) -> None:
    variable = f"CHURN_SOURCE_{owner.upper()}__{name}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, OURS)
        opening = []
        for slug in {asking, owner, f"{owner}_", f"{owner}__{name.lower()}", f"{owner}_{name.lower()}"}:
            try:
                resolve_secret(f"env:{variable}", Settings(), slug)
            except SecretOfAnother:
                continue
            opening.append(slug)
    assert len(opening) <= 1


def test_a_companys_own_variable_and_file_open() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHURN_SOURCE_ACME_EU__CRM_KEY", "right")
        assert resolve_secret("env:CHURN_SOURCE_ACME_EU__CRM_KEY", Settings(), "acme_eu") == "right"
        with pytest.raises(SecretOfAnother, match="CHURN_SOURCE_ACME__KEY"):
            resolve_secret("env:CHURN_SOURCE_ACME_EU__CRM_KEY", Settings(), "acme")


def test_a_token_copied_from_another_companys_file_does_not_open() -> None:
    settings = Settings.model_validate({"secret_key": Fernet.generate_key().decode()})
    token = encrypt_secret(API_KEY, settings, "zeta")
    assert resolve_secret(token, settings, "zeta") == API_KEY
    with pytest.raises(SecretNotFound, match="acme"):
        resolve_secret(token, settings, "acme")


@pytest.mark.parametrize("beginning", ["CHURN_", "CHURN_SECRET_", "SENTRY_", "CHURN", ""])
def test_no_setting_opens_our_own_variables_to_companies(beginning: str) -> None:
    with pytest.raises(ValueError, match="secret_variables"):
        Settings(secret_variables=beginning)


@pytest.mark.parametrize("command", [("check",), ("add",), ("apply", "--yes")], ids=lambda command: command[0])
def test_a_registered_key_follows_no_changed_address(
    command: tuple[str, ...], churn: Churn, file: Callable[..., str], tmp_path: Path
) -> None:
    put_secret(tmp_path, "acme", "key", API_KEY)
    churn("company", "add", file(connector_settings={"base_url": "https://crm.example.com", "api_key": "file:key"}))
    with crm({"customers": []}) as attacker:
        name, *options = command
        with pytest.raises(SecretMoved, match=r"127\.0\.0\.1"):
            churn("company", name, file(connector_settings={"base_url": attacker.url, "api_key": "file:key"}), *options)
        with pytest.raises(SecretMoved):
            churn("company", "change", "acme", f"connector_settings.base_url={attacker.url}")
        assert attacker.requests == []


def test_a_key_follows_no_other_preset_and_no_preset_in_place_of_an_address(add_company: Callable[..., Any]) -> None:
    """A preset brings its vendor's address, which then stands in no setting."""
    company = add_company("acme")

    def of(**settings: Any) -> Any:
        return company.model_copy(update={"connector_settings": {"auth": {"token": "file:key"}} | settings})

    for before, after in (
        (of(preset="stripe"), of(preset="hubspot")),
        (of(preset="stripe"), of(preset="stripe", base_url="https://evil.org")),
        (of(preset="stripe", base_url="https://proxy.example.com"), of(preset="stripe")),
        (of(base_url="https://api.example.com"), of(preset="stripe")),
    ):
        with pytest.raises(SecretMoved):
            refuse_moved_secrets(before, after)
        refuse_moved_secrets(before, after.model_copy(update={"connector_settings": {"auth": {"token": "file:new"}}}))
    refuse_moved_secrets(of(preset="stripe"), of(preset="stripe", rate={"per_minute": 60}))


def test_a_key_goes_on_by_https_and_to_its_own_host_only(add_company: Callable[..., Any]) -> None:
    def at(address: str, key: str = "file:key") -> Any:
        return company.model_copy(update={"connector_settings": {"base_url": address, "api_key": key}})

    company = add_company("acme")
    before = at("https://crm.example.com")
    for address in ("http://crm.example.com", "https://crm.example.com.evil.org", "https://evil.org/crm.example.com"):
        with pytest.raises(SecretMoved):
            refuse_moved_secrets(before, at(address))
        refuse_moved_secrets(before, at(address, "file:new-key"))
    refuse_moved_secrets(before, at("https://crm.example.com:8443/v2"))
    refuse_moved_secrets(at("http://crm.example.com"), before)
    database = company.model_copy(update={"connector_settings": {"url": "file:key"}})
    with pytest.raises(SecretMoved):
        refuse_moved_secrets(database, at("https://evil.org"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "0.0.0.0", "2130706433"])  # noqa: S104
def test_our_own_server_is_no_companys_source_under_any_name(
    host: str, churn: Churn, file: Callable[..., str], tmp_path: Path, postgres: TestServer
) -> None:
    ours = make_url(postgres.server.url())
    address = ours.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    address = address.replace(f"@{ours.host}:", f"@{host}:")
    put_secret(tmp_path, "acme", "url", address)
    tables = {"customers": {"table": "companies", "schema": "ops"}}
    settings = {"url": "file:url", "tables": tables}
    checked = churn("company", "check", file(connector="sql_database", connector_settings=settings))
    assert "the warehouse's own Postgres" in str(checked.exception)


@pytest.mark.parametrize("query", ["host=localhost", "hostaddr=127.0.0.1", "host=crm.invalid,127.0.0.1"])
def test_what_libpq_reads_from_a_query_counts(query: str) -> None:
    settings = Settings.model_validate({"database_url": "postgresql://owner:secret@127.0.0.1:5433/churn"})
    assert is_own_server(make_url(f"postgresql+psycopg://owner:x@/churn?{query}&port=5433"), settings)
    assert not is_own_server(make_url(f"postgresql+psycopg://owner:x@/churn?{query}&port=5444"), settings)


def test_every_refusal_says_what_helps() -> None:
    for kind in (SecretOfAnother, SecretMoved):
        assert issubclass(kind, ChurnError)
        assert kind.advice
