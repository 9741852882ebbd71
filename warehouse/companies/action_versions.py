"""A company's actions as the registry keeps them: dated, so that what held in a past period can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from warehouse import relations
from warehouse.companies.actions import Action

_END = relations.compose("""
    update {company_actions} as held set valid_to = clock_timestamp()
    where held.company_id = %(company)s and held.valid_to is null
        and held.settings not in (select wanted.settings from jsonb_array_elements(%(actions)s) as wanted (settings))
""")
_BEGIN = relations.compose("""
    insert into {company_actions} (company_id, action, settings)
    select %(company)s, wanted.settings ->> 'name', wanted.settings
    from jsonb_array_elements(%(actions)s) as wanted (settings)
    where not exists (
        select from {company_actions} as held
        where held.company_id = %(company)s and held.action = wanted.settings ->> 'name' and held.valid_to is null
    )
""")


def write_actions(connection: psycopg.Connection[Any], company_id: int, actions: Sequence[Action]) -> None:
    """Let these actions hold from now on. What changed or went ends now and stays; what is as it was is left alone."""
    values = {"company": company_id, "actions": Jsonb([action.model_dump(mode="json") for action in actions])}
    connection.execute(_END, values)
    connection.execute(_BEGIN, values)
