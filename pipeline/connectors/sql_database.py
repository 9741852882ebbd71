"""Any SQL database as a source, through SQLAlchemy. dlt's sql_table reads, as Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NoReturn

import pyarrow as pa
import sqlalchemy as sa
from dlt.extract.exceptions import ResourceExtractionError
from dlt.sources.sql_database import sql_table
from pydantic import Field

from pipeline.connectors.columns import convert, plain_column
from pipeline.connectors.contract import Chunk, Entity, FieldKind, Totals
from pipeline.connectors.errors import (
    AccessDenied,
    MappingError,
    SourceNotFound,
    SourceUnreachable,
    UnexpectedResponse,
    Unreadable,
)
from pipeline.connectors.file_reading.declaring import Setting, UndeclaredColumns, refuse_undeclared
from pipeline.connectors.file_reading.parts import Part
from pipeline.connectors.file_reading.undeclared import UndeclaredNotations
from pipeline.connectors.mapping import ColumnMapping, Zones, in_order
from pipeline.connectors.registry import Access, Connector
from pipeline.connectors.sql_columns import as_text, is_one_of, undeclared_texts, with_whole_ids
from pipeline.connectors.sql_places import fence_in, refuse_place_of_others
from pipeline.connectors.time_limit import Line, TimeLimit
from pipeline.connectors.validation import Reading, validate_table
from pipeline.connectors.values import JsonKind, read_value
from pipeline.reach import OutOfReach
from warehouse.redaction import forms_of, without_secrets
from warehouse.settings import Settings

ISO_TEXT_DIALECTS = {"sqlite", "postgresql"}
"""Databases in which the text of every value is unambiguous. There each value is fetched as text, so
that one that no driver can read (a date that is none, infinity) rejects a record and not the load."""

IDS_AT_ONCE = 500
"""Records that are looked up by one query; some databases take no more than 999 values."""

CONNECT_SECONDS = 10

REPEATED_HOUR = timedelta(hours=1)


class TableMapping(ColumnMapping):
    """One entity's table and how its columns are called."""

    table: str = Field(description="Table or view.")
    schema_name: str | None = Field(default=None, alias="schema", description="Its schema.")


class SqlSettings(Zones):
    """Connector settings of a company whose data lies in a SQL database."""

    url: str = Field(description="Reference to the SQLAlchemy URL: env:NAME, file:PATH or encrypted:TOKEN.")
    tables: dict[str, TableMapping] = Field(
        description="By entity: customers, tickets, payments, events, campaigns, sends."
    )


