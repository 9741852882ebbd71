"""A value of each type of column, as SQL: for rows that a test makes up from the catalog."""

VALUES = {
    "text": "'low'",
    "integer": "1",
    "bigint": "1",
    "double precision": "0.5",
    "numeric": "0.5",
    "boolean": "true",
    "date": "'2025-07-01'",
    "timestamp with time zone": "now()",
    "json": "'[]'",
    "jsonb": "'[]'",
    "text[]": "'{low}'",
    "bytea": "'x'",
}
