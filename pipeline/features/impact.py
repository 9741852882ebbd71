"""What hangs on a model, a source's table or a column: read from dbt's manifest, its exposures and the SQL.

Between models dbt's own lineage holds. Columns are followed by name through the SQL that dbt compiled last
(`target/compiled`), scope by scope: a column that an expression mentions lives on in what the expression is called.
A column that only a condition, a join or a grouping reads moves rows and not one column: that is said, and followed
as the whole model. Through Python, from the matrix to the scores, every feature leads to every published field.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from foundation.errors import ChurnError
from pipeline.features.catalogue import meta_of
from pipeline.prediction.tasks import TASKS
from warehouse.publication.contract import Contract

PUBLISHED = ("risk_level", "percentile", "baseline_log_odds", "reasons", "evidence_level")
_EVERYTHING = "*"


class UnknownName(ChurnError):
    """No model, source or column has this name; the message suggests some that exist."""


@dataclass(frozen=True)
class Impact:
    """What hangs on a name. Models as `schema.name`, with the columns where a column was followed."""

    start: str
    how: str
    models: list[str]
    features: list[str]
    exposures: list[str]
    published: list[str]
    notes: list[str] = field(default_factory=list)


def find_impact(manifest: Mapping[str, Any], name: str, compiled: Path) -> Impact:
    """What hangs on ``name``: a model, a source's table, a column, or `model.column`.

    ``compiled`` is where dbt keeps compiled SQL. Raises UnknownName.
    """
    nodes = _nodes(manifest)
    starts, column = _resolve(nodes, name)
    touched: dict[str, set[str]] = {start: {column or _EVERYTHING} for start in starts}
    notes: list[str] = []
    for unique_id in _in_order(nodes, starts):
        if unique_id not in touched:
            _follow(nodes, unique_id, touched, compiled, notes)
    _through_python(nodes, touched)
    for unique_id in _in_order(nodes, touched):
        if unique_id not in touched:
            _follow(nodes, unique_id, touched, compiled, notes)
    how = "by dbt's lineage" if column is None else "by name through the SQL"
    return Impact(
        start=", ".join(_describe_node(nodes[start], {column or _EVERYTHING}) for start in starts),
        how=how,
        models=[_describe_node(nodes[key], touched[key]) for key in touched if key not in starts],
        features=sorted(_features(nodes, touched)),
        exposures=sorted(
            f"{exposure.get('label') or exposure['name']} ({exposure['type']})"
            for exposure in manifest["exposures"].values()
            if any(key in touched for key in exposure["depends_on"]["nodes"])
        ),
        published=[
            f"{contract.scores}.{column}"
            for contract in _contracts_reached(nodes, touched)
            for column in (contract.probability, *PUBLISHED)
        ],
        notes=notes,
    )


def _nodes(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    kinds = {"model", "seed"}
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] in kinds}
    return {**manifest["sources"], **models}


def _resolve(nodes: Mapping[str, Mapping[str, Any]], name: str) -> tuple[list[str], str | None]:
    wanted = name.strip().lower()
    by_model = [key for key, node in nodes.items() if wanted in (node["name"], f"{node['schema']}.{node['name']}")]
    if by_model:
        return sorted(by_model, key=lambda key: nodes[key]["resource_type"] != "model")[:1], None
    model, _, column = wanted.rpartition(".")
    suggestions = [
        key
        for key, node in nodes.items()
        if (not model or model in (node["name"], f"{node['schema']}.{node['name']}")) and _has(node, column)
    ]
    # A bare name starts where it first stands: what hangs on it elsewhere is found from there.
    upper = [key for key in suggestions if not any(above in suggestions for above in _parents(nodes[key]))]
    if not upper:
        raise UnknownName(_unknown(nodes, name))
    return upper, column


def _has(node: Mapping[str, Any], column: str) -> bool:
    return column in node["columns"]


def _unknown(nodes: Mapping[str, Mapping[str, Any]], name: str) -> str:
    last = name.rpartition(".")[2].lower()
    known = {str(node["name"]) for node in nodes.values()}
    columns = {str(column) for node in nodes.values() for column in node["columns"]}
    close = difflib.get_close_matches(last, sorted(known | columns), n=5, cutoff=0.5)
    meant = f" Did you mean {', '.join(close)}?" if close else ""
    return f"No model, table or described column is called {name!r}.{meant} Write model, column or model.column."


def _parents(node: Mapping[str, Any]) -> list[str]:
    parents: list[str] = node.get("depends_on", {}).get("nodes", [])
    return parents


def _in_order(nodes: Mapping[str, Mapping[str, Any]], starts: Iterable[str]) -> list[str]:
    """Everything below the starts, parents before children."""
    below: dict[str, int] = dict.fromkeys(starts, 0)
    changed = True
    while changed:
        changed = False
        for key, node in nodes.items():
            depths = [below[parent] for parent in _parents(node) if parent in below]
            if depths and max(depths) + 1 > below.get(key, -1):
                below[key] = max(depths) + 1
                changed = True
    return sorted(below, key=lambda key: (below[key], key))


def _follow(
    nodes: Mapping[str, Mapping[str, Any]],
    unique_id: str,
    touched: dict[str, set[str]],
    compiled: Path,
    notes: list[str],
) -> None:
    """Add the model to ``touched``, with those of its columns that hang on what is touched above it."""
    node = nodes[unique_id]
    above = {nodes[key]["name"]: touched[key] for key in _parents(node) if key in touched}
    if not above:
        return
    if all(_EVERYTHING in names for names in above.values()):
        touched[unique_id] = {_EVERYTHING}
        return
    file = compiled / str(node.get("package_name")) / str(node["original_file_path"])
    try:
        columns = columns_that_hang_on(file.read_text(), above)
    except (OSError, SqlglotError):
        notes.append(f"{node['name']} could not be read column by column (no compiled SQL): all of it is counted.")
        columns = {_EVERYTHING}
    if columns:
        touched[unique_id] = columns


def columns_that_hang_on(query: str, above: Mapping[str, set[str]]) -> set[str]:
    """Columns of a compiled query that rest on columns of the tables it reads: {table: names}, `*` for all of it.

    `*` in the result: rows come or go with it. Raises SqlglotError for SQL that it cannot read.
    """
    outputs: dict[int, set[str]] = {}
    last: set[str] = set()
    for scope in traverse_scope(sqlglot.parse_one(query, dialect="postgres")):
        last = outputs[id(scope)] = _outputs(scope, above, outputs)
    return last


def _outputs(scope: Scope, above: Mapping[str, set[str]], outputs: Mapping[int, set[str]]) -> set[str]:
    if isinstance(scope.expression, exp.SetOperation):
        return {name for part in scope.set_operation_scopes for name in outputs[id(part)]}
    sources = {
        alias: above.get(source.name, set()) if isinstance(source, exp.Table) else outputs.get(id(source), set())
        for alias, source in scope.sources.items()
        if alias in scope.selected_sources or not scope.selected_sources
    }
    if any(_EVERYTHING in names for names in sources.values()):
        return {_EVERYTHING}
    if not isinstance(scope.expression, exp.Select):
        return {name for names in sources.values() for name in names}
    columns: set[str] = set()
    for projection in scope.expression.selects:
        if projection.is_star:
            columns |= set().union(*sources.values())
        elif _mentions(projection, sources):
            columns.add(projection.alias_or_name)
    conditions = [scope.expression.args.get(part) for part in ("where", "group", "having", "qualify", "distinct")]
    conditions += [join.args.get("on") for join in scope.expression.args.get("joins") or []]
    if any(condition is not None and _mentions(condition, sources) for condition in conditions):
        columns.add(_EVERYTHING)
    return columns


def _mentions(expression: exp.Expr, sources: Mapping[str, set[str]]) -> bool:
    for column in expression.find_all(exp.Column):
        names = sources.get(column.table, set()) if column.table else set().union(*sources.values())
        if column.name in names:
            return True
    return False


def _through_python(nodes: Mapping[str, Mapping[str, Any]], touched: dict[str, set[str]]) -> None:
    reached = {contract.task for contract in _contracts_reached(nodes, touched)}
    for key, node in nodes.items():
        is_published = node["resource_type"] == "source" and node["schema"] == "predictions"
        if is_published and str(node["name"]).partition("_")[0] in reached:
            touched.setdefault(key, {_EVERYTHING})


def _contracts_reached(nodes: Mapping[str, Mapping[str, Any]], touched: Mapping[str, set[str]]) -> list[Contract]:
    """What is published by the tasks whose matrix is touched."""
    names = {f"{nodes[key]['schema']}.{nodes[key]['name']}" for key in touched}
    return [binding.relations.contract for binding in TASKS if str(binding.relations.matrix) in names]


def _features(nodes: Mapping[str, Mapping[str, Any]], touched: Mapping[str, set[str]]) -> Iterable[str]:
    for key, names in touched.items():
        for column, described in nodes[key]["columns"].items():
            if meta_of(described).get("feature") and (_EVERYTHING in names or column in names):
                yield f"{column} ({nodes[key]['name']})"


def _describe_node(node: Mapping[str, Any], names: set[str]) -> str:
    place = f"{node['schema']}.{node['name']}"
    return place if _EVERYTHING in names else f"{place}: {', '.join(sorted(names))}"
