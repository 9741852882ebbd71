"""Reading the feature matrix: labelled rows to learn from, and one date's rows to score."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.companies.definition import CustomAttribute
from warehouse.connection import Warehouse
from warehouse.errors import WarehouseError
from warehouse.frames import arrow_chunks, read_arrow
from warehouse.prediction.bounds import within_bounds
from warehouse.prediction.task_relations import TaskRelations
from warehouse.relations import Relation
from warehouse.roles import Role

_NOT_FEATURES = {"company_id", "as_of_date", "feature_version", "matrix_version", "rates_version"}
_ATTRIBUTES = "custom_attributes"
_ATTRIBUTE_FEATURE = "attribute_"
_JSON_TYPES = {"number": ("number", "double precision"), "flag": ("boolean", "boolean"), "category": ("string", "text")}

_AT: LiteralString = """
    select {columns}
    from {matrix} as matrix
    where matrix.company_id = {company} and matrix.as_of_date = {date} {entities}
    order by matrix.{entity}
"""
_LABELLED: LiteralString = """
    select label.{label} as outcome, {columns}
    from {matrix} as matrix
    inner join {labels} as label
        on label.company_id = matrix.company_id
        and label.{entity} = matrix.{entity}
        and label.as_of_date = matrix.as_of_date
    where matrix.company_id = any({companies}) and label.is_mature and label.{label} is not null
        and extract(day from matrix.as_of_date) = 1
    order by matrix.company_id, matrix.as_of_date, matrix.{entity}
"""
_OUTCOMES: LiteralString = """
    select label.as_of_date, count(*) as entities, count(*) filter (where label.{label}) as outcomes
    from {matrix} as matrix
    inner join {labels} as label
        on label.company_id = matrix.company_id
        and label.{entity} = matrix.{entity}
        and label.as_of_date = matrix.as_of_date
    where matrix.company_id = {company} and label.is_mature and label.{label} is not null
        and extract(day from matrix.as_of_date) = 1 and matrix.as_of_date > {after}
    group by label.as_of_date
    order by label.as_of_date
"""


class FeaturesNotBuilt(WarehouseError):
    """The feature matrix lacks what was asked for."""

    advice = "`churn run` builds the features of today, `churn backfill DATE` those of a past date."


class NeverBuilt(FeaturesNotBuilt):
    """No run has built anything yet."""

    advice = "`churn run` builds it, with its past dates; from then on `churn backfill DATE` builds a date again."


def refuse_never_built(warehouse: Warehouse) -> None:
    """Raise NeverBuilt where there are no features yet, to which a past date could be added."""
    with warehouse.connect() as connection:
        built = connection.execute("select to_regclass(%s) is not null", [str(relations.CUSTOMER_FEATURES)]).fetchone()
    if not built or not built[0]:
        raise NeverBuilt("Nothing has been built in this warehouse yet, so that no date can be built by itself.")


class NobodyToAsk(FeaturesNotBuilt):
    """The features were built, and the task may be asked about nobody: everybody left, or nobody ever came."""

    advice = ""


class FeaturesReplaced(FeaturesNotBuilt):
    """The features were built again while they were being read."""

    advice = "`churn score --company SLUG` scores those that stand now."


def attribute_feature(attribute: CustomAttribute) -> str:
    """What a company's own attribute is called as a feature."""
    return f"{_ATTRIBUTE_FEATURE}{attribute.name}"


def built_columns(conn: psycopg.Connection[Any], matrix: Relation) -> list[str]:
    """The matrix's columns as they stand in the warehouse.

    Raises FeaturesNotBuilt before the first dbt build.
    """
    rows = conn.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " order by ordinal_position",
        [matrix.schema, matrix.name],
    ).fetchall()
    if not rows:
        raise FeaturesNotBuilt(f"{matrix} does not exist yet.")
    return [name for (name,) in rows]


def labelled_rows(
    warehouse: Warehouse,
    task: TaskRelations,
    company_ids: Sequence[int],
    features: Sequence[str],
    attributes: Sequence[CustomAttribute] = (),
    matrix: Relation | None = None,
) -> pa.Table:
    """Rows whose label is mature: outcome, company_id, entity_id, as_of_date, feature_version, then ``features`` and
    ``attributes``. A number out of bounds is null.

    Only dates of the monthly grid count: a daily scoring date would weigh recent days more than others.
    Rows are ordered by company, date and entity, so that a training can be repeated. ``matrix`` may be a developer's,
    which only the owner may read; the labels are production's.
    """
    query = matrix_query(_LABELLED, task, matrix or task.matrix, features, attributes, companies=list(company_ids))
    return within_bounds(read_arrow(warehouse, query, role=Role.ml if matrix is None else None))


