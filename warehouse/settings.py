"""The settings, and the only reader of the environment.

Every variable starts with CHURN_. A wrong value, or a name that looks like a
misspelt one of ours, is an error that names the variable.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from cryptography.fernet import Fernet
from pydantic import AwareDatetime, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from warehouse.errors import SettingsError

PREFIX = "CHURN_"
ENCRYPTED = "encrypted:"
SECRET_REFERENCES = ("env:", "file:", ENCRYPTED)
SECRETS_DIRECTORY = Path("/etc/churn/secrets")
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["colored", "json"]


OWN_PROJECT_FILE = "dbt_project.yml"
TAKES_OURS = "CHURN_DBT_PACKAGES"
"""The variable by which a dbt project of somebody's own finds ours; its dbt_project.yml names it."""


def _default_home() -> Path:
    """`.churn` beside the project: found from any folder inside it, as git finds `.git`."""
    here = Path(os.environ.get("CHURN_PROJECT") or Path.cwd()).expanduser().resolve()
    for folder in (here, *here.parents):
        if (folder / ".churn").is_dir() or (folder / "pyproject.toml").is_file() or is_own_project(folder):
            return folder / ".churn"
    return here / ".churn"


def is_own_project(folder: Path) -> bool:
    """Whether a folder is a dbt project of somebody's own that takes ours as a package, as `churn init` makes it."""
    file = folder / OWN_PROJECT_FILE
    return file.is_file() and TAKES_OURS in file.read_text(errors="replace")


def _project_beside(home: Path) -> Path | None:
    return home.parent if is_own_project(home.parent) else None