class SqlDatabase:
    """Reads one company's records from a SQL database."""

    def __init__(
        self,
        company: str,
        settings: SqlSettings,
        url: str,
        reading: Reading,
        operators: Settings,
        limit: TimeLimit | None = None,
    ) -> None:
        """`company` is the slug, for messages; `url` the address itself, whose password is never shown.

        `operators` say where it may lead.
        """
        self._company = company
        self._settings = settings
        self._reading = reading
        self._source = f"database {settings.url}"
        self._secrets = forms_of(url)
        try:
            self._url = sa.make_url(url)
            self._engine = sa.create_engine(self._url, connect_args=_connect_args(self._url))
            self._limit = limit or TimeLimit(company, f"database {settings.url}")
            fence_in(self._engine, operators, self._limit)
            if self._url.get_backend_name() == "postgresql":
                sa.event.listen(self._engine, "connect", _speak_plainly)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError):
            raise MappingError(
                company,
                self._source,
                "the address is no SQLAlchemy URL, or its driver is not installed.",
                "It must look like postgresql://user:password@host/database.",
            ) from None
        self._source = f"database {self._url.set(username=None, password=None, query={})}"
        self._line = Line()
        self._limit.holds_for(self._line)
        sa.event.listen(self._engine, "connect", self._hold)

    def read(self, entity: Entity, updated_since: datetime | None, chunk_rows: int) -> Iterator[Chunk]:
        """See `Source.read`.

        Where updated_at is a date or timestamp column, the database filters and orders; where it is text, or
        there is none, the whole table is read and put in order here, for text need not sort as time does.
        """
        table, reading = self._opened(entity)
        updated_at = self._order_of_change(entity, table, reading)
        if updated_at is not None:
            since = None if updated_since is None else self._since(updated_at, updated_since, reading)
            order = [updated_at, table.c[reading.source_name(entity.key)]]
            newer = None if since is None else sa.or_(updated_at >= since, updated_at.is_(None))
            for rows in self._rows(entity, table, reading, newer, order, chunk_rows, is_watched=since is None):
                yield validate_table(entity, rows, reading)
            return
        rows_of_all = self._rows(entity, table, reading, None, [], chunk_rows, is_watched=True)
        parts = [validate_table(entity, rows, reading) for rows in rows_of_all]
        yield from in_order(entity, parts, chunk_rows)

    def is_complete(self, entity: Entity) -> bool:
        """See `ListedSource.is_complete`: so is a table, unless the mapping says that it shows a part."""
        return self._mapping(entity).complete is not False

    def reads_whole(self, entity: Entity) -> bool:
        """See `ListedSource.reads_whole`."""
        return self._order_of_change(entity, *self._opened(entity)) is None

    def listing(self, entity: Entity, chunk_rows: int) -> Iterator[pa.Table]:
        """See `IndexedSource.listing`."""
        table, reading = self._opened(entity)
        names = [reading.source_name(entity.key), reading.source_name("updated_at")]
        key, updated_at = (
            next(field for field in entity.fields if field.name == name) for name in (entity.key, "updated_at")
        )
        for rows in self._rows(entity, table, reading, None, [], chunk_rows, only=names):
            ids, _ = convert(
                key, plain_column(rows[names[0]].combine_chunks()), reading.time_zone, reading.notation_of(key.name)
            )
            moments, _ = convert(
                updated_at,
                plain_column(rows[names[1]].combine_chunks()),
                reading.zone_of("updated_at"),
                reading.notation_of("updated_at"),
            )
            yield pa.table({"record_id": ids, "updated_at": moments})

    def fetch(self, entity: Entity, record_ids: Sequence[str]) -> Iterator[Chunk]:
        """See `IndexedSource.fetch`."""
        table, reading = self._opened(entity)
        key = table.c[reading.source_name(entity.key)]
        for start in range(0, len(record_ids), IDS_AT_ONCE):
            chosen = is_one_of(key, record_ids[start : start + IDS_AT_ONCE])
            for rows in self._rows(entity, table, reading, chosen, [], IDS_AT_ONCE):
                yield validate_table(entity, rows, reading)

    def totals(self, entity: Entity) -> Totals | None:
        """See `Source.totals`. None for a table that holds several versions of a record.

        A company with a clock of its own counts what lies before it, where the database can tell.
        """
        table, reading = self._opened(entity)
        with self._translated():
            key = table.c[reading.source_name(entity.key)]
            updated_at = table.c.get(reading.source_name("updated_at"))
            flag = table.c.get(reading.source_name("is_deleted"), sa.literal(False))
            seen: Any = sa.true()
            if self._reading.has_own_clock and updated_at is not None:
                if not self._is_sortable(updated_at):
                    return None
                seen = updated_at <= _in_column_terms(updated_at, self._reading.now, reading)
            query: Any = sa.select(flag, sa.func.count(), sa.func.count(key.distinct()), sa.func.count(key))
            with self._engine.connect() as connection:
                counts: Any = connection.execute(query.select_from(table).where(seen).group_by(flag)).all()
        if any(different != with_key for _, _, different, with_key in counts):
            return None
        deleted = sum(rows for value, rows, _, _ in counts if self._is_true(value))
        return Totals(live=sum(rows for _, rows, _, _ in counts) - deleted, deleted=deleted)

    def close(self) -> None:
        """Close the connections to the database."""
        self._line.close()
        self._engine.dispose()

    def _hold(self, connection: Any, _record: object) -> None:
        """Drivers that show their socket can be cut when time is up; reads are one at a time."""
        if hasattr(connection, "fileno"):
            self._line.hold(connection)

    def _mapping(self, entity: Entity) -> TableMapping:
        mapping = self._settings.tables.get(entity.name)
        if mapping is None:
            raise MappingError(
                self._company,
                self._source,
                f"connector_settings.tables says nothing about {entity.name}.",
                "Add it, or leave the entity out of the company's entities.",
            )
        return mapping

    def _opened(self, entity: Entity) -> tuple[sa.Table, Reading]:
        """The entity's table, and how its rows are read."""
        mapping = self._mapping(entity)
        with self._translated():
            table = self._reflect(entity, mapping)
        reading = mapping.stamped_by(mapping.applied_to(self._reading), table.columns.keys())
        kinds = {column.name: kind for column in table.columns if (kind := _json_kind(column.type)) is not None}
        return table, replace(reading, json_kinds=kinds)

    def _reflect(self, entity: Entity, mapping: TableMapping) -> sa.Table:
        place = f"{mapping.schema_name}.{mapping.table}" if mapping.schema_name else mapping.table
        try:
            table = sa.Table(
                # The schema stands in the metadata too: there dlt looks the table up again by its bare name.
                mapping.table,
                sa.MetaData(schema=mapping.schema_name),
                autoload_with=self._engine,
                resolve_fks=False,
            )
        except sa.exc.NoSuchTableError:
            inspector = sa.inspect(self._engine)
            there = inspector.get_table_names(mapping.schema_name) + inspector.get_view_names(mapping.schema_name)
            raise SourceNotFound(
                self._company,
                self._source,
                f"there is no table {place} for {entity.name}. Tables there: {_listed(there)}.",
                f"Mend connector_settings.tables.{entity.name}.table, or grant its user the right to see it.",
            ) from None
        mapping.check(
            entity,
            table.columns.keys(),
            self._company,
            f"{self._source}, table {place}",
            "tables",
            attributes=self._reading.kinds_of_attributes(entity),
        )
        return table

    def _rows(
        self,
        entity: Entity,
        table: sa.Table,
        reading: Reading,
        condition: sa.ColumnElement[bool] | None,
        order: Sequence[sa.Column[Any]],
        chunk_rows: int,
        *,
        only: Sequence[str] | None = None,
        is_watched: bool = False,
    ) -> Iterator[pa.Table]:
        """The table's rows. is_watched: it matters whether text in them is written in a way that nobody declared."""
        dialect = self._url.get_backend_name()
        texts = dialect in ISO_TEXT_DIALECTS
        names = [name for name in (table.columns.keys() if only is None else only) if name not in reading.ignored]
        watched = undeclared_texts(entity, table, reading, dialect) if is_watched else UndeclaredColumns()
        undeclared = UndeclaredNotations(watched.kinds)
        setting = Setting(self._company, self._source, f"connector_settings.tables.{entity.name}")

        def query(select: Any, *_: object) -> Any:
            if texts:
                select = sa.select(*(as_text(table.c[name], dialect) for name in names))
            if condition is not None:
                select = select.where(condition)
            return select.order_by(*order)

        def type_fetched(data_type: Any) -> Any:
            return sa.Text() if texts else data_type

        resource = sql_table(
            credentials=self._engine,
            table=table.name,
            metadata=table.metadata,
            schema=table.schema,
            backend="pyarrow",
            chunk_size=chunk_rows,
            reflection_level="full",
            included_columns=names,
            type_adapter_callback=type_fetched,
            query_adapter_callback=query,
        )
        with self._translated():
            try:
                for rows in resource:
                    if isinstance(rows, pa.Table):
                        undeclared.see(Part(entity.name, rows))
                        refuse_undeclared(watched, undeclared.columns(), setting)
                        yield with_whole_ids(entity, table, reading, rows)
            except ResourceExtractionError as error:
                raise (error.__cause__ or error) from None

    def _order_of_change(self, entity: Entity, table: sa.Table, reading: Reading) -> sa.Column[Any] | None:
        """The column by which what has changed can be asked for. When a record came to be tells no later change."""
        name = reading.source_name("updated_at")
        column = table.c.get(name)
        if column is None or (name == reading.source_name(entity.began_at) and not entity.never_changes):
            return None
        return column if self._is_sortable(column) else None

    def _is_sortable(self, column: sa.Column[Any]) -> bool:
        return self._url.get_backend_name() != "sqlite" and isinstance(column.type, sa.DateTime | sa.Date)

    def _since(self, column: sa.Column[Any], moment: datetime, reading: Reading) -> Any:
        """The lower bound as the column speaks of time; without an offset one hour comes twice in autumn."""
        has_offset = isinstance(column.type, sa.DateTime) and column.type.timezone
        return _in_column_terms(column, moment if has_offset else moment - REPEATED_HOUR, reading)

    def _is_true(self, value: object) -> bool:
        try:
            return bool(read_value(FieldKind.boolean, value, self._reading.time_zone))
        except Unreadable:
            return False

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OutOfReach as error:
            raise AccessDenied(
                self._company,
                self._source,
                f"{error}.",
                "Where that is right, the operator allows it by CHURN_PRIVATE_SOURCES.",
            ) from None
        except (sa.exc.OperationalError, OSError) as error:
            self._limit.check()
            raise SourceUnreachable(
                self._company,
                self._source,
                f"it cannot be read ({self._reason(error)}).",
                f"Check that it runs, and the address, user and password that {self._settings.url} holds.",
            ) from None
        except sa.exc.SQLAlchemyError as error:
            self._limit.check()
            self._surprise(error)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            self._surprise(error)

    def _surprise(self, error: Exception) -> NoReturn:
        raise UnexpectedResponse(
            self._company,
            self._source,
            f"a value or table cannot be read ({self._reason(error)}).",
            "Give a view that casts the column to text, and map that.",
        ) from None

    def _reason(self, error: Exception) -> str:
        original = getattr(error, "orig", None) or error
        return without_secrets(" ".join(str(original).split()), self._secrets, longest=300)