def outcomes_after(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, after: date
) -> list[tuple[date, int, int]]:
    """Each later date whose labels are mature: the date, the entities asked about, and those with the outcome.

    The rows counted are those of `labelled_rows`.
    """
    query = sql.SQL(_OUTCOMES).format(
        matrix=task.matrix.identifier,
        labels=task.labels.identifier,
        label=sql.Identifier(task.label),
        entity=sql.Identifier(task.contract.entity_id),
        company=company_id,
        after=after,
    )
    return conn.execute(query).fetchall()


def rows_at(
    warehouse: Warehouse,
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    features: Sequence[str],
    attributes: Sequence[CustomAttribute] = (),
    entities: tuple[str, str] | None = None,
    matrix: Relation | None = None,
    role: Role | None = Role.ml,
) -> pa.Table:
    """Whom the task may be asked about, of one company at one date: company_id, entity_id, as_of_date,
    feature_version, then ``features`` and ``attributes``; or those from the first of ``entities`` to the last.
    ``matrix`` may be one that was built beside the stored one; without a ``role`` the owner reads it. A number out of
    bounds is null.

    Raises FeaturesNotBuilt when the matrix has no such row.
    """
    chosen = _between(task, entities) if entities else sql.SQL("")
    query = matrix_query(
        _AT, task, matrix or task.matrix, features, attributes, company=company_id, date=as_of_date, entities=chosen
    )
    rows = read_arrow(warehouse, query, role=role)
    if rows.num_rows == 0:
        raise _not_built(warehouse, task, company_id, as_of_date, entities)
    return within_bounds(rows)


def chunks_at(
    warehouse: Warehouse,
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    features: Sequence[str],
    attributes: Sequence[CustomAttribute] = (),
    *,
    rows: int,
) -> Iterator[pa.Table]:
    """As ``rows_at``, ``rows`` at a time."""
    query = matrix_query(
        _AT, task, task.matrix, features, attributes, company=company_id, date=as_of_date, entities=sql.SQL("")
    )
    is_empty = True
    for chunk in arrow_chunks(warehouse, query, Role.ml, rows):
        is_empty = False
        yield within_bounds(chunk)
    if is_empty:
        raise _not_built(warehouse, task, company_id, as_of_date, None)


def _between(task: TaskRelations, entities: tuple[str, str]) -> sql.Composed:
    first, last = entities
    return sql.SQL("and matrix.{} between {} and {}").format(sql.Identifier(task.contract.entity_id), first, last)


_BUILT: LiteralString = """
    select exists (
        select from {clocks} where company_id = %s and is_on_the_grid and scoring_date = %s
    )
"""


def _not_built(
    warehouse: Warehouse, task: TaskRelations, company_id: int, as_of_date: date, entities: tuple[str, str] | None
) -> FeaturesNotBuilt:
    entity = task.contract.entity
    if entities is not None:
        low, high = entities
        who = f"{entity} {low!r}" if low == high else f"{entity} from {low!r} to {high!r}"
        return FeaturesNotBuilt(f"There is no active {who} with features for {as_of_date}.")
    if _is_built(warehouse, company_id, as_of_date):
        return NobodyToAsk(f"There is no active {entity} on {as_of_date}: there is nothing to score.")
    return FeaturesNotBuilt(
        f"There are no feature rows for {as_of_date}: the first load is not complete, or the features were not built "
        "for that date."
    )


def _is_built(warehouse: Warehouse, company_id: int, as_of_date: date) -> bool:
    query = sql.SQL(_BUILT).format(clocks=relations.COMPANY_CLOCKS.identifier)
    try:
        with warehouse.connect() as conn:
            (is_built,) = conn.execute(query, [company_id, as_of_date]).fetchone() or (False,)
    except psycopg.errors.UndefinedTable:
        return False
    return bool(is_built)


def feature_versions_at(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date
) -> list[str]:
    """What made one company's rows of one date: one version, none where there are no rows, never more if all is well.

    Raises FeaturesNotBuilt for a matrix that is not there, or of before there were versions.
    """
    try:
        rows = conn.execute(
            sql.SQL(
                "select distinct feature_version from {} where company_id = %s and as_of_date = %s order by 1"
            ).format(task.matrix.identifier),
            [company_id, as_of_date],
        ).fetchall()
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable):
        raise FeaturesNotBuilt(f"{task.matrix} is not there, or was built by an older release.") from None
    return [str(version) for (version,) in rows]


def keep_missing(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    feature_version: str,
    entities: int,
    missing: Mapping[str, int],
) -> None:
    """Keep how many of one date's entities lack each feature of the stored matrix, as whoever read it all counted.

    What they have of the company's own attributes is counted here, for not all of them are features.
    """
    attributes = _attributes_missing(conn, task.matrix, company_id, as_of_date, entities)
    conn.execute(
        relations.compose("""
        insert into {missing_features} (company_id, task, as_of_date, feature_version, customers, missing)
        values (%s, %s, %s, %s, %s, %s)
        on conflict (company_id, task, as_of_date) do update set feature_version = excluded.feature_version,
            customers = excluded.customers, missing = excluded.missing
        """),
        [company_id, task.name, as_of_date, feature_version, entities, Jsonb({**missing, **attributes})],
    )


