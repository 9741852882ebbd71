"""Reading when outcomes came, whatever the horizon: what curves over several horizons are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

import pyarrow as pa
from psycopg import sql

from warehouse.connection import Warehouse
from warehouse.prediction.task_relations import TaskRelations
from warehouse.roles import Role

_TIMES: LiteralString = """
    select company_id, {entity} as entity_id, as_of_date, outcome_days, observed_days
    from {times}
    where company_id = any({companies})
"""


def outcome_times(warehouse: Warehouse, task: TaskRelations, company_ids: Sequence[int]) -> pa.Table:
    """Of each entity and date of the monthly grid, the days to its outcome (null: none known) and those that are known.

    Columns company_id, entity_id, as_of_date, outcome_days, observed_days. No rows before dbt has made the relation.
    """
    with warehouse.connect(Role.ml) as conn:
        is_there = conn.execute("select to_regclass(%s) is not null", [str(task.times)]).fetchone() == (True,)
    if not is_there:
        return _NO_TIMES
    query = sql.SQL(_TIMES).format(
        entity=sql.Identifier(task.contract.entity_id), times=task.times.identifier, companies=list(company_ids)
    )
    with warehouse.adbc(Role.ml) as connection, connection.cursor() as cursor:
        # Whole periods are joined, as dbt's own builds do: the planner cannot tell how many rows a view leaves.
        cursor.execute("set local enable_nestloop = off")
        cursor.execute(query.as_string())
        return cursor.fetch_arrow_table()


_NO_TIMES = pa.schema(
    [
        ("company_id", pa.int32()),
        ("entity_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("outcome_days", pa.float64()),
        ("observed_days", pa.float64()),
    ]
).empty_table()
