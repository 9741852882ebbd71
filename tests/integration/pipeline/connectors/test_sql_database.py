"""Any SQL database as a source: SQLite, whose values are what they like, and Postgres, whose are typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from pipeline.connectors.contract import PAYMENTS, Chunk, Totals
from pipeline.connectors.errors import ConnectorError, MappingError, SourceNotFound, SourceUnreachable
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.validation import Reading
from warehouse.connection import Warehouse
from warehouse.settings import Settings

READING = Reading(ZoneInfo("Europe/Berlin"), datetime(2025, 6, 1, tzinfo=UTC))
COLUMNS = {
    "payment_id": "id",
    "customer_id": "account",
    "amount": "total",
    "issued_at": "booked",
    "updated_at": "changed",
    "is_deleted": "gone",
}


MakeSource = Callable[..., SqlDatabase]


@pytest.fixture
def source() -> Iterator[MakeSource]:
    """Makes sources of this mapping: `source(url, reading, table=...)`; closes them after the test."""
    with ExitStack() as opened:

        def make(url: str, reading: Reading = READING, **mapping: Any) -> SqlDatabase:
            mapping = {"table": "bills", "columns": COLUMNS, "constants": {"kind": "charge"}} | mapping
            settings = SqlSettings.model_validate({"url": "env:CRM_URL", "tables": {"payments": mapping}})
            return opened.enter_context(closing(SqlDatabase("acme", settings, url, reading, Settings())))

        yield make


def fill(url: str, ddl: str, *rows: tuple[Any, ...]) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(ddl)
        for row in rows:
            marks = ", ".join(f":v{number}" for number in range(len(row)))
            values = {f"v{number}": value for number, value in enumerate(row)}
            connection.execute(sa.text(f"insert into bills values ({marks})"), values)
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'crm.db'}"
    fill(
        url,
        "create table bills (id integer, account integer, total numeric, booked datetime, changed datetime,"
        " gone boolean, note text)",
        (3, 7, "12.5", "2025-01-03", "2025-01-03T10:00:00+01:00", 0, "c"),
        (1, 7, 3, "2025-01-01", "2025-01-01 10:00:00", False, "a"),
        (2, 8, "n/a", "2025-01-02", "2025-01-02 10:00:00", 0, "b"),
        (4, 8, 1.5, "someday", "2025-01-04 10:00:00", 1, "d"),
        (5, 8, 1.5, "2025-01-05", "when it rains", 0, "e"),
    )
    return url


@pytest.fixture
def postgres_url(empty_database: Warehouse) -> str:
    url = empty_database.url()
    fill(
        url,
        "create table bills (id bigint, account uuid, total numeric, booked date, changed timestamptz,"
        " gone boolean, extra jsonb, blob bytea)",
        (2, "0" * 32, "NaN", "2025-01-02", "2025-01-02T10:00:00Z", False, '{"a": 1}', b"x"),
        (1, "0" * 32, "1.23456", "2025-01-01", "2025-01-01T10:00:00Z", False, None, None),
        (3, "0" * 32, "5", "2025-01-03", "infinity", False, None, None),
        (4, "0" * 32, "5", "2025-01-03", None, False, None, None),
        (5, "0" * 32, "5", "2025-01-03", "2025-01-05T10:00:00Z", True, None, None),
    )
    return url


def read(database: SqlDatabase, since: datetime | None = None, chunk_rows: int = 100) -> list[Chunk]:
    return list(database.read(PAYMENTS, since, chunk_rows))


def ids(chunks: list[Chunk]) -> list[str]:
    return [identifier for chunk in chunks for identifier in chunk.accepted["payment_id"].to_pylist()]


def reasons(chunks: list[Chunk]) -> dict[str | None, str]:
    return {record.record_id: record.reason for chunk in chunks for record in chunk.rejected}


def failure(make: Callable[[], Any]) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        make()
    assert str(caught.value).startswith("Company acme, source database ")
    return caught.value


def test_sqlite_rows_come_in_order_of_time_and_bad_ones_are_rejected_one_by_one(
    source: MakeSource, sqlite: str
) -> None:
    chunks = read(source(sqlite))
    (chunk,) = chunks
    assert ids(chunks) == ["1", "3", "4"]
    assert chunk.accepted["updated_at"].to_pylist()[:2] == [
        datetime(2025, 1, 1, 9, tzinfo=UTC),
        datetime(2025, 1, 3, 9, tzinfo=UTC),
    ]
    assert chunk.accepted["is_deleted"].to_pylist() == [False, False, True]
    assert chunk.accepted["attributes"].to_pylist()[0] == '{"note":"a"}'
    assert reasons(chunks) == {
        "2": 'amount "n/a" is not a number; if it stands for no value, say so by values: {"n/a": ""}',
        "5": 'updated_at "when it rains" is not a date and time (ISO 8601); say how it is written: date_format',
    }


def test_a_table_without_an_order_of_time_is_read_whole_each_time(source: MakeSource, sqlite: str) -> None:
    assert ids(read(source(sqlite), datetime(2025, 1, 3, 9, tzinfo=UTC))) == ["1", "3", "4"]


def test_chunks_are_as_large_as_asked_for(source: MakeSource, sqlite: str) -> None:
    assert [chunk.accepted.num_rows for chunk in read(source(sqlite), chunk_rows=2)] == [2, 1]


def test_postgres_orders_filters_and_what_no_driver_reads_rejects_its_record_alone(
    source: MakeSource, postgres_url: str
) -> None:
    chunks = read(source(postgres_url))
    assert ids(chunks) == ["1", "5"]
    assert chunks[0].accepted["amount"].to_pylist()[0] == Decimal("1.2346")
    assert reasons(chunks) == {
        "2": 'amount "NaN" is not a number; if it stands for no value, say so by values: {"NaN": ""}',
        "3": 'updated_at "infinity" is not a date and time (ISO 8601); say how it is written: date_format',
        "4": "updated_at is missing",
    }
    later = read(source(postgres_url), datetime(2025, 1, 5, 10, tzinfo=UTC))
    assert (ids(later), set(reasons(later))) == (["5"], {"3", "4"})


def test_ties_on_updated_at_survive_any_chunk_size(source: MakeSource, empty_database: Warehouse) -> None:
    url = empty_database.url()
    fill(
        url,
        "create table bills (id int, account text, total numeric, booked date, changed timestamp, gone bool)",
        *[(number, "a", 1, "2025-01-01", "2025-01-01T00:00:00", False) for number in range(7)],
    )
    chunks = read(source(url), datetime(2024, 12, 31, 23, tzinfo=UTC), chunk_rows=2)
    assert sorted(ids(chunks)) == [str(number) for number in range(7)]
    assert len(chunks) == 4


def test_in_the_hour_that_comes_twice_nothing_is_passed_over(source: MakeSource, empty_database: Warehouse) -> None:
    """2025-10-26 02:00 to 03:00 happens twice in Berlin; without an offset both look alike."""
    url = empty_database.url()
    fill(
        url,
        "create table bills (id int, account text, total numeric, booked date, changed timestamp, gone bool)",
        (1, "a", 1, "2025-01-01", "2025-10-26T02:59:00", False),
        (2, "a", 1, "2025-01-01", "2025-10-26T02:01:00", False),
    )
    reading = Reading(ZoneInfo("Europe/Berlin"), datetime(2025, 11, 1, tzinfo=UTC))
    first_pass = datetime(2025, 10, 26, 0, 59, tzinfo=UTC)
    assert "2" in ids(read(source(url, reading), first_pass))


def test_totals_are_counted_by_the_database(source: MakeSource, sqlite: str, postgres_url: str) -> None:
    assert source(sqlite).totals(PAYMENTS) == Totals(live=4, deleted=1)
    assert source(postgres_url).totals(PAYMENTS) == Totals(live=4, deleted=1)


def test_a_company_with_a_clock_of_its_own_counts_and_reads_what_lies_before_it(
    source: MakeSource, postgres_url: str
) -> None:
    reading = Reading(ZoneInfo("UTC"), datetime(2025, 1, 2, tzinfo=UTC), has_own_clock=True)
    (chunk,) = read(source(postgres_url, reading))
    assert (chunk.accepted["payment_id"].to_pylist(), chunk.ahead) == (["1"], 2)
    assert source(postgres_url, reading).totals(PAYMENTS) == Totals(live=1, deleted=0)


def test_a_table_of_versions_has_no_totals(source: MakeSource, sqlite: str) -> None:
    engine = sa.create_engine(sqlite)
    with engine.begin() as connection:
        connection.exec_driver_sql("insert into bills select * from bills where id = 1")
    engine.dispose()
    assert source(sqlite).totals(PAYMENTS) is None


@pytest.mark.parametrize(
    ("mapping", "phrases"),
    [
        ({"table": "bill"}, ["no table bill", "bills", "connector_settings.tables.payments.table"]),
        ({"columns": COLUMNS | {"amount": "totl"}}, ["columns.amount is totl", "account, booked, changed"]),
        ({"columns": COLUMNS | {"amont": "total"}}, ["maps amont", "no column of payments", "amount"]),
        ({"constants": {}}, ["nothing is mapped to kind", "every record of payments needs"]),
        ({"ignored": ["nte"]}, ["ignored names nte"]),
    ],
)
def test_a_wrong_mapping_names_the_field_and_what_there_is(
    source: MakeSource, sqlite: str, mapping: dict[str, Any], phrases: list[str]
) -> None:
    error = failure(lambda: read(source(sqlite, **mapping)))
    assert isinstance(error, MappingError | SourceNotFound)
    for phrase in phrases:
        assert phrase in str(error)


def test_an_entity_without_a_table_is_an_error(source: MakeSource, sqlite: str) -> None:
    from pipeline.connectors.contract import TICKETS

    assert "says nothing about tickets" in str(failure(lambda: list(source(sqlite).read(TICKETS, None, 10))))


def test_an_unreachable_database_is_an_error_without_its_password(source: MakeSource) -> None:
    url = "postgresql+psycopg://reader:pass-word@127.0.0.1:9/crm"
    error = failure(lambda: read(source(url)))
    assert isinstance(error, SourceUnreachable)
    assert "127.0.0.1:9/crm" in str(error)
    assert "pass-word" not in str(error)


@pytest.mark.parametrize("url", ["not a url", "nosuchdb://x/y", "postgresql://u:pass-word@h:port/x"])
def test_an_address_that_is_none_is_an_error_that_does_not_show_it(source: MakeSource, url: str) -> None:
    error = failure(lambda: source(url))
    assert isinstance(error, MappingError)
    assert "pass-word" not in str(error)


def test_ignored_columns_are_not_kept(source: MakeSource, sqlite: str) -> None:
    (chunk,) = read(source(sqlite, ignored=["note"]))
    assert chunk.accepted["attributes"].to_pylist() == [None, None, None]


def test_a_database_that_writes_text_is_read_by_the_notation_that_is_declared(
    source: MakeSource, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'german.db'}"
    fill(
        url,
        "create table bills (id text, account text, total text, booked text, changed text, gone boolean)",
        ("007", "c1", "1.234,50", "31.12.2024", "2025-01-02", 0),
    )
    declared = {"decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y", "date_formats": {"updated_at": "iso"}}
    (chunk,) = source(url, **declared).read(PAYMENTS, None, 100)
    assert [(row["payment_id"], row["amount"], row["issued_at"]) for row in chunk.accepted.to_pylist()] == [
        ("007", Decimal("1234.5"), datetime(2024, 12, 30, 23, tzinfo=UTC))
    ]


@pytest.mark.parametrize(
    ("kind", "amount", "day", "remedy"),
    [
        ("text", "1.234", "2025-01-02", ['decimal: "."  # or decimal: ",", thousands: "."']),
        ("varchar(20)", "1.234,50", "31.12.2024", ['decimal: ","', 'thousands: "."', 'date_format: "%d.%m.%Y"']),
        ("text", "12.50", "03/04/2025", ['date_format: "%d/%m/%Y"  # or date_format: "%m/%d/%Y"']),
    ],
)
def test_text_that_nobody_declared_is_no_more_guessed_than_in_a_file(
    source: MakeSource, empty_database: Warehouse, kind: str, amount: str, day: str, remedy: list[str]
) -> None:
    url = empty_database.url()
    ddl = f"create table bills (id text, account text, total {kind}, booked {kind}, changed timestamptz, gone boolean)"
    fill(url, ddl, ("1", "c1", amount, day, "2025-01-02T10:00:00Z", False))
    error = failure(lambda: read(source(url)))
    assert isinstance(error, MappingError)
    for line in ("Add to connector_settings.tables.payments:", *remedy):
        assert line in str(error)
    later = read(source(url), since=datetime(2025, 1, 1, tzinfo=UTC))
    assert sum(chunk.received for chunk in later) == 1  # One odd value of a day rejects its record and no load.


def test_dates_that_are_numbers_fail_with_their_format(source: MakeSource, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'numbers.db'}"
    ddl = "create table bills (id text, account text, total text, booked datetime, changed integer, gone boolean)"
    fill(url, ddl, ("1", "c1", "1", 1735689600, 1735689600, 0))
    assert "date_format: epoch_seconds" in str(failure(lambda: read(source(url))))
    (chunk,) = read(source(url, date_format="epoch_seconds"))
    assert chunk.accepted["issued_at"].to_pylist() == [datetime(2025, 1, 1, tzinfo=UTC)]


def test_an_id_is_the_same_whatever_numeric_type_it_has(
    source: MakeSource, empty_database: Warehouse, tmp_path: Path
) -> None:
    row = (7, 8, 5, "2025-01-01", "2025-01-02T10:00:00Z", False)
    postgres, sqlite = empty_database.url(), f"sqlite:///{tmp_path / 'reals.db'}"
    fill(
        postgres,
        "create table bills (id numeric(12,2), account float8, total int, booked date, changed timestamptz,"
        " gone boolean)",
        row,
    )
    fill(sqlite, "create table bills (id real, account float, total int, booked date, changed date, gone boolean)", row)
    for url in (postgres, sqlite):
        (chunk,) = read(source(url))
        assert (ids([chunk]), chunk.accepted["customer_id"].to_pylist()) == (["7"], ["8"])
    database = source(postgres)
    (listed,) = database.listing(PAYMENTS, 100)
    assert listed["record_id"].to_pylist() == ["7"]
    assert ids(list(database.fetch(PAYMENTS, ["7"]))) == ["7"]


def test_numbers_of_every_type_are_numbers_among_the_attributes(source: MakeSource, empty_database: Warehouse) -> None:
    url = empty_database.url()
    fill(
        url,
        "create table bills (id int, account text, total int, booked date, changed timestamptz, gone boolean,"
        " share real, rate float8, score numeric, seats smallint)",
        (1, "c1", 5, "2025-01-01", "2025-01-02T10:00:00Z", False, 0.1, 0.25, "1.50", 3),
    )
    (chunk,) = read(source(url))
    assert chunk.accepted["attributes"].to_pylist() == ['{"share":0.1,"rate":0.25,"score":1.50,"seats":3}']


@pytest.mark.parametrize("style", ["SQL,DMY", "German", "Postgres"])
def test_dates_do_not_depend_on_the_style_that_a_role_writes_them_in(
    source: MakeSource, postgres_url: str, style: str
) -> None:
    options = f"-c datestyle={style} -c extra_float_digits=-15"
    url = sa.make_url(postgres_url).update_query_dict({"options": options}).render_as_string(hide_password=False)
    assert ids(read(source(url))) == ids(read(source(postgres_url))) != []


def test_bytes_and_ignored_columns_do_not_keep_a_table_from_being_read(source: MakeSource, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bytes.db'}"
    ddl = (
        "create table bills (id text, account text, total int, booked text, changed text, gone int, photo blob, x text)"
    )
    fill(url, ddl, ("1", "c1", 5, "2025-01-01", "2025-01-02", 0, b"\xff\x00", b"\xff"))
    assert "Could not decode" in str(failure(lambda: read(source(url))))
    (chunk,) = read(source(url, ignored=["x"]))
    assert chunk.accepted["attributes"].to_pylist() == ['{"photo":"FF00"}']