def missing_shares(
    conn: psycopg.Connection[Any],
    task: TaskRelations,
    company_id: int,
    as_of_date: date,
    matrix: Relation | None = None,
) -> dict[str, float]:
    """Each feature's share (0 to 1) of one date's entities without it, a company's own attributes among them.

    As it was kept when the date was scored, where the stored matrix is of the same feature version still; else, or of
    another ``matrix``, counted. Empty where the matrix has no row for that date.
    """
    is_stored = matrix in (None, task.matrix)
    kept = _kept_missing(conn, task, company_id, as_of_date) if is_stored else None
    entities, missing = kept or _count_missing(conn, task, matrix or task.matrix, company_id, as_of_date)
    return {name: 1 - (entities - count) / entities for name, count in missing.items()}


def _kept_missing(
    conn: psycopg.Connection[Any], task: TaskRelations, company_id: int, as_of_date: date
) -> tuple[int, dict[str, int]] | None:
    kept = conn.execute(
        relations.compose(
            "select feature_version, customers, missing from {missing_features}"
            " where company_id = %s and task = %s and as_of_date = %s"
        ),
        [company_id, task.name, as_of_date],
    ).fetchone()
    if kept is None:
        return None
    stored = conn.execute(
        sql.SQL("select feature_version from {} where company_id = %s and as_of_date = %s limit 1").format(
            task.matrix.identifier
        ),
        [company_id, as_of_date],
    ).fetchone()
    version, entities, missing = kept
    return (entities, missing) if stored == (version,) else None


def _count_missing(
    conn: psycopg.Connection[Any], task: TaskRelations, matrix: Relation, company_id: int, as_of_date: date
) -> tuple[int, dict[str, int]]:
    others = {*_NOT_FEATURES, task.contract.entity_id, _ATTRIBUTES}
    names = [name for name in built_columns(conn, matrix) if name not in others]
    counted = [sql.SQL("count(*) - count({})").format(sql.Identifier(name)) for name in names]
    row = conn.execute(
        sql.SQL("select {} from {} where company_id = %s and as_of_date = %s").format(
            sql.SQL(", ").join([sql.SQL("count(*)"), *counted]), matrix.identifier
        ),
        [company_id, as_of_date],
    ).fetchone()
    if not row or not row[0]:
        return 0, {}
    missing = dict(zip(names, row[1:], strict=True))
    return row[0], missing | _attributes_missing(conn, matrix, company_id, as_of_date, row[0])


def _attributes_missing(
    conn: psycopg.Connection[Any], matrix: Relation, company_id: int, as_of_date: date, entities: int
) -> dict[str, int]:
    """How many of the entities lack each of the company's own attributes, as features are called."""
    if _ATTRIBUTES not in built_columns(conn, matrix):
        return {}
    present = conn.execute(
        sql.SQL(
            "select {} || attribute.key, count(*) filter (where attribute.value <> 'null')"
            " from {} cross join lateral jsonb_each(custom_attributes) as attribute"
            " where company_id = %s and as_of_date = %s group by attribute.key"
        ).format(_ATTRIBUTE_FEATURE, matrix.identifier),
        [company_id, as_of_date],
    ).fetchall()
    return {name: entities - count for name, count in present}


def matrix_query(
    query: LiteralString,
    task: TaskRelations,
    matrix: Relation,
    features: Sequence[str],
    attributes: Sequence[CustomAttribute],
    **values: Any,
) -> sql.Composed:
    """A query on a task's matrix with its names filled in: the keys, then the features, then a company's attributes."""
    entity = sql.Identifier(task.contract.entity_id)
    keys = [
        sql.SQL("matrix.company_id"),
        sql.SQL("matrix.{} as entity_id").format(entity),
        sql.SQL("matrix.as_of_date"),
        sql.SQL("matrix.feature_version"),
    ]
    columns = [*keys, *(sql.Identifier("matrix", name) for name in features), *map(_attribute_column, attributes)]
    return sql.SQL(query).format(
        columns=sql.SQL(", ").join(columns),
        matrix=matrix.identifier,
        labels=task.labels.identifier,
        label_versions=task.label_versions.identifier,
        label=sql.Identifier(task.label),
        entity=entity,
        **values,
    )


def _attribute_column(attribute: CustomAttribute) -> sql.Composed:
    """A company's own attribute as a typed column; null where it is absent or of another kind."""
    json_type, sql_type = _JSON_TYPES[attribute.kind]
    return sql.SQL(
        "case when jsonb_typeof(matrix.custom_attributes -> {name}) = {json_type}"
        " then (matrix.custom_attributes ->> {name})::{sql_type} end as {feature}"
    ).format(
        name=sql.Literal(attribute.name),
        json_type=sql.Literal(json_type),
        sql_type=sql.SQL(sql_type),
        feature=sql.Identifier(attribute_feature(attribute)),
    )
