"""Who signs in to the stand-in, by password or key, and which groups people are in."""

from __future__ import annotations

import copy
import secrets
from typing import Any

from tests.integration.pipeline.integrations.metabase.stand_in.answers import Json, Refusal, find, need
from tests.integration.pipeline.integrations.metabase.stand_in.holdings import ADMINISTRATORS, ALL_USERS, Holdings


class Accounts(Holdings):
    """Sessions, API keys, groups and people."""

    def health(self, _: Any) -> Json:
        return {"status": "ok"}

    def properties(self, _: Any) -> Json:
        return {
            "version": {"tag": self.version},
            "has-user-setup": self.has_user,
            "setup-token": None if self.has_user else self.setup_token,
            "email-configured?": self.has_mail,
            "site-url": self.site_url,
        }

    def current_user(self, _: Any) -> Json:
        return {"id": self.asking, "is_superuser": True}

    def set_up(self, body: Json) -> Json:
        if self.has_user:
            raise Refusal(403, "The /api/setup route can only be used to create the first user.")
        need(body, "token", "user", "prefs")
        need(body["user"], "email", "password")
        need(body["prefs"], "site_name")
        if body["token"] != self.setup_token:
            raise Refusal(400, {"errors": {"token": "Token does not match the setup token."}})
        if len(body["user"]["password"]) < 8:
            raise Refusal(400, {"errors": {"password": "password is too common."}})
        self.add_user(body["user"]["email"], body["user"]["password"])
        return self._session()

    def log_in(self, body: Json) -> Json:
        if self.users.get(body.get("username", "")) != body.get("password"):
            raise Refusal(401, {"errors": {"password": f"did not match stored password {body['password']}"}})
        return self._session()

    def _session(self) -> Json:
        session = secrets.token_hex(16)
        self.sessions.add(session)
        return {"id": session}

    def add_user(self, email: str, password: str) -> None:
        """An administrator, made by hand."""
        self.users[email] = password
        self.has_user = True

    def add_api_key(self) -> str:
        """An administrator's API key."""
        self.has_user = True
        return str(self.make_api_key({"group_id": ADMINISTRATORS, "name": secrets.token_hex(4)})["unmasked_key"])

    def make_api_key(self, body: Json) -> Json:
        need(body, "group_id", "name")
        find(self.groups_by_id, body["group_id"])
        if any(known["name"] == body["name"] for known in self.api_keys.values()):
            raise Refusal(400, {"errors": {"name": "An API key with this name already exists."}})
        key = f"mb_{secrets.token_hex(16)}"
        self.api_keys[key] = {"id": next(self.ids), "name": body["name"], "group_id": body["group_id"]}
        return self.api_keys[key] | {"unmasked_key": key}

    def list_api_keys(self, _: Any) -> list[Json]:
        return [{**known, "masked_key": f"{key[:7]}..."} for key, known in self.api_keys.items()]

    def renew_api_key(self, key_id: int, _: Any) -> Json:
        known = find({each["id"]: each for each in self.api_keys.values()}, key_id)
        self.delete_api_key(key_id, None)
        key = f"mb_{secrets.token_hex(16)}"
        self.api_keys[key] = known
        return known | {"unmasked_key": key}

    def move_api_key(self, key_id: int, body: Json) -> Json:
        known = find({each["id"]: each for each in self.api_keys.values()}, key_id)
        find(self.groups_by_id, body["group_id"])
        known["group_id"] = body["group_id"]
        return known

    def delete_api_key(self, key_id: int, _: Any) -> None:
        self.api_keys = {key: known for key, known in self.api_keys.items() if known["id"] != key_id}

    def groups(self, _: Any) -> list[Json]:
        return list(self.groups_by_id.values())

    def add_group(self, body: Json) -> Json:
        need(body, "name")
        if any(group["name"].lower() == body["name"].lower() for group in self.groups_by_id.values()):
            raise Refusal(400, "A group with that name already exists.")
        new = {"id": next(self.ids), "name": body["name"], "magic_group_type": None}
        self.groups_by_id[new["id"]] = new
        # A new group may what all users may.
        self.collection_graph[str(new["id"])] = {}
        self.data_graph[str(new["id"])] = copy.deepcopy(self.data_graph[str(ALL_USERS)])
        self.revisions["data"] += 1
        return new

    def list_users(self, _: Any) -> Json:
        return {"data": list(self.accounts.values()), "total": len(self.accounts)}

    def add_account(self, body: Json) -> Json:
        need(body, "email")
        if any(account["email"] == body["email"] for account in self.accounts.values()):
            raise Refusal(400, {"errors": {"email": "Email address already in use."}})
        new = {"id": next(self.ids)} | body
        self.accounts[new["id"]] = new
        return new

    def list_memberships(self, _: Any) -> dict[str, list[Json]]:
        memberships: dict[str, list[Json]] = {}
        for membership in self.memberships:
            memberships.setdefault(str(membership["user_id"]), []).append(membership)
        return memberships

    def add_membership(self, body: Json) -> list[Json]:
        need(body, "group_id", "user_id")
        find(self.groups_by_id, body["group_id"])
        find(self.accounts, body["user_id"])
        self.memberships.append({"membership_id": next(self.ids), "is_group_manager": False} | body)
        return self.memberships
