"""Settings: each wrong value is an error that names the variable, and secrets come by reference."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from warehouse.errors import SecretNotFound, SettingsError
from warehouse.secrets import encrypt_secret, resolve_secret, secrets_folder
from warehouse.settings import Settings, load_settings


def test_settings_have_defaults_for_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.home == (tmp_path / ".churn").resolve()
    assert settings.database_url is None
    assert settings.now is None
    assert (settings.reject_limit, settings.threads, settings.log_level) == (0.05, 2, "info")


def test_home_is_found_from_a_folder_inside_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    inside = tmp_path / "dbt_project" / "models"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert load_settings().home == tmp_path / ".churn"


def test_a_relative_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_HOME", "elsewhere")
    assert load_settings().home == tmp_path / "elsewhere"


def test_values_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_NOW", "2026-03-01T02:00:00+02:00")
    monkeypatch.setenv("CHURN_REJECT_LIMIT", "0.2")
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://me:pw@db:5432/churn")
    monkeypatch.setenv("CHURN_LOG_LEVEL", "DEBUG")
    settings = load_settings()
    assert settings.now == datetime(2026, 3, 1, tzinfo=UTC)
    assert settings.reject_limit == 0.2
    assert settings.database_url is not None
    assert settings.log_level == "debug"
    assert "pw" not in repr(settings)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_DATABASE_URL", "")
    assert load_settings().database_url is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CHURN_REJECT_LIMIT", "abc", "number"),
        ("CHURN_LADDER_OWN_OUTCOMES", "0", "greater than or equal to 1"),
        ("CHURN_REJECT_LIMIT", "2", "less than or equal to 1"),
        ("CHURN_THREADS", "0", "greater than or equal to 1"),
        ("CHURN_NOW", "2026-03-01T00:00:00", "timezone"),
        ("CHURN_NOW", "yesterday", "datetime"),
        ("CHURN_DATABASE_URL", "mysql://me:hunter2@db/churn", "postgresql://"),
        ("CHURN_DATABASE_URL", "postgresql://db", "postgresql://"),
        ("CHURN_METABASE_URL", "metabase.example.com", "http://"),
        ("CHURN_SECRET_KEY", "hunter2", "Fernet"),
        ("CHURN_LOG_LEVEL", "loud", "debug"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_variable_and_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert variable in str(caught.value)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CHURN_DATABSE_URL", "CHURN_DATABASE_URL"),
        ("CHURN_REJECT_LIMITS", "CHURN_REJECT_LIMIT"),
        ("CHURN_METABASE_APIKEY", "CHURN_METABASE_API_KEY"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_closest_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsError, match=f"{variable} is no setting; did you mean {meant}"):
        load_settings()


def test_a_variable_may_hold_the_secret_of_the_company_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHURN_SOURCE_BRIGHTDESK__KEY", "s3cret")
    assert resolve_secret("env:CHURN_SOURCE_BRIGHTDESK__KEY", load_settings(), "brightdesk") == "s3cret"


def test_a_secret_in_a_file_is_found_in_the_companys_folder_and_stripped(tmp_path: Path) -> None:
    folder = secrets_folder(Settings(home=tmp_path), "acme")
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "crm").write_text("s3cret\n")
    assert resolve_secret("file:keys/crm", Settings(home=tmp_path), "acme") == "s3cret"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:CHURN_SOURCE_ACME__NO_SUCH", "NO_SUCH is not set"),
        ("file:no/such", "no/such"),
        ("file:empty", "is empty"),
        ("file:binary", "not a text file"),
        ("hunter2", "must be a reference"),
        ("env:", "must be a reference"),
        ("encrypted:abc", "CHURN_SECRET_KEY, which is not set"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error_that_shows_no_secret(
    tmp_path: Path, reference: str, said: str
) -> None:
    folder = secrets_folder(Settings(home=tmp_path), "acme")
    folder.mkdir(parents=True)
    (folder / "empty").touch()
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SecretNotFound, match=said) as caught:
        resolve_secret(reference, Settings(home=tmp_path), "acme")
    assert "hunter2" not in str(caught.value)


def test_an_encrypted_secret_opens_with_its_key_only(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "secret_key": Fernet.generate_key().decode()})
    other = Settings.model_validate({"home": tmp_path, "secret_key": Fernet.generate_key().decode()})
    reference = encrypt_secret("s3cret", settings, "acme")
    assert "s3cret" not in reference
    assert resolve_secret(reference, settings, "acme") == "s3cret"
    with pytest.raises(SecretNotFound, match="does not open"):
        resolve_secret(reference, other, "acme")


def test_secrets_may_come_as_files_and_the_password_joins_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "churn_database_password").write_text("p@ss/word\n")
    (tmp_path / "churn_metabase_password").write_text("from-a-file")
    monkeypatch.setattr("warehouse.settings.SECRETS_DIRECTORY", tmp_path)
    monkeypatch.setenv("CHURN_DATABASE_URL", "postgresql://churn_owner@postgres:5432/churn")
    monkeypatch.setenv("CHURN_METABASE_PASSWORD", "from-the-environment")
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://churn_owner:p%40ss%2Fword@postgres:5432/churn"
    assert settings.metabase_password is not None
    assert settings.metabase_password.get_secret_value() == "from-the-environment"


@pytest.mark.parametrize(
    ("file", "meant"),
    [
        ("churn_mail_ulr", "churn_mail_url"),
        ("churn-mail-url", "churn_mail_url"),
        ("mail_url", "churn_mail_url"),
        ("CHURN_DATABASE_PASWORD", "churn_database_password"),
        ("database_passwd", "churn_database_password"),
    ],
)
def test_a_misspelt_file_of_a_secret_is_an_error_that_names_the_closest_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, meant: str
) -> None:
    monkeypatch.setattr("warehouse.settings.SECRETS_DIRECTORY", tmp_path)
    # What Kubernetes puts beside the files, and what is another's.
    for name in ("..data", "..2026_11_30", "ca.crt", "postgres_password"):
        (tmp_path / name).write_text("")
    (tmp_path / "sentry_dsn").write_text("https://key@sentry.example/1")
    load_settings()
    (tmp_path / file).write_text("secret")
    with pytest.raises(SettingsError, match=f"{file} is no setting's file; did you mean {meant}"):
        load_settings()


@pytest.mark.parametrize("url", ["smtp://mail:25", "mailto://mail:25", "mailto://?from=a@b.example"])
def test_a_mail_server_names_its_host_and_the_sender(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CHURN_MAIL_URL", url)
    with pytest.raises(SettingsError, match="CHURN_MAIL_URL"):
        load_settings()
