"""A card's SQL as Metabase fills it in: optional clauses with their conditions, or without. No HTTP here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from psycopg import sql

from pipeline.integrations.metabase.card_sql import TAG
from pipeline.integrations.metabase.definitions import CardDefinition, TemplateTag

OPTIONAL = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


def filled_sql(card: CardDefinition, filters: Mapping[str, Any] | None = None) -> sql.Composed:
    """The SQL with these filters set, by tag; the clauses of all others fall away.

    A value is a list of texts, one text to be contained, or for a date a pair (first, last) of which either may be
    None.
    """
    chosen = filters or {}

    def filled(match: re.Match[str]) -> str:
        (name,) = TAG.findall(match[1])
        if name not in chosen:
            return ""
        return TAG.sub(lambda _: condition(card.template_tags[name], chosen[name]).as_string(), match[1])

    return sql.SQL("{}").format(sql.SQL(OPTIONAL.sub(filled, card.sql)))


def condition(tag: TemplateTag, value: Any) -> sql.Composable:
    """The condition that a field filter becomes."""
    column = sql.Identifier(*tag.dimension)
    if tag.widget_type.startswith("date/"):
        first, last = value
        return sql.SQL("({} between {} and {})").format(
            column, sql.Literal(first or date(1, 1, 1)), sql.Literal(last or date(9999, 1, 1))
        )
    if tag.widget_type == "string/contains":
        return sql.SQL("position(lower({}) in lower({})) > 0").format(sql.Literal(value), column)
    values = [value] if isinstance(value, str | int) else list(value)
    return sql.SQL("{} in ({})").format(column, sql.SQL(", ").join(map(sql.Literal, values)))
