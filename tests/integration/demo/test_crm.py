"""The Habari CRM as a program of its own, over real HTTP: paging, following changes, refusals, clock, shutdown."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from demo.crm.models import Campaign, Customer, Event, Payment, Send, Ticket, Tombstone
from pipeline.companies import parse_definition

ENTITIES = ("customers", "tickets", "payments", "events", "campaigns", "sends")
COMPANY_WITH_MANY = dict.fromkeys(("customers", "tickets", "payments", "sends"), "marketlane") | {
    "events": "brightdesk"
}
"""Of campaigns nobody has many."""
SERVED_BY = {**dict.fromkeys(("customers", "tickets", "payments", "events"), "brightdesk"), "sends": "marketlane"}
COMPANIES = ("brightdesk", "marketlane", "seedling")
MODELS = dict(zip(ENTITIES, (Customer, Ticket, Payment, Event, Campaign, Send), strict=True))
START = "2026-10-01T06:00:00+00:00"
Record = dict[str, Any]


@dataclass
class Crm:
    """A running CRM and a client per company."""

    home: Path
    process: subprocess.Popen[str]
    base_url: str
    client: httpx.Client

    def key(self, name: str) -> str:
        return (self.home / "keys" / name).read_text().strip()

    def get(self, path: str, company: str = "brightdesk", **parameters: Any) -> httpx.Response:
        headers = {"X-API-Key": self.key(company)}
        return self.client.get(path, params=parameters, headers=headers)

    def records(self, entity: str, company: str = "brightdesk", **parameters: Any) -> list[Record]:
        """All records on all pages, as they came."""
        records: list[Record] = []
        while True:
            page = self.get(f"/api/v1/{entity}", company, **parameters).raise_for_status().json()
            records += page["data"]
            assert len(records) <= page["total"]
            if page["next_cursor"] is None:
                assert len(records) == page["total"]
                return records
            parameters["cursor"] = page["next_cursor"]

    def move_clock(self, **move: Any) -> httpx.Response:
        headers = {"X-Admin-Key": self.key("admin")}
        return self.client.post("/clock", json=move, headers=headers)


def demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("churn") / "demo"
    done = demo("build", "--home", folder, "--size", "small")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def start(home: Path) -> Iterator[Callable[..., Crm]]:
    """Starts CRMs; ends them with the module."""
    started: list[Crm] = []

    def start_crm(*options: str) -> Crm:
        command = [sys.executable, "-m", "demo", "serve", "--home", str(home), "--port", "0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        base_url = line.split()[4]
        started.append(Crm(home, process, base_url, httpx.Client(base_url=base_url, timeout=20)))
        assert line == f"Habari CRM ready at {base_url} (description at /docs)\n"
        return started[-1]

    yield start_crm
    for crm in started:
        crm.client.close()
        crm.process.terminate()
        crm.process.wait(timeout=10)
        assert crm.process.stdout is not None
        crm.process.stdout.close()


@pytest.fixture(scope="module")
def calm(start: Callable[..., Crm]) -> Crm:
    """A CRM that neither limits nor fails."""
    return start("--burst", "0", "--failure-rate", "0")


@pytest.fixture
def crm(calm: Crm) -> Iterator[Crm]:
    """The calm CRM, its clock at the start before and after."""
    calm.move_clock(now=START).raise_for_status()
    yield calm
    calm.move_clock(now=START).raise_for_status()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def newest(records: list[Record]) -> str:
    return max((each["updated_at"] for each in records), key=moment)


@pytest.mark.parametrize("entity", SERVED_BY)
@pytest.mark.parametrize("size", [61, 100, 500, 1000])
def test_every_page_size_gives_every_record_once_and_in_order(crm: Crm, entity: str, size: int) -> None:
    company = COMPANY_WITH_MANY[entity]
    records = crm.records(entity, company, page_size=size)
    places = [(moment(each["updated_at"]), each["id"]) for each in records]
    totals = crm.get("/api/v1/totals", company).json()[entity]
    assert places == sorted(places)
    assert len({each["id"] for each in records}) == len(records) == totals["live"] + totals["deleted"]
    assert sum(each["deleted"] for each in records) == totals["deleted"]


def test_ties_reach_across_pages(crm: Crm) -> None:
    page = crm.get("/api/v1/customers", "marketlane", page_size=20).json()
    crossed = False
    while page["next_cursor"]:
        following = crm.get("/api/v1/customers", "marketlane", page_size=20, cursor=page["next_cursor"]).json()
        crossed |= moment(page["data"][-1]["updated_at"]) == moment(following["data"][0]["updated_at"])
        page = following
    assert crossed


def wrong_fields(model: type[BaseModel], record: Record) -> set[str]:
    try:
        model.model_validate_json(json.dumps(record))
    except ValidationError as error:
        return {str(each["loc"][0]) for each in error.errors()}
    return set()


@pytest.mark.parametrize("company", COMPANIES)
@pytest.mark.parametrize("entity", ENTITIES)
def test_what_is_served_is_what_the_description_says(crm: Crm, company: str, entity: str) -> None:
    broken = 0
    records = crm.records(entity, company, page_size=1000)
    for record in records:
        wrong = wrong_fields(Tombstone if record["deleted"] else MODELS[entity], record)
        assert wrong <= {"customer_id", "amount", "created_at"}
        broken += bool(wrong)
    assert broken <= len(records) * 0.005


@pytest.mark.parametrize("entity", SERVED_BY)
def test_after_the_clock_moved_a_follower_gets_exactly_what_changed(crm: Crm, entity: str) -> None:
    company = SERVED_BY[entity]
    before = {each["id"]: each for each in crm.records(entity, company)}
    since = newest(list(before.values()))
    crm.move_clock(advance_days=3).raise_for_status()
    after = {each["id"]: each for each in crm.records(entity, company)}
    changed = {key for key, record in after.items() if before.get(key) != record}
    followed = crm.records(entity, company, updated_since=since)
    seen_before = {each["id"] for each in before.values() if moment(each["updated_at"]) == moment(since)}
    assert changed
    assert {each["id"] for each in followed} == changed | {each for each in seen_before if after[each] == before[each]}
    assert all(after[each["id"]] == each for each in followed)


@pytest.mark.parametrize("entity", SERVED_BY)
def test_a_record_of_the_last_seen_moment_can_appear_later_and_is_still_followed(crm: Crm, entity: str) -> None:
    company = COMPANY_WITH_MANY[entity]
    at_start = {each["id"] for each in crm.records(entity, company, updated_since=START)}
    crm.move_clock(advance_days=1).raise_for_status()
    followed = crm.records(entity, company, updated_since=START)
    late = [each for each in followed if moment(each["updated_at"]) == moment(START) and each["id"] not in at_start]
    assert at_start
    assert late


def test_the_clock_hides_what_has_not_happened(crm: Crm) -> None:
    for entity, company in SERVED_BY.items():
        assert moment(newest(crm.records(entity, company))) <= moment(START)
    assert crm.records("payments", updated_since="2026-10-01T06:00:01Z") == []


def test_updated_since_is_inclusive_in_any_zone(crm: Crm) -> None:
    since = newest(crm.records("tickets"))
    same = moment(since).astimezone().isoformat()
    assert crm.records("tickets", updated_since=since) == crm.records("tickets", updated_since=same) != []


def test_a_page_that_was_begun_before_the_clock_moved_goes_on_without_loss(crm: Crm) -> None:
    before = {each["id"] for each in crm.records("customers")}
    first = crm.get("/api/v1/customers", page_size=50).json()
    crm.move_clock(advance_days=2).raise_for_status()
    seen, cursor = {each["id"] for each in first["data"]}, first["next_cursor"]
    while cursor:
        page = crm.get("/api/v1/customers", page_size=50, cursor=cursor).json()
        seen, cursor = seen | {each["id"] for each in page["data"]}, page["next_cursor"]
    assert before <= seen


def test_an_empty_answer_is_a_page(crm: Crm) -> None:
    answer = crm.get("/api/v1/tickets", updated_since="2030-01-01T00:00:00Z")
    assert answer.json() == {"data": [], "next_cursor": None, "total": 0}


@pytest.mark.parametrize("key", [None, "", "wrong", "Ω"])
def test_a_wrong_key_is_refused(crm: Crm, key: str | None) -> None:
    headers = {} if key is None else {"X-API-Key": key.encode()}
    answer = crm.client.get("/api/v1/customers", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


def test_a_key_opens_its_own_company_only(crm: Crm) -> None:
    names = [
        {each["name"] for each in crm.records("customers", company) if not each["deleted"]} for company in COMPANIES
    ]
    assert len(names[2]) < len(names[0])
    cursor = crm.get("/api/v1/customers", "brightdesk", page_size=1).json()["next_cursor"]
    assert crm.get("/api/v1/customers", "marketlane", cursor=cursor).status_code == 422


@pytest.mark.parametrize(
    "parameters",
    [
        {"page_size": 0},
        {"page_size": 1001},
        {"page_size": "many"},
        {"updated_since": "yesterday"},
        {"updated_since": "2026-10-01T06:00:00"},
        {"cursor": "no-cursor"},
        {"cursor": ""},
        {"cursor": "ä" * 40},
        {"cursor": "A" * 64},
        {"cursor": "A"},
    ],
)
def test_a_bad_parameter_is_refused_with_a_reason(crm: Crm, parameters: dict[str, Any]) -> None:
    answer = crm.get("/api/v1/payments", **parameters)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert next(iter(parameters)) in error["message"]
    assert error["code"] == ("invalid_cursor" if "cursor" in parameters else "invalid_parameter")


def test_a_cursor_serves_its_own_query_only(crm: Crm) -> None:
    cursor = crm.get("/api/v1/payments", page_size=1, updated_since="2026-01-01T00:00:00Z").json()["next_cursor"]
    assert crm.get("/api/v1/tickets", cursor=cursor).status_code == 422
    assert crm.get("/api/v1/payments", cursor=cursor[:-1] + "_").status_code == 422
    assert crm.get("/api/v1/payments", cursor=cursor, updated_since="2026-02-01T00:00:00Z").status_code == 422
    alone = crm.get("/api/v1/payments", cursor=cursor, page_size=5).json()
    both = crm.get("/api/v1/payments", cursor=cursor, page_size=5, updated_since="2026-01-01T00:00:00Z").json()
    assert alone == both


def test_an_unknown_path_and_method_are_errors_of_the_same_shape(crm: Crm) -> None:
    assert crm.get("/api/v1/invoices").json()["error"]["code"] == "not_found"
    assert crm.client.post("/api/v1/customers").json()["error"]["code"] == "method_not_allowed"


def test_too_many_requests_are_told_to_wait_and_then_served(start: Callable[..., Crm]) -> None:
    crm = start("--burst", "3", "--requests-per-second", "5", "--failure-rate", "0")
    answers = [crm.get("/api/v1/totals") for _ in range(12)]
    refused = [each for each in answers if each.status_code == 429]
    assert refused
    assert refused[0].json()["error"]["code"] == "too_many_requests"
    assert crm.get("/api/v1/totals", "seedling").status_code == 200, "another company's requests do not count"
    time.sleep(int(refused[0].headers["Retry-After"]))
    assert crm.get("/api/v1/totals").status_code == 200


def test_passing_failures_come_at_the_asked_rate_and_pass(start: Callable[..., Crm]) -> None:
    crm = start("--burst", "0", "--failure-rate", "0.4")
    codes = [crm.get("/api/v1/totals").status_code for _ in range(40)]
    assert set(codes) == {200, 503}
    assert 8 <= codes.count(503) <= 24
    assert crm.client.get("/health").status_code == 200


def test_the_clock_moves_for_the_administrator_only_and_within_the_world(crm: Crm) -> None:
    assert crm.client.post("/clock", json={"advance_days": 1}).status_code == 401
    assert crm.move_clock(advance_days=1, now=START).status_code == 422
    assert crm.move_clock().status_code == 422
    assert crm.move_clock(advance_days=-1).status_code == 422
    assert crm.move_clock(advance_days=93).status_code == 422
    assert crm.move_clock(advance_days=60).json() == {"now": "2026-11-30T06:00:00+00:00"}
    assert crm.client.get("/clock").json() == {"now": "2026-11-30T06:00:00+00:00"}


def test_the_command_line_moves_a_running_crm_and_the_companies_clocks(crm: Crm) -> None:
    done = demo("advance", "--home", crm.home, "--days", "2")
    assert done.stdout.strip() == "the clock stands at 2026-10-03T06:00:00+00:00"
    assert crm.client.get("/health").json()["now"] == "2026-10-03T06:00:00+00:00"
    companies = yaml.safe_load((crm.home / "companies.yaml").read_text())["companies"]
    assert {each["clock_at"] for each in companies} == {"2026-10-03T06:00:00+00:00"}
    assert demo("advance", "--home", crm.home, "--days", "400").returncode == 1


def test_the_description_page_needs_no_internet(crm: Crm) -> None:
    page = crm.client.get("/docs").text
    assert "http" not in page.replace("http-equiv", "")
    for path in ("/docs/files/swagger-ui-bundle.js", "/docs/files/swagger-ui.css", "/openapi.json"):
        assert path in page
        assert crm.client.get(path).status_code == 200


def test_the_truth_is_not_served(crm: Crm) -> None:
    for path in (
        "/truth/brightdesk.parquet",
        "/truth/marketlane_campaigns.parquet",
        "/docs/files/../../truth/brightdesk.parquet",
        "/world.json",
    ):
        assert crm.client.get(path).status_code == 404
    text = json.dumps(crm.records("customers", page_size=1000))
    assert "hazard" not in text
    assert "probability" not in text


def test_companies_yaml_says_how_to_register_the_companies(crm: Crm) -> None:
    companies = yaml.safe_load((crm.home / "companies.yaml").read_text())["companies"]
    assert [each["slug"] for each in companies] == list(COMPANIES)
    assert [each["slug"] for each in companies if "events" in each["entities"]] == ["brightdesk"]
    assert [each["tasks"]["churn"]["kind"] for each in companies] == ["cancellation", "inactivity", "cancellation"]
    for each in companies:
        reference = each["connector_settings"]["api_key"]
        path = crm.home.parent / "secrets" / each["slug"] / reference.removeprefix("file:")
        assert path.read_text().strip() == crm.key(each["slug"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_registration_holds_hours_and_the_fields_that_the_crm_serves(crm: Crm) -> None:
    companies = yaml.safe_load((crm.home / "companies.yaml").read_text())["companies"]
    for definition in (parse_definition(company) for company in companies):
        assert definition.business_hours is not None
        assert ("saturday" in definition.business_hours) == (definition.slug == "marketlane")
        chosen = {attribute.name for attribute in definition.custom_attributes}
        served = {name for each in crm.records("customers", definition.slug) for name in each.get("custom", {})}
        assert chosen
        assert chosen <= served


def test_building_the_same_world_again_leaves_it_alone(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    done = demo("build", "--home", home, "--size", "small")
    assert done.stdout.startswith("already there")
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()} == before


def test_serving_without_a_world_says_how_to_build_one(tmp_path: Path) -> None:
    done = demo("serve", "--home", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "python -m demo build" in done.stderr


def test_an_unknown_size_is_refused(tmp_path: Path) -> None:
    done = demo("build", "--home", tmp_path, "--size", "vast")
    assert done.returncode == 2
    assert "vast" in done.stderr


def test_a_port_in_use_is_named(crm: Crm) -> None:
    port = crm.base_url.rsplit(":", 1)[1]
    done = demo("serve", "--home", crm.home, "--port", port)
    assert done.returncode == 1
    assert port in done.stderr


def test_served_under_a_name_it_is_found_by_it(start: Callable[..., Crm]) -> None:
    crm = start("--host", "localhost")
    assert crm.base_url.startswith("http://localhost:")
    assert httpx.get(crm.base_url.replace("localhost", "127.0.0.2") + "/health").is_success


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_to(start: Callable[..., Crm], number: signal.Signals) -> None:
    crm = start()
    assert (crm.home / "port").read_text().strip() == crm.base_url.rsplit(":", 1)[1]
    os.kill(crm.process.pid, number)
    assert crm.process.wait(timeout=5) == 0
    with pytest.raises(httpx.ConnectError):
        crm.client.get("/health")
