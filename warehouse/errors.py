"""Every error of this package. A message says what happened and to whom; the advice says what to do."""

from __future__ import annotations

from foundation.errors import ChurnError


class WarehouseError(ChurnError):
    """Base of all errors that the warehouse package raises on purpose."""


class SettingsError(WarehouseError):
    """A CHURN_ environment variable is wrong or misspelt; the message names it."""


class SecretNotFound(WarehouseError):
    """A secret's reference leads nowhere; the message names the reference, never a secret."""


class SecretOfAnother(SecretNotFound):
    """A company's reference leads to what was not put there for it: our own secrets, another company's, any file."""

    advice = "docs/security.md says who may refer to what."


class SecretMoved(WarehouseError):
    """A changed definition would send a company's secret to a host that it was not registered for."""

    advice = "docs/security.md says who may refer to what."


class ServerError(WarehouseError):
    """The embedded Postgres could not be created, started or stopped."""


class ServerInUse(ServerError):
    """The embedded Postgres is not stopped, since other commands are using it."""

    advice = "`churn down --force` stops it all the same."


class WarehouseUnreachable(WarehouseError):
    """No connection to the warehouse could be opened."""

    advice = "Start that Postgres, or mend CHURN_DATABASE_URL; without it `churn up` starts one of our own."


class UnsupportedServer(WarehouseError):
    """The Postgres at CHURN_DATABASE_URL is too old, or its user may do too little."""

    advice = "CHURN_DATABASE_URL names the Postgres to use; without it `churn up` starts one of our own."


class NewerWarehouse(WarehouseError):
    """A later release has migrated the warehouse: there is no way back but a backup."""

    advice = (
        "Install that release or a later one, or restore a backup of before the upgrade into an empty warehouse; "
        "nothing was changed."
    )


class PoolerInTheWay(WarehouseError):
    """What answers at CHURN_DATABASE_URL is a connection pooler, which does not take on a session's role."""

    advice = (
        "CHURN_DATABASE_URL must name Postgres itself, or the pooler's session port where that passes `options` on."
    )


class LockHeld(WarehouseError):
    """A statement waited for a lock for as long as it may; the message says who holds what."""

    advice = "Let that session end, or end it by `select pg_terminate_backend(PID)`, and run the command again."


class MigrationError(WarehouseError):
    """The warehouse's schema could not be brought up to date."""

    advice = "`churn migrate` tries again."


class CompanyDefinitionError(WarehouseError):
    """A company's definition breaks a rule; the message names the company and the field."""

    advice = "docs/companies.md describes every field."


class CompanyNotFound(WarehouseError):
    """No company has this slug."""

    advice = "`churn company add FILE` registers one."


class CompaniesMoved(WarehouseError):
    """The registry changed between a plan and its application."""


class CompanyStillActive(WarehouseError):
    """A company that is active cannot be removed."""


class LoginShutOut(WarehouseError):
    """A login may not connect to the warehouse's database, and we may not let it; the message has the SQL."""


class CompanyLoginHeld(WarehouseError):
    """Something that is not the warehouse's keeps a company's login from being dropped."""

    advice = "`churn company remove SLUG` goes on from there."
