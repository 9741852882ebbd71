"""Features that read a company's records past the models that know what a date may know.

Such a model says so in its YAML (`meta.knows_by_date`): what it shows of a record is what was known before the date.
Every way from a feature back to the records leads through one of them, or the feature may look ahead. This is read
from dbt's lineage and from the SQL that it compiled, before anything is built; what a mart makes of what it may read
is proved on rows, by `churn features prove`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from foundation.counting import agreeing
from pipeline.features.catalogue import meta_of

KNOWS_BY_DATE = "knows_by_date"
_KEYS = frozenset({"company_id", "customer_id", "as_of_date"})
_FINDS_ROWS = (exp.EQ, exp.Select, exp.Alias)
_ALL = "*"
"""In place of names: every column of a query that took them all over from the relation."""
_ROWS = "#"
"""Beside names: which rows the query has rests on the relation, other than by a left join."""
_SETTINGS = "ops"
"""The source of what companies say of themselves, which is no record of theirs."""


@dataclass(frozen=True)
class Peek:
    """Features of a mart that rest on what a relation shows of any date; all of the mart's where none could be told."""

    mart: str
    features: tuple[str, ...]
    relation: str

    def reason_of(self, number: int) -> str:
        """Why so many of them may look ahead, in words that go on from their names."""
        return f"{agreeing(number, 'rest')} on {self.relation}, which shows what became known later, too"


def find_peeks(manifest: Mapping[str, Any], *compiled: Path) -> list[Peek]:
    """The features that may look ahead, by mart and by what they read.

    ``compiled`` are folders in which dbt keeps compiled SQL, the first of which counts; a mart in none of them counts
    as a whole.
    """
    nodes = {**manifest["nodes"], **manifest["sources"]}
    showing_all = _relations_of_any_date(nodes)
    return [
        peek
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and _features_of(node)
        for peek in _peeks_of(nodes, unique_id, showing_all, compiled)
    ]


def models_that_know_by_date(manifest: Mapping[str, Any]) -> set[str]:
    """The names of the models that vouch for what a date may know."""
    return {
        str(node["name"])
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and _knows_by_date(node)
    }