def _speak_plainly(connection: Any, _: object) -> None:
    """Dates in ISO 8601 and doubles with all their digits, whatever the server or the role is set to."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("set datestyle = iso")
        cursor.execute("set extra_float_digits = 1")
    connection.commit()


def _connect_args(url: sa.URL) -> dict[str, Any]:
    """How long a server may take to let us in, where the address does not say; libpq's own is for ever."""
    knows_timeout = url.get_backend_name() in {"postgresql", "mysql", "mariadb"}
    return {"connect_timeout": CONNECT_SECONDS} if knows_timeout and "connect_timeout" not in url.query else {}


def _json_kind(data_type: sa.types.TypeEngine[Any]) -> JsonKind | None:
    """What a column's values are in JSON; None for what is text there."""
    if isinstance(data_type, sa.Boolean):
        return JsonKind.flag
    if isinstance(data_type, sa.Integer | sa.Numeric | sa.Float):
        return JsonKind.number
    return JsonKind.json if isinstance(data_type, sa.JSON) else None


def _in_column_terms(column: sa.Column[Any], moment: datetime, reading: Reading) -> Any:
    """The moment as updated_at tells it: in its own zone where it carries no offset."""
    if isinstance(column.type, sa.DateTime) and column.type.timezone:
        return moment
    local = moment.astimezone(reading.zone_of("updated_at")).replace(tzinfo=None)
    return local if isinstance(column.type, sa.DateTime) else local.date()


def _listed(names: list[str], most: int = 30) -> str:
    return ", ".join(sorted(names)[:most]) or "none"


def _open(settings: SqlSettings, access: Access) -> SqlDatabase:
    address = access.secret(settings.url)
    refuse_place_of_others(access, settings.url, address)
    return SqlDatabase(access.company, settings, address, settings.zoned(access.reading), access.settings, access.limit)


CONNECTOR = Connector(SqlSettings, _open)
