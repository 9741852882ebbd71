"""Accounts for the people of `people.yaml`, and their groups. Nobody is changed, locked out or taken from a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.integrations.metabase.state import as_list

if TYPE_CHECKING:
    from pipeline.integrations.metabase.client import MetabaseClient
    from pipeline.integrations.metabase.definitions import Person


def bring_people_in(
    client: MetabaseClient, wanted: Mapping[str, tuple[Person, int]], *, is_plan: bool
) -> list[tuple[str, int]]:
    """Make the accounts that are missing and put people into their groups; returns (e-mail, group) per change.

    `wanted` is keyed by e-mail in lower case and holds the group's id. Metabase mails an invitation to a new account
    where its e-mail is set up.
    """
    if not wanted:
        return []
    accounts = {str(user["email"]).lower(): int(user["id"]) for user in as_list(client.get("/api/user", status="all"))}
    memberships = client.get("/api/permissions/membership")
    added = []
    for email, (person, group) in wanted.items():
        user_id = accounts.get(email)
        groups = {int(entry["group_id"]) for entry in memberships.get(str(user_id), [])}
        if group in groups:
            continue
        added.append((person.email, group))
        if is_plan:
            continue
        if user_id is None:
            body = {"email": person.email, "first_name": person.first_name, "last_name": person.last_name}
            user_id = int(client.post("/api/user", body)["id"])
        client.post("/api/permissions/membership", {"group_id": group, "user_id": user_id})
    return added
