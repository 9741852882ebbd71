"""What is small and becomes large: a company's file, export or CRM. Each ends in an error that names it."""

from __future__ import annotations

import gzip
import io
import sqlite3
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestration.cli.bounded_yaml import DEEPEST, parse_yaml, read_yaml
from orchestration.cli.company_file import read_assignment, read_companies
from orchestration.cli.terminal import CommandFailed
from pipeline.connectors.contract import CUSTOMERS
from pipeline.connectors.errors import ConnectorError, MappingError, SourceTooSlow, UnexpectedResponse
from pipeline.connectors.file_reading.places import Folder
from pipeline.connectors.habari_api import HabariApi, HabariSettings
from pipeline.connectors.http_source import Patience
from pipeline.connectors.sql_database import SqlDatabase, SqlSettings
from pipeline.connectors.time_limit import TimeLimit
from pipeline.connectors.validation import Reading
from pipeline.reach import Reach
from tests.integration.pipeline.connectors.export_files import Export
from tests.integration.pipeline.connectors.habari_stand_in import API_KEY, crm
from warehouse.settings import Settings

MIB = 2**20
READING = Reading(ZoneInfo("UTC"), datetime(2026, 1, 1, tzinfo=UTC))
MOST_GROWTH = 500 * MIB


@contextmanager
def little_memory(most: int = MOST_GROWTH) -> Iterator[None]:
    process = psutil.Process()
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < most


def packed_zeros(size: int, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    parts = [packer.compress(b"0" * MIB) for _ in range(size // MIB)]
    return b"".join([*parts, packer.flush()])


def answered(body: bytes, **headers: str) -> str:
    """The error that a CRM's answer ends in."""
    with crm({"customers": []}) as stand_in:
        stand_in.misbehave = lambda *_: (200, headers, body)
        settings = HabariSettings(base_url=stand_in.url, api_key="file:key")
        source = HabariApi("acme", settings, API_KEY, READING, Reach(Settings()), Patience(attempts=1))
        with pytest.raises(UnexpectedResponse) as caught:
            list(source.read(CUSTOMERS, None, 10))
        assert stand_in.url in str(caught.value)
        source.close()
    return str(caught.value)


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("GZIP", 31)])
def test_a_packed_answer_is_unpacked_up_to_a_bound(encoding: str, wbits: int) -> None:
    body = packed_zeros(2048 * MIB, wbits)
    tracemalloc.start()
    with little_memory():
        assert "its answer is larger than 64 MiB" in answered(body, Content_Encoding=encoding)
    assert tracemalloc.get_traced_memory()[1] < MOST_GROWTH
    tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x-gzip"])
def test_an_answer_that_is_packed_as_nobody_asked_for_is_refused(encoding: str) -> None:
    assert "packed as nobody asked for" in answered(packed_zeros(MIB), Content_Encoding=encoding)


def test_a_plain_answer_has_the_same_bound_and_an_honest_packed_one_is_read() -> None:
    assert "larger than 64 MiB" in answered(b" " * (65 * MIB))
    with crm({"customers": []}) as stand_in:
        body = gzip.compress(b'{"data": [], "next_cursor": null}')
        stand_in.misbehave = lambda *_: (200, {"Content_Encoding": "gzip"}, body)
        settings = HabariSettings(base_url=stand_in.url, api_key="file:key")
        source = HabariApi("acme", settings, API_KEY, READING, Reach(Settings()), Patience(attempts=1))
        assert list(source.read(CUSTOMERS, None, 10)) == []
        source.close()


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"data": [{"id": ' + b"9" * 100_000 + b'}], "next_cursor": null}', b"\x1f\x8b broken"]
)
def test_json_that_is_too_deep_or_too_long_a_number_is_an_error_that_names_the_crm(body: bytes) -> None:
    answered(body)


def test_gzip_that_is_none_is_an_error_that_names_the_crm() -> None:
    assert "cannot be read" in answered(b"no gzip at all", Content_Encoding="gzip")


def test_a_packed_file_that_unpacks_without_measure_is_refused(tmp_path: Path) -> None:
    export = Export(tmp_path)
    export.write("bills.jsonl.gz", packed_zeros(1024 * MIB))
    with little_memory():
        failure = export.failure(path="bills.jsonl.gz")
    assert "bills.jsonl.gz" in failure


def test_a_parquet_file_of_one_value_repeated_without_measure_is_refused(tmp_path: Path) -> None:
    export = Export(tmp_path)
    record = {"no": "1", "who": "c1", "day": "2025-01-02", "sum": "1", "note": "x" * 2000}
    table = pa.table({name: pa.array([value] * 50_000) for name, value in record.items()})
    with pq.ParquetWriter(export.folder / "bills.parquet", table.schema, compression="zstd") as writer:
        for _ in range(20):
            writer.write_table(table)
    with little_memory(1024 * MIB):
        failure = export.failure(path="bills.parquet")
    assert "unpacks to more than 100 times its size" in failure


