"""One company never stops the others: what a step for all companies fails on is left out, named, and let in again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.churn_home import ChurnHome
from tests.e2e.companies_of_files import definition, write_company, write_definitions

pytestmark = pytest.mark.xdist_group("companies_left_out")

# How records and settings of an older release, or written by hand, break a step for all companies: no check of ours
# has seen them.
BREAKAGES = {
    "long_country": "update raw.customers set country = (select string_agg(md5(n::text), '')"
    " from generate_series(1, 400) as n) where company_id = {company_id} and customer_id in ('c1', 'c2')",
    "unknown_zone": "update ops.companies set time_zone = 'localtime' where company_id = {company_id}",
    "long_horizon": "update ops.company_tasks set settings = settings || '{{\"horizon_days\": 100000000}}'"
    " where company_id = {company_id}",
    "wrong_hours": 'update ops.companies set business_hours = \'{{"monday": ["9 o clock", "17:00"]}}\','
    " entities = entities || '{{tickets}}' where company_id = {company_id}",
    "less_than_no_seats": "insert into raw.customers (company_id, customer_id, created_at, updated_at, known_at,"
    " is_backfill, is_deleted, load_id, seats)"
    " select company_id, customer_id, created_at, updated_at + interval '1 day', known_at, is_backfill, is_deleted,"
    " load_id, -5 from raw.customers where company_id = {company_id}",
}


@dataclass
class Line(ChurnHome):
    """A warehouse of small companies."""

    def add(self, slugs: list[str]) -> None:
        for slug in slugs:
            write_company(self.home, slug)
        path = write_definitions(self.home, [definition(slug) for slug in slugs])
        done = self.churn("company", "apply", str(path), "--yes")
        assert done.returncode == 0, done.stderr

    def break_company(self, slug: str, breakage: str) -> None:
        ((company_id,),) = self.ask("select company_id from ops.companies where slug = %s", slug)
        self.change(BREAKAGES[breakage].format(company_id=company_id))

    def published(self) -> set[str]:
        query = "select distinct slug from predictions.churn_current inner join ops.companies using (company_id)"
        return {slug for (slug,) in self.ask(query)}

    def rows_of(self, slug: str, relation: str) -> int:
        query = f"select count(*) from {relation} inner join ops.companies using (company_id) where slug = %s"
        ((count,),) = self.ask(query, slug)
        return int(count)


def run_of(companies: int, broken: dict[str, str], line: Line) -> None:
    """Companies of whom some are broken after their first load: the others are published, and these are named."""
    slugs = [f"shop_{number}" for number in range(companies)]
    line.add(slugs)
    assert line.churn("sync").returncode == 0
    for slug, breakage in broken.items():
        line.break_company(slug, breakage)

    done = line.churn("run")

    assert done.returncode == 1, done.stdout
    assert line.published() == set(slugs) - set(broken), done.stderr
    named = {slug for slug in slugs if f"{slug} · transform: left out since" in done.stderr}
    assert named == set(broken), done.stderr
