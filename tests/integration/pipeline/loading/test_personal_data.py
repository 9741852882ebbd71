"""A company that wants names, e-mails and phones hashed or dropped: nothing of them is stored anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from pipeline.loading.sync import LoadResult, sync_company
from tests.integration.company_folders import imports, put_secret
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, Answer, StandIn, answer, crm
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.settings import Settings

CLOCK = Clock(datetime(2025, 6, 1, tzinfo=UTC))
PERSONAL = ("Ada Lovelace", "ada@example.com", "+44 20 7946 0000", "ada@other.example", "Rejected Person")

CUSTOMERS = [
    {
        "id": "c1",
        "name": PERSONAL[0],
        "email": PERSONAL[1],
        "phone": PERSONAL[2],
        "country": "GB",
        "created_at": "2025-01-01",
        "updated_at": "2025-01-05T00:00:00Z",
        "custom": {"email": PERSONAL[3], "industry": "mills"},
    },
    {"id": "c2", "name": PERSONAL[0], "created_at": "2025-01-01", "updated_at": "2025-01-05T00:00:00Z"},
    {"id": "c3", "name": PERSONAL[4], "created_at": "never", "updated_at": "2025-01-05T00:00:00Z"},
    {"id": "c5", "name": f"{PERSONAL[4]}\0", "created_at": "2025-01-01", "updated_at": "2025-01-05T00:00:00Z"},
    {"id": "c4", "name": {"first": PERSONAL[4]}, "created_at": "2025-01-01", "updated_at": "2025-01-05T00:00:00Z"},
    PERSONAL[4],
]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    def answers(path: str, *_: object) -> Answer:
        if path.endswith("totals"):
            return answer(200, {"customers": {"live": len(CUSTOMERS), "deleted": 0}})
        return answer(200, {"data": CUSTOMERS, "next_cursor": None})

    with crm({}) as running:
        running.misbehave = answers
        yield running


Sync = Callable[..., LoadResult]


@pytest.fixture
def sync(warehouse: Warehouse, stand_in: StandIn, add_company: Callable[..., Company], tmp_path: Path) -> Sync:
    for slug in ("acme", "other"):
        put_secret(tmp_path, slug, "key", API_KEY)

    def run(personal_data: str, slug: str = "acme", **settings: Any) -> LoadResult:
        company = add_company(
            slug,
            entities=["customers"],
            personal_data=personal_data,
            connector_settings={"base_url": stand_in.url, "api_key": "file:key"},
        )
        ours = Settings(home=tmp_path, reject_limit=1, **settings)
        (result,) = sync_company(warehouse, company, CLOCK, ours)
        return result

    return run


def rows(warehouse: Warehouse, table: str) -> list[Any]:
    with warehouse.connect() as connection:
        query = f"select to_jsonb(stored) from {table} as stored order by to_jsonb(stored) ->> 'customer_id'"
        return [row for (row,) in connection.execute(query)]  # type: ignore[call-overload]


def everything(warehouse: Warehouse) -> str:
    return str(rows(warehouse, "raw.customers")) + str(rows(warehouse, "raw.rejected_records"))


def key() -> str:
    return Fernet.generate_key().decode()


def test_kept_they_are_as_the_source_gave_them(warehouse: Warehouse, sync: Sync) -> None:
    result = sync("keep")
    assert (result.loaded, result.rejected) == (2, 4)
    stored = everything(warehouse)
    assert all(person in stored for person in PERSONAL)


def test_dropped_they_are_null_in_records_and_nowhere_in_rejected_ones(warehouse: Warehouse, sync: Sync) -> None:
    sync("drop")
    first, second = rows(warehouse, "raw.customers")
    assert (first["name"], first["email"], first["phone"]) == (None, None, None)
    assert first["attributes"] == {"email": None, "industry": "mills"}
    assert (first["country"], second["name"]) == ("GB", None)
    assert len(rows(warehouse, "raw.rejected_records")) == 4
    stored = everything(warehouse)
    assert not [person for person in PERSONAL if person in stored]


def test_hashed_the_same_person_is_the_same_in_a_company_and_another_in_the_next(
    warehouse: Warehouse, sync: Sync
) -> None:
    secret = key()
    sync("hash", secret_key=secret)
    sync("hash", "other", secret_key=secret)
    stored = rows(warehouse, "raw.customers")
    by_company: dict[int, list[dict[str, Any]]] = {}
    for row in stored:
        by_company.setdefault(row["company_id"], []).append(row)
    (mine, also_mine), (theirs, _) = by_company.values()
    assert len(mine["name"]) == len(mine["email"]) == 64
    assert mine["name"] == also_mine["name"] != theirs["name"]
    assert mine["attributes"]["industry"] == "mills"
    assert also_mine["email"] is None
    content = everything(warehouse)
    assert not [person for person in PERSONAL if person in content]


def test_hashing_without_a_key_fails_the_load_and_says_what_to_set(warehouse: Warehouse, sync: Sync) -> None:
    result = sync("hash")
    assert result.status == "failed"
    assert result.error is not None
    assert "CHURN_SECRET_KEY, which is not set" in result.error
    assert everything(warehouse) == "[][]"


def test_a_files_own_names_for_them_are_known(
    warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path
) -> None:
    (imports(tmp_path) / "c.csv").write_text(
        f"no,full_name,mail,since\n1,{PERSONAL[0]},{PERSONAL[1]},2025-01-01\n2,{PERSONAL[4]},,never\n3,{PERSONAL[4]},a,b,c,d\n"
    )
    company = add_company(
        "acme",
        entities=["customers"],
        connector="files",
        personal_data="drop",
        connector_settings={
            "files": {
                "customers": {
                    "path": "c.csv",
                    "columns": {
                        "customer_id": "no",
                        "name": "full_name",
                        "email": "mail",
                        "created_at": "since",
                        "updated_at": "since",
                    },
                }
            },
        },
    )
    (result,) = sync_company(warehouse, company, CLOCK, Settings(home=tmp_path, reject_limit=1))
    assert (result.loaded, result.rejected) == (1, 2)
    stored = everything(warehouse)
    assert not [person for person in PERSONAL if person in stored]
