"""What a company says about its files: where they lie, how they are written, and what their columns mean."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.connectors.mapping import ColumnMapping, Writing, Zones

Format = Literal["csv", "parquet", "jsonl", "excel"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "excel",
}
PACKED = ".gz"
OTHER_ENDINGS = {
    **dict.fromkeys((".xls", ".xlsb", ".ods", ".numbers"), "Save it as a workbook of the kind .xlsx, or as CSV."),
    **dict.fromkeys(
        (".zip", ".7z", ".bz2", ".zst", ".xz", ".tar", ".tgz"), "Unpack it; of packed files only .gz is read."
    ),
    ".json": "JSON is read as one record a line: write it so, and add format: jsonl.",
    ".xml": "XML is not read: export CSV or JSON lines.",
}
"""Endings of formats that are not read, with what helps."""

ColumnType = Literal["text", "number", "integer", "boolean", "timestamp"]


class FileShape(BaseModel):
    """How a file is written, as far as that decides where its records and fields begin and end."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)

    format: Format | None = Field(default=None, description="csv, parquet, jsonl or excel; else by the file's ending.")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="Of CSV.")
    encoding: str = Field(default="utf-8-sig", description="Of CSV and JSON lines: utf-8, utf-16, cp1252 and so on.")
    multiline: bool = Field(default=False, description="Of CSV: quoted fields may hold what looks like a record.")
    trailing_delimiter: bool = Field(
        default=False, description="Of CSV: every line ends with a delimiter that the first one lacks."
    )
    blank_after_delimiter: bool | None = Field(
        default=None,
        description="Of CSV: true where a blank follows each delimiter and belongs to no field; false where fields may "
        "begin with a blank and a quote.",
    )
    sheet: str | None = Field(default=None, description="Of Excel: the sheet's name, where there are several.")

    @field_validator("delimiter")
    @classmethod
    def _is_no_quote(cls, delimiter: str) -> str:
        if delimiter in '"\r\n':
            raise ValueError("must be neither a quote nor the end of a line")
        return delimiter


def declared_dates(shape: object) -> set[str]:
    """The formats in which a file's dates are declared to be written, of all columns and of single ones."""
    formats: set[str | None] = {shape.date_format} if isinstance(shape, Writing) else set()
    if isinstance(shape, ColumnMapping):
        formats |= set(shape.date_formats.values())
    return {date_format for date_format in formats if date_format}


class FileSet(FileShape, Zones, Writing):
    """Files of one shape, which queries read as a table."""

    path: str = Field(description="A file, or a pattern such as payments/*.parquet; below `directory`.")
    types: dict[str, ColumnType] = Field(
        default_factory=dict, description="Source column: what its text is, where a query is to reckon with it."
    )
    record_id: str | None = Field(
        default=None,
        description="The column that names the record a line belongs to: one that stands in two files counts once.",
    )
    overlaps: Literal["all"] | None = Field(
        default=None, description="all: a line that stands in two files counts twice, as it may where lines repeat."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.record_id and self.overlaps:
            raise ValueError("record_id and overlaps exclude each other")
        return self


class FileMapping(ColumnMapping, FileShape):
    """One entity: `path` and what belongs to it, or `query` over the tables of the settings."""

    path: str | None = None
    query: str | None = Field(default=None, description="A SELECT (DuckDB's SQL) over connector_settings.tables.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.path is None) == (self.query is None):
            raise ValueError("needs either path or query")
        astray = sorted(FileShape.model_fields.keys() & self.model_fields_set)
        if self.query is not None and astray:
            raise ValueError(f"{', '.join(astray)} of a query belong to the table that it reads")
        return self


class FileSettings(Zones):
    """Connector settings of a company whose data lies in files."""

    directory: str | None = Field(
        default=None, description="Where the files lie: imports/SLUG, or below it; relative to CHURN_HOME."
    )
    tables: dict[str, FileSet] = Field(default_factory=dict, description="Files that queries read, by table name.")
    files: dict[str, FileMapping] = Field(
        description="By entity: customers, tickets, payments, events, campaigns, sends."
    )
