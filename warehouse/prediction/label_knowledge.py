"""What was known of outcomes, and when: every version of a task's labels, and the rows of features that they belong to.

Which version counts at a date belongs in `pipeline.prediction.track_record`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import pyarrow as pa
from psycopg import sql

from warehouse.companies.definition import CustomAttribute
from warehouse.connection import Warehouse
from warehouse.frames import read_arrow
from warehouse.prediction.bounds import within_bounds
from warehouse.prediction.feature_store import matrix_query
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

_EVER_LABELLED: LiteralString = """
    select {columns}
    from {matrix} as matrix
    where matrix.company_id = any({companies}) and extract(day from matrix.as_of_date) = 1 and exists (
        select from {label_versions} as version
        where version.company_id = matrix.company_id and version.as_of_date = matrix.as_of_date
            and version.{entity} = matrix.{entity}
    )
    order by matrix.company_id, matrix.as_of_date, matrix.{entity}
"""
_VERSIONS: LiteralString = """
    select company_id, {entity} as entity_id, as_of_date, {label} as outcome, known_at
    from {label_versions}
    where company_id = any({companies}) and extract(day from as_of_date) = 1
    order by company_id, as_of_date, {entity}, label_version
"""


def ever_labelled_rows(
    warehouse: Warehouse,
    task: TaskRelations,
    company_ids: Sequence[int],
    features: Sequence[str],
    attributes: Sequence[CustomAttribute] = (),
) -> pa.Table:
    """Rows of the monthly grid whose outcome was known at any time: `labelled_rows` without the outcome."""
    query = matrix_query(_EVER_LABELLED, task, task.matrix, features, attributes, companies=list(company_ids))
    return within_bounds(read_arrow(warehouse, query, role=Role.ml))


def label_versions(warehouse: Warehouse, task: TaskRelations, company_ids: Sequence[int]) -> pa.Table:
    """What labels of the monthly grid have said: company_id, entity_id, as_of_date, outcome (null where none counts),
    known_at; the versions of a label in their order."""
    query = sql.SQL(_VERSIONS).format(
        entity=sql.Identifier(task.contract.entity_id),
        label=sql.Identifier(task.label),
        label_versions=task.label_versions.identifier,
        companies=list(company_ids),
    )
    return read_arrow(warehouse, query, role=Role.ml)