class Settings(BaseSettings):
    """What a user can set. Empty variables count as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    home: Annotated[Path, Field(description="Folder of the embedded Postgres, passwords and generated files.")] = Field(
        default_factory=_default_home, validate_default=True
    )
    project: Path | None = Field(
        default_factory=lambda known: _project_beside(known["home"]) if "home" in known else None,
        validate_default=True,
        description="Folder of a dbt project of your own, made by `churn init`; none: the folder that `.churn` "
        "lies in, where that is one.",
    )
    database_url: SecretStr | None = Field(
        default=None, description="Postgres 16 or later to use instead of the embedded one."
    )
    database_password: SecretStr | None = Field(
        default=None, description="The password for CHURN_DATABASE_URL, where the address holds a user and none."
    )
    secret_key: SecretStr | None = Field(
        default=None, description="Fernet key that opens `encrypted:` secrets of companies, and hashes personal data."
    )
    secret_key_previous: SecretStr | None = Field(
        default=None,
        description="The key before it, which still opens what `churn secret rotate` has not re-encrypted.",
    )
    secret_variables: str = Field(
        default="CHURN_SOURCE_",
        pattern=r"^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_$",
        description="How variables begin that companies may refer to; the company's slug follows, in capitals.",
    )
    private_sources: str = Field(
        default="",
        description="Networks that are not the internet and that companies' CRMs and channels may be in, with commas: "
        "10.0.0.0/8, 192.168.7.4.",
    )
    import_folders: str = Field(
        default="",
        description="Absolute folders, with commas, that hold a folder of files per company, named by its slug; "
        "`imports` of the home folder is one always.",
    )
    backup_folder: str | None = Field(
        default=None,
        description="Absolute folder for the backups that the job `backup` makes; none: it makes none.",
    )
    backups_kept: int = Field(default=7, ge=1, description="How many of them stay.")
    now: AwareDatetime | None = Field(
        default=None,
        description="The moment to treat as now (ISO 8601 with an offset); none: the real clock.",
    )
    reject_limit: float = Field(
        default=0.05, ge=0, le=1, description="Share of rejected records (0 to 1) past which a load fails."
    )
    companies_at_once: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Companies that a sync reads side by side, one per CRM unless a pool says more.",
    )
    request_seconds: float = Field(
        default=60, gt=0, description="Seconds that one request to a company's CRM may take, from start to end."
    )
    load_seconds: float = Field(
        default=1800, gt=0, description="Seconds that one load may take; the next goes on from where it stopped."
    )
    company_seconds: float = Field(
        default=3600, gt=0, description="Seconds that all loads of a company may take in one run; then it is left out."
    )
    disk_reserve_mb: int = Field(
        default=500, ge=1, description="MiB that stay free on the disk of the home folder; below it no run goes on."
    )
    threads: int = Field(default=2, ge=1, le=64, description="Threads of dbt and of model training.")
    search_trials: int | None = Field(
        default=None,
        ge=1,
        description="Trials of settings that `churn train` and the weekly training search; none: no limit.",
    )
    search_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds that they search; with trials, what ends first; neither: no search.",
    )
    feed_probability_band: float = Field(
        default=0.02, ge=0, le=1, description="A probability that moved by less since it was sent is no change."
    )
    feed_odds_band: float = Field(
        default=0.1, ge=0, description="Another risk level is no change while the odds moved by a smaller share."
    )
    feed_retention_days: int = Field(default=30, ge=1, description="Days that the change feed keeps every change.")
    shadow_retention_days: int = Field(
        default=365, ge=1, description="Days that a challenger's score is kept once its outcome is known."
    )
    retrain_after_days: int = Field(
        default=30, ge=1, description="A model older than this is trained again by the daily run."
    )
    retrain_minimum_days: int = Field(
        default=7, ge=1, description="Days between two trainings that drift, grades or the calendar ask for."
    )
    track_record_share: float = Field(
        default=0.5,
        ge=0,
        description="Share of the time of a company's longest training that a run may take to replay its past months.",
    )
    ladder_own_outcomes: int = Field(
        default=60, ge=1, description="Customers who churned that a company needs for a model of its own."
    )
    ladder_own_survivors: int = Field(
        default=100, ge=1, description="Customers who stayed that a company needs for a model of its own."
    )
    ladder_pooled_outcomes: int = Field(
        default=60, ge=1, description="Customers who churned that a pool of companies needs for a model."
    )
    ladder_pooled_survivors: int = Field(
        default=100, ge=1, description="Customers who stayed that a pool of companies needs for a model."
    )
    metabase_url: str | None = Field(default=None, description="Metabase's address, for dashboards.")
    metabase_api_key: SecretStr | None = Field(default=None, description="API key of Metabase.")
    metabase_username: str | None = Field(default=None, description="Metabase user, where there is no API key.")
    metabase_password: SecretStr | None = Field(default=None, description="That user's password.")
    mail_url: SecretStr | None = Field(
        default=None,
        description="The mail server, as apprise writes it: mailto://user:password@host:587?from=churn@example.com",
    )
    operator_addresses: str = Field(
        default="",
        description="E-mail addresses, or references to addresses of other channels, with commas: who is told of "
        "failures of all companies.",
    )
    sentry_dsn: SecretStr | None = Field(
        default=None, validation_alias="SENTRY_DSN", description="Where errors are reported, without personal data."
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")
    log_format: LogFormat = Field(
        default="colored", description="colored: text, which Dagster colours; or json: one object a line."
    )

    @model_validator(mode="before")
    @classmethod
    def _password_into_the_address(cls, data: Any) -> Any:
        url, password = (_clear(data.get(name)) for name in ("database_url", "database_password"))
        if not url or not password:
            return data
        parts = urlsplit(url)
        if not parts.username or parts.password is not None:
            return data
        user, _, place = parts.netloc.rpartition("@")
        return data | {"database_url": parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()}

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().resolve()

    @field_validator("project")
    @classmethod
    def _is_a_project(cls, project: Path | None) -> Path | None:
        if project is None:
            return None
        folder = project.expanduser().resolve()
        if not (folder / OWN_PROJECT_FILE).is_file():
            raise ValueError(f"{folder} has no {OWN_PROJECT_FILE}; `churn init {folder}` makes a project there")
        if not is_own_project(folder):
            raise ValueError(
                f"{folder / OWN_PROJECT_FILE} does not take ours as a package: it names {TAKES_OURS} nowhere; "
                "`churn init` in an empty folder shows how"
            )
        return folder

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme.split("+")[0] not in {"postgres", "postgresql"} or len(parts.path) < 2:
            raise ValueError("must look like postgresql://user:password@host:5432/database")
        return url

    @field_validator("metabase_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url

    @field_validator("mail_url")
    @classmethod
    def _is_mail(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = urlsplit(url.get_secret_value())
            if parts.scheme not in {"mailto", "mailtos"} or not parts.hostname or "from" not in parse_qs(parts.query):
                raise ValueError("must look like mailto://user:password@host:587?from=churn@example.com")
        return url

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def _is_fernet_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            fernet(key)
        return key

    @field_validator("private_sources")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        for network in _listed(networks):
            ipaddress.ip_network(network)
        return networks

    @property
    def private_networks(self) -> tuple[str, ...]:
        """The networks besides the internet that companies' CRMs may be in."""
        return tuple(_listed(self.private_sources))

    @property
    def demo_places(self) -> frozenset[tuple[str, int]]:
        """Where this home's demo serves its CRM, as (address, port); empty where there is no demo."""
        demo = self.home / "demo"
        try:
            host, port = (demo / "host").read_text().strip(), int((demo / "port").read_text())
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            return frozenset()
        return frozenset((str(entry[4][0]), port) for entry in entries)

    @field_validator("backup_folder")
    @classmethod
    def _absolute_folder(cls, folder: str | None) -> str | None:
        if folder is not None and not Path(folder).is_absolute():
            raise ValueError("must be an absolute path")
        return folder

    @field_validator("import_folders")
    @classmethod
    def _absolute_folders(cls, folders: str) -> str:
        if not all(Path(folder).is_absolute() for folder in _listed(folders)):
            raise ValueError("each folder must be an absolute path")
        return folders

    @property
    def import_roots(self) -> tuple[Path, ...]:
        """Where companies' files may lie, each in a folder named by the company's slug."""
        own = () if self.project is None else (self.project / "imports",)
        return (self.home / "imports", *own, *map(Path, _listed(self.import_folders)))

    @field_validator("secret_variables")
    @classmethod
    def _leads_to_no_setting(cls, beginning: str) -> str:
        ours = sorted(name for name in _our_variables() if name.startswith(beginning))
        if ours:
            raise ValueError(f"companies could read {', '.join(ours)} by it")
        return beginning

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word