def _relations_of_any_date(nodes: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Sources of records, and models that read one other than through a model that knows by date."""

    @cache
    def shows_all(unique_id: str) -> bool:
        node = nodes.get(unique_id)
        if node is None or node["resource_type"] == "seed":
            return False
        if node["resource_type"] == "source":
            return bool(node["source_name"] != _SETTINGS)
        return not _knows_by_date(node) and any(shows_all(parent) for parent in node["depends_on"]["nodes"])

    return {unique_id for unique_id in nodes if nodes[unique_id]["resource_type"] != "test" and shows_all(unique_id)}


def _knows_by_date(node: Mapping[str, Any]) -> bool:
    return bool((node["config"].get("meta") or {}).get(KNOWS_BY_DATE))


def _features_of(node: Mapping[str, Any]) -> list[str]:
    return [name for name, column in node["columns"].items() if meta_of(column).get("feature")]


def _peeks_of(
    nodes: Mapping[str, Mapping[str, Any]], mart: str, showing_all: Set[str], compiled: Sequence[Path]
) -> Iterator[Peek]:
    node = nodes[mart]
    features = _features_of(node)
    for parent in node["depends_on"]["nodes"]:
        # Of a mart that looks ahead itself only its own features are told, not those that others make of them.
        if parent not in showing_all or _features_of(nodes[parent]):
            continue
        relation = nodes[parent]
        name = str(relation.get("identifier") or relation.get("alias") or relation["name"])
        try:
            columns = columns_that_read(_compiled_sql(node, compiled), name)
        except (OSError, SqlglotError):
            columns = set(features)
        resting = tuple(feature for feature in features if feature in columns or _ALL in columns)
        yield Peek(str(node["name"]), resting or tuple(features), str(relation["name"]))


def _compiled_sql(node: Mapping[str, Any], compiled: Sequence[Path]) -> str:
    """Raises FileNotFoundError where dbt has not compiled the model."""
    path = Path(str(node["package_name"])) / str(node["original_file_path"])
    for folder in compiled:
        if (folder / path).exists():
            return (folder / path).read_text()
    raise FileNotFoundError(path)


def columns_that_read(query: str, relation: str) -> set[str]:
    """The columns of a compiled query that rest on anything of a relation but its keys.

    A condition on it counts for every column of the query that it stands in. "*" stands for columns whose names the
    query does not say. Raises SqlglotError.
    """
    resting: dict[int, set[str] | None] = {}
    last: set[str] | None = None
    for scope in traverse_scope(sqlglot.parse_one(query, dialect="postgres")):
        last = resting[id(scope)] = _resting(scope, relation, resting)
    return (last or set()) - {_ROWS}


def _resting(scope: Scope, relation: str, resting: Mapping[int, set[str] | None]) -> set[str] | None:
    """The columns of one query that rest on the relation; None where it does not read it at all."""
    if not isinstance(scope.expression, exp.Select):
        inner = [*scope.set_operation_scopes, *(source for name, source in scope.sources.items() if not name)]
        columns = [resting.get(id(each)) for each in inner]
        return None if all(each is None for each in columns) else set().union(*(each or () for each in columns))
    reads = _reads(scope, relation, resting)
    if reads is None:
        return None
    touched: set[str] = set()
    is_conditional = any(reads.touches(condition) for condition in _conditions(scope.expression))
    for projection in scope.expression.selects:
        if projection.is_star:
            touched |= reads.names_of_star(projection)
        elif is_conditional or reads.touches(projection):
            touched.add(projection.alias_or_name)
    return (touched - _KEYS) | ({_ROWS} if is_conditional or reads.has_rows else set())


def _conditions(select: exp.Select) -> list[exp.Expr]:
    conditions = [select.args.get(part) for part in ("where", "having", "qualify")]
    conditions += [join.args.get("on") for join in select.args.get("joins") or []]
    return [condition for condition in conditions if condition is not None]


@dataclass(frozen=True)
class _Reads:
    """What one query reads of a relation: aliases of it, and of queries with the columns that rest on it.

    `subqueries` are those that stand in an expression and read it; `sources` counts what the query reads in all.
    `has_rows`: which rows there are, and so a count of them, rests on it.
    """

    aliases: frozenset[str]
    inherited: Mapping[str, set[str]]
    subqueries: tuple[exp.Expr, ...]
    sources: int
    has_rows: bool

    def touches(self, expression: exp.Expr) -> bool:
        """Whether an expression reads the relation, other than by its keys; a count of rows does."""
        names: set[str] = set().union(*self.inherited.values())
        for node in expression.walk():
            if any(node is subquery for subquery in self.subqueries):
                return True
            if isinstance(node, exp.Star) and self.has_rows:
                return True
            if not isinstance(node, exp.Column):
                continue
            if node.name in _KEYS:
                # To be found by its key says nothing; that a row is there, or is not, does.
                if node.table in {*self.aliases, *self.inherited} and not isinstance(node.parent, _FINDS_ROWS):
                    return True
                continue
            if node.table in self.aliases or {node.name, _ALL} & self.inherited.get(node.table, set()):
                return True
            is_all = self.sources == 1 and (self.aliases or _ALL in names)
            if not node.table and (node.name in names or is_all):
                return True
        return False

    def names_of_star(self, projection: exp.Expr) -> set[str]:
        """What a star brings of what rests on the relation; all of it where it is the relation's own."""
        table = projection.table if isinstance(projection, exp.Column) else ""
        brought = [names for alias, names in self.inherited.items() if table in ("", alias)]
        is_own = any(table in ("", alias) for alias in self.aliases)
        return set().union(*brought, {_ALL} if is_own else ()) - {_ROWS}


def _reads(scope: Scope, relation: str, resting: Mapping[int, set[str] | None]) -> _Reads | None:
    sources = {alias: source for alias, (_, source) in scope.selected_sources.items()} or scope.sources
    aliases, inherited = set(), {}
    for alias, source in sources.items():
        if isinstance(source, exp.Table):
            aliases |= {alias} if source.name == relation else set()
        elif (columns := resting.get(id(source))) is not None:
            inherited[alias] = columns
    subqueries = tuple(each.expression for each in scope.subquery_scopes if resting.get(id(each)) is not None)
    if not (aliases or inherited or subqueries):
        return None
    brought_along = {join.alias_or_name for join in scope.expression.args.get("joins") or [] if join.side == "LEFT"}
    row_makers = aliases | {alias for alias, columns in inherited.items() if _ROWS in columns}
    has_rows = bool(row_makers - brought_along)
    return _Reads(frozenset(aliases), inherited, subqueries, len(sources), has_rows)