def workbook(sheet: str) -> bytes:
    content = io.BytesIO()
    names = "http://schemas.openxmlformats.org"
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{names}/package/2006/content-types"/>')
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{names}/spreadsheetml/2006/main" xmlns:r="{names}/officeDocument/2006/relationships">'
            '<sheets><sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{names}/package/2006/relationships"><Relationship Id="r1" Target="worksheets/s.xml"'
            f' Type="{names}/officeDocument/2006/relationships/worksheet"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/s.xml",
            f'<worksheet xmlns="{names}/spreadsheetml/2006/main"><sheetData>{sheet}</sheetData></worksheet>',
        )
    return content.getvalue()


def test_a_sheet_with_a_cell_in_its_farthest_corner_is_refused_before_it_is_read(tmp_path: Path) -> None:
    export = Export(tmp_path)
    far = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    export.write("bills.xlsx", workbook(far))
    with little_memory():
        failure = export.failure(path="bills.xlsx")
    assert "reaches over more than 20,000,000 cells" in failure


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


YAML_BOMBS = {
    "aliases": laughs(12),
    "an alias of itself": "slug: &a [*a]",
    "depth in flow": "[" * 100_000,
    "depth in blocks": "\n".join(" " * level + "a:" for level in range(500)),
    "a number of many digits": "page: " + "9" * 100_000,
    "a hexadecimal number": "page: 0x" + "f" * 100_000,
    "a number of base sixty": "page: 1" + ":59" * 50_000,
    "a moment that is none": "clock_at: 2025-99-99",
    "a set of lists": "? [a, b]\n: c",
    "a tag of Python": "a: !!python/object/apply:os.system [echo]",
}


@pytest.mark.parametrize("bomb", YAML_BOMBS.values(), ids=YAML_BOMBS.keys())
def test_a_companys_yaml_that_grows_is_refused_at_once_with_its_name(bomb: str, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(bomb)
    began = time.monotonic()
    with little_memory(), pytest.raises(CommandFailed, match=r"acme\.yaml is no YAML"):
        read_companies(file)
    with pytest.raises(CommandFailed, match=r"connector_settings"):
        read_assignment(f"connector_settings={bomb if ':' not in bomb else '{' + bomb + '}'}")
    assert time.monotonic() - began < 5


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(yaml.YAMLError, match="larger than"):
        read_yaml(Path("/dev/zero"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=200),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=9), inner, max_size=4),
        max_leaves=20,
    )
)
def test_what_is_within_bounds_is_read_as_it_was(content: object) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    if "&id" in text or text.count("- - ") > DEEPEST:
        return
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("path", ["**/" * 9 + "*.csv", "a/**/b/**/c/**/*.csv"])
def test_a_path_of_any_depth_many_times_over_is_refused_at_once(path: str, tmp_path: Path) -> None:
    deep = tmp_path.joinpath("imports", "acme", *(f"folder{number}" for number in range(14)))
    deep.mkdir(parents=True)
    (deep / "customers.csv").write_text("own")
    folder = Folder("acme", None, Settings(home=tmp_path))
    with pytest.raises(MappingError, match=r"\*\* 2 times at most"):
        folder.files(path)
    assert folder.files("**/folder13/**/*.csv") == [deep / "customers.csv"]


def read_sqlite(tmp_path: Path, view: str, limit: TimeLimit) -> None:
    file = tmp_path / "crm.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"create view customers as {view}")
    settings = SqlSettings.model_validate({"url": "file:url", "tables": {"customers": {"table": "customers"}}})
    with closing(SqlDatabase("acme", settings, f"sqlite:///{file}", READING, Settings(), limit)) as source:
        list(source.read(CUSTOMERS, None, 10))


def test_a_view_in_a_file_of_sqlite_that_never_ends_is_cut_in_time(tmp_path: Path) -> None:
    endless = "with recursive line(n) as (select 1 union all select n + 1 from line)"
    view = f"{endless} select count(*) as customer_id, '2025-01-01' as created_at from line"
    limit = TimeLimit("acme", "database", load=1)
    begun = time.monotonic()
    with pytest.raises(SourceTooSlow, match="this load took longer than 1 s"), limit.one_load():
        read_sqlite(tmp_path, view, limit)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    "value", ["hex(zeroblob(800000000))", "replace(hex(zeroblob(4000000)), '0', '" + 32 * "x" + "')"]
)
def test_a_view_in_a_file_of_sqlite_makes_no_value_without_measure(value: str, tmp_path: Path) -> None:
    view = f"select 'c1' as customer_id, '2025-01-01' as created_at, {value} as note"
    with little_memory(), pytest.raises(ConnectorError, match="too big"):
        read_sqlite(tmp_path, view, TimeLimit("acme", "database"))
