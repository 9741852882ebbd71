"""What can go wrong between us and Metabase, one class per thing a person would do about it."""

from __future__ import annotations

from foundation.errors import ChurnError

_ADVICE_BY_STATUS = {
    401: "Check CHURN_METABASE_API_KEY, or CHURN_METABASE_USERNAME and CHURN_METABASE_PASSWORD.",
    402: "That is a feature of a paid Metabase.",
    403: "The account must be an administrator of Metabase.",
}


class MetabaseError(ChurnError):
    """Base of every error that this integration raises."""


class DefinitionError(MetabaseError):
    """A file under `dashboards/` is wrong; the message names the file and the key."""

    advice = "docs/dashboards.md describes the files."


class MetabaseUnreachable(MetabaseError):
    """No answer came: wrong address, not started yet, or the network between."""

    advice = (
        "Check CHURN_METABASE_URL; a Metabase that has just been started needs about a minute. "
        "`churn dashboards plan` tries it and writes nothing."
    )


class MetabaseNotReady(MetabaseError):
    """Metabase answers but cannot be used as it stands: fresh without an account to set up, or too old."""


class MetabaseNotOurs(MetabaseError):
    """Something of the name we need exists and was not made by us, so it is left alone."""


class WarehouseNotSeen(MetabaseError):
    """Metabase cannot reach the warehouse, or does not see the tables that the dashboards read."""


class MetabaseRefused(MetabaseError):
    """Metabase answered with an error status.

    Attributes: `status` (HTTP status), `method`, `path`, and `body` (what it said, secrets taken out).
    """

    def __init__(self, status: int, method: str, path: str, body: str) -> None:
        self.status = status
        self.method = method
        self.path = path
        self.body = body
        super().__init__(f"Metabase refused {method} {path} with status {status}: {body}")
        self.advice = _ADVICE_BY_STATUS.get(status, "")
