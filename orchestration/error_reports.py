"""Errors to Sentry, where SENTRY_DSN is set: what broke and where, of which company and stage, and no personal data."""

from __future__ import annotations

from typing import Any

from warehouse.settings import Settings

_KEPT_OF_A_FRAME = ("filename", "function", "module", "lineno")
_KEPT_TAGS = ("company", "stage", "dagster_run_id")
_KEPT_OF_AN_EVENT = ("event_id", "timestamp", "level", "platform", "release", "sdk", "exception", "tags")


def start(settings: Settings) -> bool:
    """Report errors from here on; returns whether there is anywhere to report to."""
    if settings.sentry_dsn is None:
        return False
    import sentry_sdk

    sentry_sdk.init(
        dsn=settings.sentry_dsn.get_secret_value(),
        before_send=without_personal_data,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        server_name="",
        default_integrations=False,
    )
    return True


def report(error: BaseException, *, company: str, stage: str, run_id: str) -> None:
    """Tell Sentry of an error that was dealt with; nothing happens where it was not started."""
    import sentry_sdk

    if not sentry_sdk.is_initialized():
        return
    with sentry_sdk.new_scope() as scope:
        for tag, value in zip(_KEPT_TAGS, (company, stage, run_id), strict=True):
            scope.set_tag(tag, value)
        scope.capture_exception(error)


def without_personal_data(event: Any, _hint: Any) -> Any:
    """The event with what names no person: types of errors, places in the code, our tags. Messages quote records."""
    kept = {name: event[name] for name in _KEPT_OF_AN_EVENT if name in event}
    kept["tags"] = {name: value for name, value in (event.get("tags") or {}).items() if name in _KEPT_TAGS}
    exceptions = (event.get("exception") or {}).get("values") or []
    kept["exception"] = {"values": [_without_message(exception) for exception in exceptions]}
    return kept


def _without_message(exception: dict[str, Any]) -> dict[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames") or []
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "stacktrace": {
            "frames": [{name: frame[name] for name in _KEPT_OF_A_FRAME if name in frame} for frame in frames]
        },
    }
