"""One company never stops the others: what a step for all companies fails on is left out, named, and let in again."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.churn_home import ChurnHome
from tests.e2e.companies_of_files import (
    NOW,
    definition,
    payments,
    write_company,
    write_definitions,
    write_lines,
)
from tests.e2e.extreme_records import extreme_records
from tests.e2e.extreme_records import settings as extreme_settings

pytestmark = pytest.mark.xdist_group("companies_left_out")

# How records and settings of an older release, or written by hand, break a step for all companies: no check of ours
# has seen them.
BREAKAGES = {
    "long_country": "insert into raw.customers (company_id, customer_id, created_at, updated_at, known_at,"
    " is_backfill, is_deleted, load_id, country)"
    " select company_id, customer_id, created_at, updated_at + interval '1 day', known_at, is_backfill, is_deleted,"
    " load_id, (select string_agg(md5(n::text), '') from generate_series(1, 400) as n) from raw.customers"
    " where company_id = {company_id} and customer_id in ('c1', 'c2')",
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


GOOD = "good"
BROKEN = {breakage: breakage for breakage in ("unknown_zone", "long_country", "less_than_no_seats")}
CAUSES = {
    "unknown_zone": 'time zone "localtime" not recognized',
    "long_country": "index row",
    "less_than_no_seats": "rows break it",
}
RELATIONS = ("analytics.customer_overview", "analytics.revenue_statistics_by_month", "predictions.churn_current")


@dataclass
class Line(ChurnHome):
    """A warehouse of small companies, what its runs printed, and how many rows each company had between them."""

    first: subprocess.CompletedProcess[str] = field(init=False)
    second: subprocess.CompletedProcess[str] = field(init=False)
    before: dict[str, list[int]] = field(init=False)

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

    def rows(self, slug: str) -> list[int]:
        counts = [
            f"(select count(*) from {relation} as held where held.company_id = companies.company_id)"
            for relation in RELATIONS
        ]
        ((*rows,),) = self.ask(f"select {', '.join(counts)} from ops.companies where slug = %s", slug)
        return rows


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Companies of every kind after a first run in which all is well."""
    line = Line(tmp_path_factory.mktemp("left_out") / "home")
    line.add([GOOD, *BROKEN])
    long_ago = [each for each in payments() if str(each["paid_at"]) < (NOW - timedelta(days=130)).isoformat()]
    write_company(line.home, "everybody_left", payments=long_ago)
    write_company(line.home, "nobody_came", customers=[], payments=[])
    write_lines(line.home, "extremes", extreme_records(seed=7))
    definitions = [
        definition("everybody_left"),
        definition("nobody_came"),
        definition("extremes", **extreme_settings()),
    ]
    added = line.churn("company", "apply", str(write_definitions(line.home, definitions)), "--yes")
    assert added.returncode == 0, added.stderr
    line.first = line.churn("run")
    return line


def test_contract_valid_extremes_are_published_beside_the_others(line: Line) -> None:
    assert line.published() == {GOOD, *BROKEN, "extremes"}, line.first.stderr
    rejected = line.ask("select reason from raw.rejected_records limit 5")
    assert rejected == []


def test_an_empty_set_is_a_result_and_no_failure(line: Line) -> None:
    assert line.first.returncode == 0, line.first.stderr
    assert "nobody_came" not in line.first.stderr
    statuses = line.ask(
        "select distinct slug, stage, status from ops.run_log inner join ops.companies using (company_id)"
        " where stage = 'score churn' and slug in ('everybody_left', 'nobody_came')"
    )
    assert sorted(statuses) == [(slug, "score churn", "succeeded") for slug in ("everybody_left", "nobody_came")]


@pytest.fixture(scope="module")
def broken(line: Line) -> Line:
    """The same companies after some were broken by hand, and the next day's run."""
    line.before = {slug: line.rows(slug) for slug in (GOOD, *BROKEN)}
    for slug, breakage in BROKEN.items():
        line.break_company(slug, breakage)
    line.change("update ops.companies set clock_at = clock_at + interval '1 day'")
    line.second = line.churn("run")
    return line


def test_those_that_a_shared_step_fails_on_are_named_cause_first_and_the_others_go_on(broken: Line) -> None:
    assert broken.second.returncode == 1
    for slug, cause in CAUSES.items():
        (told,) = [each for each in broken.second.stderr.splitlines() if each.startswith(f"{slug} · transform: ")]
        assert "left out since" in told
        assert cause in told
        assert f"`churn company release {slug}`" in told
    assert f"{GOOD} ·" not in broken.second.stderr
    assert len(broken.second.stderr) < 4_000, "no list of the project's models"
    stages = broken.ask(
        "select stage from ops.run_log inner join ops.companies using (company_id)"
        " where slug = %s and status = 'succeeded' and dagster_run_id = (select dagster_run_id from ops.run_log"
        " order by run_log_id desc limit 1)",
        GOOD,
    )
    assert {"sync", "score churn", "publish churn"} <= {stage for (stage,) in stages}


def test_what_was_built_of_a_company_stays_while_it_is_left_out(broken: Line) -> None:
    for slug in BROKEN:
        assert broken.rows(slug) == broken.before[slug]


def test_who_is_left_out_is_in_the_list_of_companies(broken: Line) -> None:
    printed = broken.churn("company", "list").stdout
    for slug in BROKEN:
        assert f"{slug} is left out: " in printed


def test_one_that_was_mended_is_let_in_by_the_next_run_and_a_disabled_one_is_not_named(broken: Line) -> None:
    assert broken.churn("company", "change", "unknown_zone", "time_zone=Europe/Paris").returncode == 0
    disabled = ("long_country", "less_than_no_seats")
    for slug in disabled:
        assert broken.churn("company", "disable", slug).returncode == 0

    done = broken.churn("run")

    assert done.returncode == 0, done.stderr
    for slug in disabled:
        assert broken.rows(slug) == broken.before[slug]
    ((date,),) = broken.ask(
        "select max(as_of_date) from predictions.churn_current inner join ops.companies using (company_id)"
        " where slug = 'unknown_zone'"
    )
    assert date == NOW.date() + timedelta(days=1)
    # To be disabled is a change, too: who is enabled again is tried again.
    still_open = broken.ask("select company_id from ops.quarantines where ended_at is null")
    assert still_open == []


def test_a_company_is_exported_reported_on_and_removed(line: Line, tmp_path: Path) -> None:
    assert line.churn("export", "--company", "extremes", "--output", str(tmp_path / "scores.csv")).returncode == 0
    assert line.churn("report", "--company", "extremes", "--output", str(tmp_path / "report.html")).returncode == 0

    removed = line.churn("company", "remove", "extremes", "--yes")

    assert removed.returncode == 0, removed.stderr
    assert line.ask("select * from ops.companies where slug = 'extremes'") == []
    assert GOOD in line.published()


@pytest.mark.nightly
def test_of_fifty_companies_five_are_broken_in_five_ways_and_forty_five_are_published(
    tmp_path: Path,
) -> None:
    line = Line(tmp_path / "home")
    slugs = [f"shop_{number}" for number in range(50)]
    broken = {slugs[place]: breakage for place, breakage in zip((0, 7, 23, 24, 49), BREAKAGES, strict=True)}
    line.add(slugs)
    assert line.churn("sync").returncode == 0
    for slug, breakage in broken.items():
        line.break_company(slug, breakage)

    done = line.churn("run")

    assert done.returncode == 1, done.stdout
    assert line.published() == set(slugs) - set(broken), done.stderr
    assert {slug for slug in slugs if f"{slug} · transform: left out since" in done.stderr} == set(broken)
