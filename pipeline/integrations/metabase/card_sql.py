"""What the SQL of a card reads and which filters it has, found by pattern. No HTTP, no database here."""

from __future__ import annotations

import re

TAG = re.compile(r"\{\{\s*([^}\s]+)\s*\}\}")
COMMENT = re.compile(r"--[^\n]*")
READ = re.compile(r"\b(?:from|join)\s+(?!lateral\b|\()([a-z_][\w.]*)", re.IGNORECASE)
CTE = re.compile(r"(?:\bwith\b|,)\s*([a-z_]\w*)\s+as\s*(?:not\s+)?(?:materialized\s*)?\(", re.IGNORECASE)
AFTER_A_TABLE = (
    *("where", "join", "inner", "left", "right", "full", "cross", "on", "using"),
    *("group", "having", "window", "order", "limit", "offset", "fetch", "union", "except", "intersect"),
)


def without_comments(sql: str) -> str:
    """The SQL without its `--` comments."""
    return COMMENT.sub("", sql)


def tables_read(sql: str) -> set[str]:
    """The tables that the SQL reads, as written there; its own CTEs are none."""
    code = without_comments(sql)
    return set(READ.findall(code)) - set(CTE.findall(code))


def tags_used(sql: str) -> set[str]:
    """The template tags that the SQL uses, by name."""
    return set(TAG.findall(without_comments(sql)))


def reads(sql: str, table: str) -> bool:
    """Whether the SQL reads this `schema.table`."""
    return re.search(_mention_of(table), without_comments(sql)) is not None


def reads_without_alias(sql: str, table: str) -> bool:
    """Whether the SQL reads this `schema.table` at least once under its own name."""
    alias = rf"\s+(?!(?:{'|'.join(AFTER_A_TABLE)})\b)(?:as\s+)?\w"
    return re.search(rf"{_mention_of(table)}(?!{alias})", without_comments(sql)) is not None


def _mention_of(table: str) -> str:
    """A pattern for the table itself: after a column's table comes another dot."""
    return rf"\b{re.escape(table)}\b(?!\.)"
