"""What was read is what was sent: changes without a new updated_at, records that vanish, columns that are gone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from rich.console import Console

from orchestration.cli.summary import print_summary
from pipeline.loading import sync as sync_module
from pipeline.loading.sync import LoadResult, sync_company
from tests.integration.company_folders import imports
from tests.integration.conftest import Churn
from warehouse.clock import Clock
from warehouse.companies.definition import Company
from warehouse.connection import Warehouse
from warehouse.landing.expectations import read_expected
from warehouse.roles import Role
from warehouse.settings import Settings

DAY = datetime(2025, 6, 1, 6, tzinfo=UTC)
SINCE = {"customer_id": "Number", "created_at": "Since", "updated_at": "Since"}
NO_MOMENT = {"customer_id": "Number", "created_at": "Since"}


@dataclass
class Drop:
    """A company whose files lie in a folder, and its syncs, each of which takes place on a day of its own."""

    warehouse: Warehouse
    company: Company
    home: Path

    def put(self, text: str, name: str = "customers.csv") -> None:
        (imports(self.home, self.company.slug) / name).write_text(text)

    def sync(self, day: int, chunk_rows: int = sync_module.CHUNK_ROWS, **changes: Any) -> LoadResult:
        company = self.company.model_copy(update=changes)
        clock, settings = Clock(DAY + timedelta(days=day)), Settings(home=self.home)
        (result,) = sync_company(self.warehouse, company, clock, settings, ["customers"], chunk_rows=chunk_rows)
        assert result.received == result.loaded + result.unchanged + result.rejected
        return result

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connect(Role.operator) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]

    def newest(self) -> dict[str, tuple[Any, ...]]:
        """By customer: cancelled_at as a date, status and whether it is deleted, of the version in front."""
        rows = self.ask(
            "select distinct on (customer_id) customer_id, cancelled_at::date::text, status, is_deleted"
            f" from raw.customers where company_id = {self.company.company_id}"
            " order by customer_id, coalesce(made_at, updated_at) desc"
        )
        return {row[0]: row[1:] for row in rows}


@pytest.fixture
def drop(warehouse: Warehouse, add_company: Callable[..., Company], tmp_path: Path) -> Callable[..., Drop]:
    made = 0

    def make(columns: dict[str, str], path: str = "customers.csv", **mapping: Any) -> Drop:
        nonlocal made
        made += 1
        home = tmp_path / f"home{made}"
        home.mkdir()
        company = add_company(
            f"acme{made}",
            connector="files",
            entities=["customers"],
            time_zone="UTC",
            connector_settings={"files": {"customers": {"path": path, "columns": columns} | mapping}},
        )
        return Drop(warehouse, company, home)

    return make


def customers(cancelled: dict[int, str] | None = None, numbers: range = range(1, 6)) -> str:
    rows = [f"{number},2023-0{number}-01,active,{(cancelled or {}).get(number, '')}" for number in numbers]
    return "\n".join(["Number,Since,status,cancelled_at", *rows]) + "\n"


def test_the_load_tells_which_records_stand_in_two_files_and_the_later_file_counts(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, path="customers-*.csv")
    shop.put(customers(), "customers-1.csv")
    shop.put(customers({2: "2025-05-01"}, numbers=range(1, 4)), "customers-2.csv")
    loaded = shop.sync(0)
    assert (loaded.received, loaded.loaded, loaded.unchanged, loaded.rejected) == (8, 6, 2, 0)
    assert shop.newest()["2"][0] == "2025-05-01"
    assert loaded.remarks is not None
    assert "2 customers stand in two files and count once (customers-1.csv, customers-2.csv" in loaded.remarks
    assert "1 customer stands in two files with different content: the later file's counts" in loaded.remarks


def test_a_run_ends_with_what_is_doubtful_about_its_loads(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, path="customers-*.csv", complete=True)
    for number in (2, 10):
        shop.put(f"Number,Since,status\n[red]x,2023-01-01,s{number}\n", f"customers-{number}.csv")
    remarks = shop.sync(0).remarks
    assert remarks == "1 customer stands in two files with different content: the later file's counts" + (
        " (customers-2.csv, customers-10.csv; such as [red]x)."
    )
    assert shop.newest()["[red]x"][1] == "s10"
    assert shop.ask("select remarks from ops.load_log") == [(remarks,)]
    console = Console(width=400, record=True, file=io.StringIO())
    with shop.warehouse.connect() as connection:
        connection.execute("update ops.load_log set dagster_run_id = 'run'")
        print_summary(connection, console, "run")
    assert f"{shop.company.slug}, customers: {remarks}" in console.export_text()


@pytest.mark.parametrize("footer", ["4 customers", ",2023-01-01,,"])
def test_deletions_that_a_line_without_an_id_hides_are_told_of(drop: Callable[..., Drop], footer: str) -> None:
    shop = drop(NO_MOMENT, complete=True)
    shop.put(customers(numbers=range(1, 6)) + footer + "\n")
    shop.sync(0)
    shop.put(customers(numbers=range(2, 6)) + footer + "\n")
    told = shop.sync(1)
    assert (told.status, told.vanished) == ("succeeded", 0)
    assert told.remarks == "Deletions are not looked for: 1 record has no id that can be read, and might be any."
    shop.put(customers(numbers=range(2, 6)))
    assert (shop.sync(2).vanished, shop.newest()["1"][2]) == (1, True)


@pytest.mark.parametrize("path", ["customers.csv", "customers.jsonl"])
def test_a_column_that_all_records_lose_at_once_stops_the_load(
    drop: Callable[..., Drop], churn: Churn, path: str
) -> None:
    def given(left: dict[int, str]) -> str:
        text = customers(left, range(1, 9))
        if path == "customers.csv":
            return text
        header, *rows = (line.split(",") for line in text.splitlines())
        records = [{name: value for name, value in zip(header, row, strict=True) if value} for row in rows]
        return "\n".join(map(json.dumps, records))

    shop = drop(NO_MOMENT, path=path)
    left = dict.fromkeys(range(1, 6), "2025-05-01")
    shop.put(given(left), path)
    shop.sync(0)
    shop.put(given({}), path)
    error = shop.sync(1).error or ""
    assert "no customers have a value any more in cancelled_at (5 of those that came again had one)" in error
    assert shop.newest()["1"][0] == "2025-05-01"
    shop.put(given({1: "2025-05-01"}), path)
    assert shop.sync(2).loaded == 4
    shop.put(given(left), path)
    shop.sync(3)
    shop.put(given({}), path)
    churn("company", "accept", shop.company.slug, "customers", "cancelled_at")
    assert shop.sync(4).loaded == 5


def test_what_is_expected_is_asked_for_once_a_load(drop: Callable[..., Drop], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sync_module, "read_expected", lambda *place: asked.append(place[-1]) or read_expected(*place))
    shop = drop(NO_MOMENT)
    shop.put(customers())
    for day in range(2):
        assert shop.sync(day, chunk_rows=2).received == 5
    assert asked == ["customers", "customers"]


@pytest.mark.parametrize("columns", [SINCE, NO_MOMENT], ids=["updated_at is the day of signup", "no updated_at"])
def test_cancellations_in_a_file_that_replaces_another_arrive_and_are_known_from_then(
    drop: Callable[..., Drop], columns: dict[str, str]
) -> None:
    shop = drop(columns)
    shop.put(customers())
    assert shop.sync(0).loaded == 5
    shop.put(customers(dict.fromkeys(range(1, 6), "2025-06-01")))
    result = shop.sync(1)
    assert (result.received, result.loaded, result.unchanged) == (5, 5, 0)
    assert {row[0] for row in shop.newest().values()} == {"2025-06-01"}
    known = shop.ask("select distinct known_at, is_backfill from raw.customers where cancelled_at is not null")
    assert known == [(DAY + timedelta(days=1), False)]
    assert shop.sync(2).loaded == 0


def test_without_an_updated_at_a_first_load_is_known_from_then_on_and_not_before(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT)
    shop.put(customers())
    shop.sync(0)
    assert shop.ask("select distinct updated_at, known_at, is_backfill, made_at from raw.customers") == [
        (DAY, DAY, True, None)
    ]


@pytest.mark.parametrize("columns", [SINCE, NO_MOMENT], ids=["updated_at", "no updated_at"])
def test_what_is_taken_back_stands_in_front_again(drop: Callable[..., Drop], columns: dict[str, str]) -> None:
    shop = drop(columns)
    for day, cancelled in enumerate((None, {1: "2025-06-01"}, None, None)):
        shop.put(customers(cancelled))
        assert shop.sync(day).loaded == (5, 1, 1, 0)[day]
    assert shop.newest()["1"][0] is None
    assert shop.ask("select count(*) from raw.customers where customer_id = '1'") == [(3,)]


def test_a_later_file_beside_the_first_changes_what_it_names_and_deletes_nothing(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, path="customers-*.csv")
    shop.put(customers(), "customers-1.csv")
    shop.sync(0)
    shop.put(customers({2: "2025-06-01"}, range(2, 3)), "customers-2.csv")
    assert shop.sync(1).loaded == 1
    again = shop.sync(2)
    assert (again.received, again.loaded, again.vanished) == (6, 0, 0)
    assert shop.newest()["2"][0] == "2025-06-01"


def test_a_record_that_a_complete_file_lacks_is_deleted_and_comes_back_with_it(drop: Callable[..., Drop]) -> None:
    for columns in (SINCE, NO_MOMENT):
        shop = drop(columns, complete=True)
        shop.put(customers())
        shop.sync(0)
        shop.put(customers(numbers=range(1, 5)))
        gone = shop.sync(1)
        assert (gone.received, gone.loaded, gone.vanished, gone.unaccounted) == (4, 0, 1, 0)
        assert shop.newest()["5"] == (None, None, True)
        shop.put(customers())
        assert shop.sync(2).loaded == 1
        assert shop.newest()["5"] == (None, "active", False)
        assert shop.sync(3).loaded == 0


def test_a_line_whose_id_cannot_be_read_might_be_any_record_and_keeps_all_alive(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, complete=True)
    shop.put(customers())
    shop.sync(0)
    shop.put(customers(numbers=range(1, 5)) + ",2023-05-01,active,\n")
    assert (shop.sync(1).vanished, shop.newest()["5"][2]) == (0, False)


def test_half_of_a_large_file_is_no_deletion_until_somebody_says_so(drop: Callable[..., Drop], churn: Churn) -> None:
    shop = drop(NO_MOMENT, complete=True)
    lines = [f"{number},2023-01-01,active," for number in range(100)]
    shop.put("\n".join(["Number,Since,status,cancelled_at", *lines]))
    shop.sync(0)
    shop.put("\n".join(["Number,Since,status,cancelled_at", *lines[:50]]))
    refused = shop.sync(1)
    assert refused.status == "failed"
    assert "no longer lists 50 of 100 records" in (refused.error or "")
    assert f"`churn company accept {shop.company.slug} customers --deletions`" in (refused.error or "")
    assert not any(row[2] for row in shop.newest().values())
    assert "goes on" in churn("company", "accept", shop.company.slug, "customers", "--deletions").output
    assert shop.sync(2).vanished == 50
    shop.put("Number,Since,status,cancelled_at\n")
    assert shop.sync(3).status == "failed", "the acceptance was for one load"


def test_a_column_that_is_called_otherwise_stops_the_load_until_it_is_mapped(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT)
    shop.put(customers({1: "2025-05-01"}))
    shop.sync(0)
    shop.put(customers({1: "2025-05-01"}).replace("cancelled_at", "canceled_at"))
    refused = shop.sync(1)
    assert (refused.status, refused.received) == ("failed", 0)
    assert "no longer have cancelled_at" in (refused.error or "")
    assert "likely called canceled_at now" in (refused.error or "")
    assert f"churn company accept {shop.company.slug} customers cancelled_at" in (refused.error or "")
    assert shop.newest()["1"][0] == "2025-05-01"
    mapping = {
        "files": {"customers": {"path": "customers.csv", "columns": NO_MOMENT | {"cancelled_at": "canceled_at"}}}
    }
    mended = shop.sync(1, connector_settings=mapping)
    assert (mended.status, mended.loaded, mended.unchanged) == ("succeeded", 0, 5)


def test_a_column_that_is_gone_is_accepted_by_a_command_and_not_asked_for_again(
    drop: Callable[..., Drop], churn: Churn
) -> None:
    shop = drop(NO_MOMENT)
    shop.put(customers({1: "2025-05-01"}))
    shop.sync(0)
    shop.put("Number,Since,status\n1,2023-01-01,active\n")
    assert shop.sync(1).status == "failed"
    churn("company", "accept", shop.company.slug, "customers", "cancelled_at")
    assert [shop.sync(day).status for day in (2, 3)] == ["succeeded", "succeeded"]
    assert shop.newest()["1"][0] is None


def test_one_of_several_files_with_another_name_for_a_column_stops_the_load(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, path="customers-*.csv")
    shop.put(customers({1: "2025-05-01"}), "customers-1.csv")
    shop.sync(0)
    shop.put(customers({2: "2025-06-01"}, range(2, 3)).replace("cancelled_at", "Cancelled At"), "customers-2.csv")
    assert "likely called Cancelled At now" in (shop.sync(1).error or "")


def test_an_attribute_that_the_company_chose_is_missed_too(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT)
    chosen = shop.company.model_validate(
        shop.company.model_dump() | {"custom_attributes": [{"name": "team_size", "kind": "number"}]}
    ).custom_attributes
    shop.put("Number,Since,team_size,note\n1,2023-01-01,3,x\n")
    shop.sync(0, custom_attributes=chosen)
    shop.put("Number,Since,TeamSize\n1,2023-01-01,3\n")
    refused = shop.sync(1, custom_attributes=chosen)
    assert "no longer have team_size" in (refused.error or "")
    assert "likely called TeamSize" in (refused.error or "")
    assert "note" not in (refused.error or "")


def test_objects_that_leave_empty_fields_out_stop_no_load(drop: Callable[..., Drop]) -> None:
    shop = drop(NO_MOMENT, path="customers.jsonl")
    line = '{"Number": %d, "Since": "2023-01-01"%s}\n'
    shop.put(line % (1, ', "cancelled_at": "2025-05-01"') + line % (2, ', "plan": "pro"'), "customers.jsonl")
    shop.sync(0)
    shop.put(line % (1, "") + line % (2, ', "plan": "pro"'), "customers.jsonl")
    assert shop.sync(1).status == "succeeded"
    shop.put(line % (1, ', "canceled_at": "2025-05-01"') + line % (2, ', "plan": "pro"'), "customers.jsonl")
    assert shop.sync(2).status == "failed"


def test_a_line_that_comes_late_with_an_old_moment_is_taken(drop: Callable[..., Drop]) -> None:
    shop = drop(SINCE)
    shop.put(customers(numbers=range(3, 6)))
    shop.sync(0)
    shop.put(customers())
    assert (shop.sync(1).loaded, len(shop.newest())) == (2, 5)


def test_a_column_that_is_no_id_is_refused(drop: Callable[..., Drop]) -> None:
    shop = drop({"customer_id": "status", "created_at": "Since"})
    shop.put(customers())
    assert "have the customer_id of another and say otherwise" in (shop.sync(0).error or "")


def test_a_load_that_is_cancelled_is_closed_and_its_counts_add_up(
    drop: Callable[..., Drop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = drop(NO_MOMENT)
    shop.put(customers())
    shop.sync(0)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sync_module.VersionLog, "complete_load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        shop.sync(1)
    assert shop.ask(
        "select status, received, loaded + unchanged + rejected from ops.load_log order by load_id desc limit 1"
    ) == [("failed", 5, 5)]


STATE = st.tuples(st.sampled_from(["", "2025-05-01", "2025-05-02"]), st.sampled_from(["active", "paused"]))
LISTS = st.lists(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), STATE), max_size=7), min_size=2, max_size=4)


@example_settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # An example takes a second: what fails is told, not shrunk.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(lists=LISTS, is_stamped=st.booleans())
def test_whatever_a_complete_list_says_the_counts_add_up_and_the_newest_version_says_the_same(
    drop: Callable[..., Drop], lists: list[list[tuple[int, int, tuple[str, str]]]], is_stamped: bool
) -> None:
    """Lists of records with repeats, with one moment for several versions, shorter and longer from day to day.

    A record's moment never goes back from one list to the next, though it may stand still.
    """
    shop = drop(SINCE | {"updated_at": "at"} if is_stamped else NO_MOMENT, complete=True, ignored=["at"])
    always = (9, 1, ("", "active"))
    newest_moment: dict[int, int] = {}
    for day, drawn in enumerate([[], *lists]):
        records = [(number, max(at, newest_moment.get(number, 1)), state) for number, at, state in [always, *drawn]]
        newest_moment |= {number: at for number, at, _ in sorted(records)}
        lines = [f"{number},2023-01-01,2025-05-0{at},{status},{left}" for number, at, (left, status) in records]
        shop.put("\n".join(["Number,Since,at,status,cancelled_at", *lines]) + "\n")
        result = shop.sync(day)
        if "say otherwise" in (result.error or ""):
            return
        assert result.status == "succeeded", result.error
        in_order = sorted(records, key=lambda record: record[1]) if is_stamped else records
        listed = {str(number): state for number, _, state in in_order}
        standing = {
            number: (left or "", status)
            for number, (left, status, is_deleted) in shop.newest().items()
            if not is_deleted
        }
        assert standing == listed
    assert shop.sync(99).loaded == 0
