"""One API on the two companies, for all modules that ask it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.integration.conftest import TwoCompanies
from tests.integration.serving.served import Served, serving


@dataclass(frozen=True)
class Asker:
    """A company that asks: its client, which shows its key, and the names of its customers."""

    company_id: int
    slug: str
    key: str
    client: httpx.Client
    customers: list[str]


@pytest.fixture(scope="session")
def served(two_companies: TwoCompanies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("api")
    with serving(two_companies.warehouse, home, CHURN_LOG_LEVEL="info") as (address, process, log):
        served = Served(two_companies.warehouse, address, process, log)
        yield served
        served.forget_keys()


@pytest.fixture(scope="session")
def askers(served: Served, two_companies: TwoCompanies) -> Iterator[tuple[Asker, Asker]]:
    """Both companies, each with a key for everything."""
    found = []
    for company_id in two_companies.company_ids:
        with two_companies.warehouse.connect() as connection:
            (slug,) = connection.execute(
                "select slug from ops.companies where company_id = %s", [company_id]
            ).fetchone() or ("",)
            rows = connection.execute(
                "select customer_id from predictions.churn_current where company_id = %s order by 1", [company_id]
            ).fetchall()
        key = served.key(slug)
        found.append(Asker(company_id, slug, key, served.client(key), [customer for (customer,) in rows]))
    yield found[0], found[1]
    for asker in found:
        asker.client.close()
