"""The folder a world lives in: the clock, the keys and the companies' registration. No records, no HTTP."""

import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from demo.world.companies import COMPANIES, Company
from demo.world.moments import HISTORY_START, STARTING_CLOCK, WORLD_END, as_datetime

DEFAULT_PORT = 8791
THIS_MACHINE = "127.0.0.1"
KEY_FILE = "habari-crm"


class DemoError(Exception):
    """Something about the demo that its user can put right; the message says how."""


class ClockOutOfRange(DemoError):
    """The clock was asked to stand where the world has no records."""


class WorldMissing(DemoError):
    """The folder holds no finished world."""


def read_clock(home: Path) -> datetime:
    """Where the CRM's clock stands; the file is the one truth, for the server too."""
    path = home / "clock"
    try:
        return datetime.fromisoformat(path.read_text().strip())
    except FileNotFoundError:
        raise WorldMissing(f"{home} holds no world: build one with `python -m demo build --home {home}`") from None


def set_clock(home: Path, now: datetime) -> datetime:
    """Move the clock, and the companies' `clock_at` in companies.yaml with it.

    Raises ClockOutOfRange outside the world's span. `now` must be aware.
    """
    first, last = as_datetime(HISTORY_START), as_datetime(WORLD_END)
    if not first <= now <= last:
        raise ClockOutOfRange(f"{now.isoformat()} lies outside this world: {first.isoformat()} to {last.isoformat()}")
    now = now.astimezone(UTC)
    _write(home / "clock", now.isoformat() + "\n")
    companies = read_companies(home)
    for company in companies:
        company["clock_at"] = now.isoformat()
    _write_companies(home, companies)
    return now


def advance_clock(home: Path, days: int) -> datetime:
    """Move the clock on by whole days; returns where it stands then."""
    return set_clock(home, read_clock(home) + timedelta(days=days))


def furnish(home: Path, churn_home: Path, port: int) -> None:
    """Write keys (kept where there are some), companies.yaml and the clock at its start."""
    (home / "keys").mkdir(mode=0o700, exist_ok=True)
    for name in [*(company.slug for company in COMPANIES), "admin", "cursor"]:
        if not (home / "keys" / name).exists():
            _write(home / "keys" / name, secrets.token_urlsafe(24))
    hand_keys_out(home, churn_home)
    _write_companies(home, [_definition(company, port) for company in COMPANIES])
    set_clock(home, as_datetime(STARTING_CLOCK))


def hand_keys_out(home: Path, churn_home: Path) -> None:
    """Put each company's key where the warehouse looks for that company's secrets, and nowhere else."""
    for company in COMPANIES:
        folder = churn_home / "secrets" / company.slug
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / KEY_FILE, read_key(home, company.slug))


def read_key(home: Path, name: str) -> str:
    """A key by name: a company's slug, `admin` or `cursor`."""
    return (home / "keys" / name).read_text().strip()


def read_companies(home: Path) -> list[dict[str, Any]]:
    """The companies' definitions as they stand in companies.yaml."""
    definitions: list[dict[str, Any]] = yaml.safe_load((home / "companies.yaml").read_text())["companies"]
    return definitions


def announce_place(home: Path, host: str, port: int) -> None:
    """Write where the CRM is served into files of the folder, and into the companies' connector settings."""
    _write(home / "host", f"{host}\n")
    _write(home / "port", f"{port}\n")
    companies = read_companies(home)
    for company in companies:
        company["connector_settings"] = _connection(host, port)
    _write_companies(home, companies)


def _connection(host: str, port: int) -> dict[str, str]:
    return {"base_url": f"http://{host}:{port}", "api_key": f"file:{KEY_FILE}"}


def _definition(company: Company, port: int) -> dict[str, Any]:
    return {
        "slug": company.slug,
        "name": company.name,
        "connector": "habari_api",
        "connector_settings": _connection(THIS_MACHINE, port),
        "entities": _entities(company),
        "tasks": _tasks(company),
        "currency": company.currency,
        "time_zone": company.time_zone,
        "business_hours": {day: list(hours) for day, hours in company.business_hours.items()},
        "custom_attributes": [asdict(field) for field in company.custom_fields],
        "segment_by": company.segment_by,
        "shares_training": company.shares_training,
        # Two of the demo's companies mean the same by churn.
        "allows_small_pool": company.shares_training,
        "clock_at": None,
        **({"actions": list(company.actions)} if company.actions else {}),
    }


def _entities(company: Company) -> list[str]:
    events = ["events"] if company.usage else []
    return ["customers", "tickets", "payments", *events, *(["campaigns", "sends"] if company.marketing else [])]


def _tasks(company: Company) -> dict[str, dict[str, Any]]:
    days = company.horizon_days
    means: dict[str, Any] = {"kind": "cancellation"}
    if company.kind == "purchases":
        means = {"kind": "inactivity", "inactivity_days": days}
    return {"churn": means | {"horizon_days": days}, **company.further_tasks}


def _write_companies(home: Path, companies: Sequence[dict[str, Any]]) -> None:
    text = yaml.safe_dump({"companies": list(companies)}, sort_keys=False, allow_unicode=True)
    _write(home / "companies.yaml", text)


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step, so that a reader sees the old or the new text."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    draft.replace(path)