def load_settings() -> Settings:
    """Read the settings from the environment, and those that are not there from files of SECRETS_DIRECTORY.

    A file is named like its variable, in small letters, as compose and Kubernetes mount them.

    Raises SettingsError, which names the variable that is wrong or misspelt.
    """
    _refuse_misspelt_names()
    try:
        return Settings(_secrets_dir=SECRETS_DIRECTORY if SECRETS_DIRECTORY.is_dir() else None)
    except ValidationError as error:
        problems = [
            f"{PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError(f"Wrong setting in the environment. {'; '.join(problems)}. Mend or unset it.") from None


def fernet(key: SecretStr) -> Fernet:
    """What encrypts and decrypts with this key. Raises ValueError for a text that is no Fernet key."""
    try:
        return Fernet(key.get_secret_value())
    except ValueError:
        raise ValueError("must be a Fernet key: 32 bytes, URL-safe base64") from None


def _our_variables() -> set[str]:
    return {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {"SENTRY_DSN"}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _clear(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")


def _refuse_misspelt_names() -> None:
    """What looks like a setting of ours and is none, among the variables and the files of secrets."""
    of_companies = os.environ.get(f"{PREFIX}SECRET_VARIABLES") or Settings.model_fields["secret_variables"].default
    for variable in sorted(os.environ):
        close = None if variable.startswith(of_companies) else _close_setting(variable)
        if close:
            raise SettingsError(f"{variable} is no setting; did you mean {close}? Rename or unset it.")
    for file in sorted(SECRETS_DIRECTORY.iterdir()) if SECRETS_DIRECTORY.is_dir() else ():
        variable = file.name.upper().replace("-", "_")
        # The folder is ours alone: a name without the prefix is meant for us, too.
        close = _close_setting(PREFIX + variable.removeprefix(PREFIX)) or _renamed(file.name)
        if close:
            raise SettingsError(f"{file} is no setting's file; did you mean {close.lower()}? Rename or remove it.")


def _renamed(file: str) -> str | None:
    """The setting that a file would be by another spelling of its name: without a prefix, or with hyphens."""
    name = file.upper().replace("-", "_").removeprefix(PREFIX)
    variable = "SENTRY_DSN" if name == "SENTRY_DSN" else f"{PREFIX}{name}"
    return variable if variable in _our_variables() and file.upper() != variable else None


def _close_setting(variable: str) -> str | None:
    """The setting that this name was meant to be; None for a setting's own name, and for what is not ours."""
    known = {name.upper() for name in Settings.model_fields}
    name = variable.removeprefix(PREFIX)
    if name == variable or name in known:
        return None
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"{PREFIX}{close[0]}" if close else None
