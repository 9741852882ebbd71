"""A stand-in for Metabase over real HTTP: it keeps state, and refuses what the real one refuses.

Where the real one ignores a mistake in silence (a mapping without card_id, a card off the grid), this one
refuses it, so that a test sees it.
"""

from __future__ import annotations

import copy
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import psycopg

Json = dict[str, Any]
PUBLIC = {"/api/health", "/api/session/properties", "/api/setup", "/api/session"}
ALL_USERS, ADMINISTRATORS = 1, 2
ADMIN_ACCOUNT = 1
REDACTED = "**MetabasePass**"
# What newer versions take, who refuse any other key.
CARD_KEYS = {
    "name",
    "type",
    "dataset_query",
    "parameters",
    "parameter_mappings",
    "description",
    "display",
    "visualization_settings",
    "collection_id",
    "collection_position",
    "result_metadata",
    "cache_ttl",
    "dashboard_id",
    "dashboard_tab_id",
}
DASHBOARD_KEYS = {"name", "description", "parameters", "cache_ttl", "collection_id", "collection_position"}
DASHBOARD_CONTENTS = {"width", "auto_apply_filters", "archived", "tabs", "dashcards", "enable_embedding"}
DASHCARD_KEYS = {
    "id",
    "size_x",
    "size_y",
    "row",
    "col",
    "card_id",
    "action_id",
    "dashboard_tab_id",
    "parameter_mappings",
    "visualization_settings",
    "inline_parameters",
    "series",
}


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{status} {body}")


class ConnectionDropped(Exception):
    """The request was carried out, and its answer is never sent."""


@dataclass
class StandIn:
    """The state of one Metabase. Without a `warehouse_password` it tries connections for real."""

    warehouse_tables: dict[tuple[str, str], list[str]]
    warehouse_password: str | None
    version: str = "v0.58.34"
    legacy_queries: bool = False
    has_user: bool = False
    polls_until_synced: int = 2
    broken_sql: dict[str, str] = field(default_factory=dict)
    answers_ahead: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    graph_writers_ahead: int = 0
    drop_after_write: int | None = None
    refused_users: set[str] = field(default_factory=set)
    has_mail: bool = True
    syncs_swallowed: int = 0

    def __post_init__(self) -> None:
        self.setup_token = secrets.token_hex(8)
        self.users: dict[str, str] = {}
        self.accounts: dict[int, Json] = {}
        self.memberships: list[Json] = []
        self.sessions: set[str] = set()
        self.api_keys: dict[str, Json] = {}
        self.lock = threading.RLock()
        self.ids = iter(range(100, 100_000))
        self.collections: dict[int, Json] = {}
        self.databases: dict[int, Json] = {}
        self.cards: dict[int, Json] = {}
        self.dashboards: dict[int, Json] = {}
        self.pulses: dict[int, Json] = {}
        self.alerts: dict[int, Json] = {}
        # Per card and dashboard what its last revision says, and when that was made.
        self.revised: dict[int, tuple[str, str]] = {}
        self.asking = ADMIN_ACCOUNT
        self.groups_by_id: dict[int, Json] = {
            ADMINISTRATORS: {"id": ADMINISTRATORS, "name": "Administrators", "magic_group_type": "admin"},
            ALL_USERS: {"id": ALL_USERS, "name": "All Users", "magic_group_type": "all-internal-users"},
        }
        self.tables: dict[tuple[int, str, str], Json] = {}
        # Which connection each column's id belongs to.
        self.field_owners: dict[int, int] = {}
        self.syncs_left: dict[int, int] = {}
        self.collection_graph: dict[str, dict[str, str]] = {str(ALL_USERS): {"root": "write"}}
        self.data_graph: dict[str, dict[str, Json]] = {str(ALL_USERS): {}}
        self.revisions = {"collection": 1, "data": 1}
        # Groups that could ask a new connection anything before somebody locked it.
        self.created_open: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.writes = 0

    # --- what tests look at and do

    def content(self) -> Json:
        """Everything that a user of Metabase can see, to compare before and after."""
        return copy.deepcopy(
            {
                "collections": self.collections,
                "databases": self.databases,
                "cards": self.cards,
                "dashboards": self.dashboards,
                "pulses": self.pulses,
                "alerts": self.alerts,
                "collection_graph": self.collection_graph,
                "data_graph": self.data_graph,
                "groups": self.groups_by_id,
                "tables": list(self.tables.values()),
                "accounts": self.accounts,
                "memberships": self.memberships,
            }
        )

    def become(self, other: StandIn) -> None:
        """Be as the other one is now."""
        state = {name: value for name, value in vars(other).items() if name != "lock"}
        vars(self).update(copy.deepcopy(state))

    def writes_to_content(self) -> list[tuple[str, str]]:
        """Requests that changed something."""
        return [(method, path) for method, path in self.requests if changes_content(method, path)]

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

    # --- dispatch

    def answer(self, method: str, target: str, headers: Any, body: Json) -> tuple[int, Any, dict[str, str]]:
        """Carry one request out."""
        with self.lock:
            return self._answer(method, urlsplit(target), headers, body)

    def _answer(self, method: str, parts: SplitResult, headers: Any, body: Json) -> tuple[int, Any, dict[str, str]]:
        self.requests.append((method, parts.path))
        if self.answers_ahead:
            return self.answers_ahead.pop(0)
        try:
            groups = self._authenticate(parts.path, headers)
            if groups is not None:
                self._refuse_outsider(method, parts.path, groups)
            status, answer = self._route(method, parts.path, parse_qs(parts.query), body)
        except Refusal as refusal:
            return refusal.status, refusal.body, {}
        if changes_content(method, parts.path):
            self.writes += 1
            if self.writes == self.drop_after_write:
                raise ConnectionDropped
        return status, answer, {}

    def _authenticate(self, path: str, headers: Any) -> set[int] | None:
        """The groups of who asks; None for an administrator, and where nobody needs to be known."""
        self.asking = ADMIN_ACCOUNT
        if path in PUBLIC or headers.get("X-Metabase-Session") in self.sessions:
            return None
        key = self.api_keys.get(headers.get("x-api-key"))
        if key is None:
            raise Refusal(401, "Unauthenticated")
        # A key is an account of its own.
        self.asking = key["id"]
        return None if key["group_id"] == ADMINISTRATORS else {ALL_USERS, key["group_id"]}

    def _refuse_outsider(self, method: str, path: str, groups: set[int]) -> None:
        """Who is no administrator may run the cards of collections that a group of theirs may read."""
        match = re.fullmatch(r"/api/card/(\d+)(/query)?", path)
        if match is None:
            raise Refusal(403, "You don't have permissions to do that.")
        collection = str(find(self.cards, int(match[1]))["collection_id"])
        levels = {self.collection_graph.get(str(group), {}).get(collection, "none") for group in groups}
        if levels == {"none"}:
            raise Refusal(403, "You don't have permissions to do that.")

    def _route(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
        for verb, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                arguments = [int(group) for group in match.groups()]
                answer = handler(self, *arguments, query if method == "GET" else body)
                is_query = path.endswith("/query")
                return (202 if is_query else 200), answer
        raise Refusal(404, "API endpoint does not exist.")

    # --- sessions

    def health(self, _: Any) -> Json:
        return {"status": "ok"}

    def properties(self, _: Any) -> Json:
        return {
            "version": {"tag": self.version},
            "has-user-setup": self.has_user,
            "setup-token": None if self.has_user else self.setup_token,
            "email-configured?": self.has_mail,
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

    # --- collections

    def list_collections(self, _: Any) -> list[Json]:
        root = {"id": "root", "name": "Our analytics", "is_personal": False}
        return [root, *(item for item in self.collections.values() if not item["archived"])]

    def add_collection(self, body: Json) -> Json:
        need(body, "name")
        refuse_blank(body, "name", "description")
        parent = body.get("parent_id")
        location = self._location_in(parent)
        new = {"id": next(self.ids), "location": location, "archived": False, "description": None} | body
        del new["parent_id"]
        self.collections[new["id"]] = new
        # It has the rights of the collection that it is made in.
        for levels in self.collection_graph.values():
            levels[str(new["id"])] = levels.get("root" if parent is None else str(parent), "none")
        self.revisions["collection"] += 1
        return new

    def change_collection(self, collection_id: int, body: Json) -> Json:
        refuse_blank(body, "name", "description")
        collection = find(self.collections, collection_id)
        if "parent_id" in body:
            body = dict(body)
            old, new = collection["location"], self._location_in(body.pop("parent_id"))
            for inner in self.collections.values():
                if inner["location"].startswith(f"{old}{collection_id}/"):
                    inner["location"] = new + inner["location"].removeprefix(old)
            collection["location"] = new
        collection.update(body)
        return collection

    def _location_in(self, parent: int | None) -> str:
        if parent is not None and parent not in self.collections:
            raise Refusal(400, {"specific-errors": {"parent_id": ["no such collection"]}})
        return "/" if parent is None else f"{self.collections[parent]['location']}{parent}/"

    def collection_items(self, collection_id: int, query: dict[str, list[str]]) -> Json:
        find(self.collections, collection_id)
        stores = {"card": self.cards, "dashboard": self.dashboards}
        data = [
            {
                "id": item["id"],
                "name": item["name"],
                "model": model,
                "entity_id": item.get("entity_id"),
                "description": item.get("description"),
                "last-edit-info": {"id": ADMIN_ACCOUNT, "timestamp": self._edited_at(item)},
            }
            for model in query.get("models", list(stores))
            for item in stores[model].values()
            if item["collection_id"] == collection_id and not item["archived"]
        ]
        return {"data": data, "total": len(data)}

    def _edited_at(self, item: Json) -> str:
        """When it was edited last: each edit, by hand too, makes a revision."""
        content = json.dumps(item, sort_keys=True)
        if self.revised.get(item["id"], ("", ""))[0] != content:
            moment = datetime.fromtimestamp(1_790_000_000 + next(self.ids), UTC)
            self.revised[item["id"]] = (content, moment.isoformat())
        return self.revised[item["id"]][1]

    # --- permissions

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
        found: dict[str, list[Json]] = {}
        for membership in self.memberships:
            found.setdefault(str(membership["user_id"]), []).append(membership)
        return found

    def add_membership(self, body: Json) -> list[Json]:
        need(body, "group_id", "user_id")
        find(self.groups_by_id, body["group_id"])
        find(self.accounts, body["user_id"])
        self.memberships.append({"membership_id": next(self.ids), "is_group_manager": False} | body)
        return self.memberships

    def read_collection_graph(self, _: Any) -> Json:
        groups = {
            group: {key: level for key, level in levels.items() if level != "none"}
            for group, levels in self.collection_graph.items()
        }
        return {"revision": self.revisions["collection"], "groups": groups}

    def write_collection_graph(self, body: Json) -> Json:
        self._check_revision("collection", body)
        for group, levels in body["groups"].items():
            self.collection_graph.setdefault(group, {}).update(levels)
        return self.read_collection_graph(None)

    def read_data_graph(self, _: Any) -> Json:
        # The lowest level is left out of the answer.
        groups = {
            group: {
                key: {name: value for name, value in levels.items() if value != "no"}
                for key, levels in databases.items()
            }
            for group, databases in self.data_graph.items()
        }
        return {"revision": self.revisions["data"], "groups": groups}

    def write_data_graph(self, body: Json) -> Json:
        self._check_revision("data", body)
        for group, databases in body["groups"].items():
            for key, levels in databases.items():
                if levels.get("view-data", "unrestricted") != "unrestricted":
                    raise Refusal(402, "blocked is a paid feature")
                self.data_graph.setdefault(group, {}).setdefault(key, {}).update(levels)
        return self.read_data_graph(None)

    def _check_revision(self, graph: str, body: Json) -> None:
        need(body, "groups", "revision")
        if self.graph_writers_ahead:
            self.graph_writers_ahead -= 1
            self.revisions[graph] += 1
        if body["revision"] != self.revisions[graph]:
            raise Refusal(409, "Looks like someone else edited the permissions and your data is out of date.")
        self.revisions[graph] += 1

    # --- databases

    def list_databases(self, _: Any) -> Json:
        data = [redacted(database) for database in self.databases.values()]
        return {"data": data, "total": len(data)}

    def get_database(self, database_id: int, _: Any) -> Json:
        return redacted(find(self.databases, database_id))

    def add_database(self, body: Json) -> Json:
        need(body, "name", "engine", "details")
        self._test_connection(body["details"])
        new = {"id": next(self.ids), "initial_sync_status": "incomplete"} | body
        self.databases[new["id"]] = new
        self.syncs_left[new["id"]] = self.polls_until_synced
        # Each group may with it what it may least with any other, and everything with the first.
        order = ["no", "query-builder", "query-builder-and-native"]
        for databases in self.data_graph.values():
            least = min((order.index(levels["create-queries"]) for levels in databases.values()), default=2)
            databases[str(new["id"])] = {"view-data": "unrestricted", "create-queries": order[least]}
        self.created_open.extend(
            group
            for group, databases in self.data_graph.items()
            if databases[str(new["id"])]["create-queries"] != "no" and can_read(new["details"], self.warehouse_password)
        )
        self.revisions["data"] += 1
        return redacted(new)

    def change_database(self, database_id: int, body: Json) -> Json:
        database = find(self.databases, database_id)
        if "details" in body:
            self._test_connection(body["details"])
        database.update(body)
        return redacted(database)

    def _test_connection(self, details: Json) -> None:
        need(details, "host", "port", "dbname", "user", "password")
        if details["schema-filters-type"] != "all":
            need(details, "schema-filters-patterns")
        problem = connection_problem(details, self.warehouse_password)
        if details["user"] in self.refused_users:
            problem = "password authentication failed"
        if problem is not None:
            raise Refusal(400, {"message": problem, "errors": {"password": "check your password"}})

    def check_database(self, database_id: int, _: Any) -> Json:
        try:
            self._test_connection(find(self.databases, database_id)["details"])
        except Refusal as refusal:
            return {"status": "error", "message": refusal.body["errors"]["password"]}
        return {"status": "ok"}

    def sync(self, database_id: int, _: Any) -> Json:
        find(self.databases, database_id)
        if self.syncs_swallowed:
            # One was running, and saw nothing: this one is dropped without a word.
            self.syncs_swallowed -= 1
            self.syncs_left[database_id] = 1_000_000
        else:
            self.syncs_left[database_id] = min(self.syncs_left[database_id], self.polls_until_synced)
        return {"status": "ok"}

    def metadata(self, database_id: int, _: Any) -> Json:
        database = find(self.databases, database_id)
        if self.syncs_left[database_id] > 0:
            self.syncs_left[database_id] -= 1
            return {**redacted(database), "tables": []}
        schemas = database["details"]["schema-filters-patterns"].split(",")
        for (schema, table), columns in self._visible_columns(database["details"]).items():
            if schema in schemas:
                self._sync_table(database_id, schema, table, columns)
        tables = [table for (number, _, _), table in self.tables.items() if number == database_id]
        return copy.deepcopy({**redacted(database), "initial_sync_status": "complete", "tables": tables})

    def _visible_columns(self, details: Json) -> dict[tuple[str, str], list[str]]:
        """What the connection's login sees; without a warehouse, what the test says."""
        if self.warehouse_password is not None:
            return self.warehouse_tables
        found: dict[tuple[str, str], list[str]] = {}
        with connected(details) as connection:
            for schema, table, column in connection.execute(
                "select table_schema, table_name, column_name from information_schema.columns"
                " where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, ordinal_position"
            ):
                found.setdefault((schema, table), []).append(column)
        return found

    def _sync_table(self, database_id: int, schema: str, table: str, columns: list[str]) -> None:
        key = (database_id, schema, table)
        if key not in self.tables:
            self.tables[key] = {
                "id": next(self.ids),
                "schema": schema,
                "name": table,
                "display_name": table.replace("_", " ").title(),
                "description": None,
                "visibility_type": None,
                "fields": [],
            }
        known = {column["name"] for column in self.tables[key]["fields"]}
        new = [name for name in columns if name not in known]
        self.tables[key]["fields"].extend(
            {
                "id": next(self.ids),
                "name": name,
                "display_name": name.replace("_", " ").title(),
                "description": None,
                "semantic_type": None,
                "visibility_type": "normal",
                "fk_target_field_id": None,
                "has_field_values": None,
                "settings": None,
            }
            for name in new
        )
        self.field_owners.update({column["id"]: database_id for column in self.tables[key]["fields"]})

    def change_table(self, table_id: int, body: Json) -> Json:
        refuse_blank(body, "description", "display_name")
        by_id = {table["id"]: table for table in self.tables.values()}
        find(by_id, table_id).update(body)
        return by_id[table_id]

    def change_field(self, field_id: int, body: Json) -> Json:
        refuse_blank(body, "description", "display_name")
        by_id = {column["id"]: column for table in self.tables.values() for column in table["fields"]}
        column = find(by_id, field_id)
        target = body.get("fk_target_field_id")
        if target is not None and self.field_owners.get(target) != self.field_owners[field_id]:
            raise Refusal(400, {"errors": {"fk_target_field_id": "the target is in another database"}})
        column.update(body)
        return by_id[field_id]

    # --- cards

    def add_card(self, body: Json) -> Json:
        need(body, "name", "dataset_query", "display", "visualization_settings")
        refuse_unknown(body, CARD_KEYS | {"entity_id"})
        self._check_card(body)
        new = {"id": next(self.ids), "archived": False, "type": "question", "collection_id": None} | body
        # It takes an entity id, and gives the card another.
        self.cards[new["id"]] = new | {"entity_id": secrets.token_urlsafe(16)[:21]}
        return self.get_card(new["id"], None)

    def change_card(self, card_id: int, body: Json) -> Json:
        refuse_unknown(body, CARD_KEYS | {"archived"})
        self._check_card(body)
        find(self.cards, card_id).update(body)
        return self.get_card(card_id, None)

    def _check_card(self, body: Json) -> None:
        refuse_blank(body, "name", "description", "display")
        query = body.get("dataset_query")
        if query is not None:
            if not query:
                raise Refusal(500, 'null value in column "database_id" violates not-null constraint')
            if query["database"] not in self.databases:
                raise Refusal(400, "no such database")
            for tag in query["stages"][0].get("template-tags", {}).values():
                kind, options, number = tag["dimension"]
                if (kind, options) != ("field", {}) or self.field_owners.get(number) != query["database"]:
                    raise Refusal(400, "template-tags: no such field of this database")
        if body.get("collection_id") is not None:
            find(self.collections, body["collection_id"])

    def get_card(self, card_id: int, _: Any) -> Json:
        card = copy.deepcopy(find(self.cards, card_id))
        card["dataset_query"] = self._stored_query(card["dataset_query"])
        return card | {"creator_id": 1, "parameters": [], "result_metadata": None, "updated_at": "2026-01-01"}

    def _stored_query(self, query: Json) -> Json:
        stage = query["stages"][0]
        tags = stage.get("template-tags", {})
        for tag in tags.values():
            tag["dimension"][1]["lib/uuid"] = secrets.token_hex(16)
            if self.legacy_queries:
                tag["dimension"] = ["field", tag["dimension"][2], None]
        if not self.legacy_queries:
            return query | {"lib/metadata": None}
        native = {"query": stage["native"], "template-tags": tags}
        return {"type": "native", "database": query["database"], "native": native}

    def run_card(self, card_id: int, _: Any) -> Json:
        card = find(self.cards, card_id)
        if card["name"] in self.broken_sql:
            return {"status": "failed", "error": self.broken_sql[card["name"]], "data": {"rows": []}}
        if self.warehouse_password is not None:
            return {"status": "completed", "data": {"rows": [], "cols": []}}
        query = card["dataset_query"]
        details = find(self.databases, query["database"])["details"]
        text = re.sub(r"\[\[.*?\]\]", "", query["stages"][0]["native"], flags=re.DOTALL)
        try:
            with connected(details) as connection:
                cursor = connection.execute(text)
                rows = [[as_json(value) for value in row] for row in cursor.fetchmany(2000)]
        except psycopg.Error as error:
            return {"status": "failed", "error": str(error), "data": {"rows": []}}
        return {"status": "completed", "data": {"rows": rows, "cols": []}}

    # --- dashboards

    def add_dashboard(self, body: Json) -> Json:
        need(body, "name")
        refuse_blank(body, "name")
        refuse_unknown(body, DASHBOARD_KEYS)
        new = {
            "id": next(self.ids),
            "archived": False,
            "description": None,
            "width": "fixed",
            "auto_apply_filters": True,
            "parameters": [],
            "tabs": [],
            "dashcards": [],
        } | body
        self.dashboards[new["id"]] = new
        return new

    def get_dashboard(self, dashboard_id: int, _: Any) -> Json:
        dashboard = copy.deepcopy(find(self.dashboards, dashboard_id))
        # A card in the trash is on no dashboard.
        dashboard["dashcards"] = [
            dashcard
            for dashcard in dashboard["dashcards"]
            if dashcard["card_id"] is None or not self.cards[dashcard["card_id"]]["archived"]
        ]
        for dashcard in dashboard["dashcards"]:
            if dashcard["card_id"] is not None:
                dashcard["card"] = self.get_card(dashcard["card_id"], None)
        return dashboard

    def change_dashboard(self, dashboard_id: int, body: Json) -> Json:
        dashboard = find(self.dashboards, dashboard_id)
        body = copy.deepcopy(body)
        refuse_unknown(body, DASHBOARD_KEYS | DASHBOARD_CONTENTS)
        if "dashcards" in body:
            tabs = self._replace_tabs(dashboard, body.get("tabs") or [])
            body["dashcards"] = self._replace_dashcards(dashboard, body["dashcards"], tabs)
        body.pop("tabs", None)
        dashboard.update(body)
        self._follow_dashboard(dashboard)
        return self.get_dashboard(dashboard_id, None)

    def _follow_dashboard(self, dashboard: Json) -> None:
        """Its subscriptions get its name, and lose and gain cards with it."""
        places = {card["id"]: card["card_id"] for card in dashboard["dashcards"] if card["card_id"] is not None}
        for pulse in self.pulses.values():
            if pulse["dashboard_id"] != dashboard["id"]:
                continue
            pulse["name"] = dashboard["name"]
            kept = [card for card in pulse["cards"] if card["id"] in places.values()]
            new = [place for place, card in places.items() if card not in {one["id"] for one in kept}]
            pulse["cards"] = kept + [self._pulse_card(places[place], place) for place in new]

    def _replace_tabs(self, dashboard: Json, tabs: list[Json]) -> dict[int, int]:
        known = {tab["id"] for tab in dashboard["tabs"]}
        ids: dict[int, int] = {}
        for tab in tabs:
            need(tab, "id", "name")
            refuse_unknown(tab, {"id", "name", "position"})
            if tab["id"] >= 0 and tab["id"] not in known:
                raise Refusal(400, f"no tab {tab['id']}")
            ids[tab["id"]] = tab["id"] if tab["id"] >= 0 else next(self.ids)
        dashboard["tabs"] = [{**tab, "id": ids[tab["id"]], "position": n} for n, tab in enumerate(tabs)]
        return ids

    def _replace_dashcards(self, dashboard: Json, dashcards: list[Json], tabs: dict[int, int]) -> list[Json]:
        known = {dashcard["id"] for dashcard in dashboard["dashcards"]}
        ids = [dashcard.get("id") for dashcard in dashcards]
        if len(set(ids)) < len(ids):
            raise Refusal(400, "ids of dashcards must be unique")
        return [self._dashcard(dashcard, known, tabs) for dashcard in dashcards]

    def _dashcard(self, dashcard: Json, known: set[int], tabs: dict[int, int]) -> Json:
        need(dashcard, "id", "card_id", "row", "col", "size_x", "size_y")
        refuse_unknown(dashcard, DASHCARD_KEYS)
        if dashcard["id"] >= 0 and dashcard["id"] not in known:
            raise Refusal(400, f"no dashcard {dashcard['id']} on this dashboard")
        if dashcard["col"] + dashcard["size_x"] > 24:
            raise Refusal(400, "off the grid")
        if dashcard["card_id"] is not None:
            find(self.cards, dashcard["card_id"])
        elif "virtual_card" not in dashcard["visualization_settings"]:
            raise Refusal(400, "a dashcard without card_id must be a virtual card")
        if tabs and dashcard.get("dashboard_tab_id") not in tabs:
            raise Refusal(400, "This dashboard has tab, makes sure every card has a tab")
        for mapping in dashcard.get("parameter_mappings", []):
            need(mapping, "parameter_id", "card_id", "target")
            refuse_unknown(mapping, {"parameter_id", "card_id", "target"})
        stored = {"parameter_mappings": [], "series": [], "visualization_settings": {}} | dashcard
        stored["dashboard_tab_id"] = tabs.get(dashcard.get("dashboard_tab_id") or 0)
        stored["id"] = dashcard["id"] if dashcard["id"] >= 0 else next(self.ids)
        return stored

    # --- subscriptions and alerts

    def list_pulses(self, query: dict[str, list[str]]) -> list[Json]:
        is_archived = query.get("archived") == ["true"]
        return copy.deepcopy([pulse for pulse in self.pulses.values() if pulse["archived"] == is_archived])

    def add_pulse(self, body: Json) -> Json:
        need(body, "name", "dashboard_id", "cards", "channels")
        self._check_pulse(body, body["dashboard_id"])
        new = {"id": next(self.ids), "creator_id": self.asking, "archived": False, "skip_if_empty": False} | body
        self.pulses[new["id"]] = self._stored_pulse(new)
        return new

    def change_pulse(self, pulse_id: int, body: Json) -> Json:
        pulse = find(self.pulses, pulse_id)
        if "dashboard_id" in body:
            raise Refusal(400, "the dashboard of a subscription cannot be changed")
        self._check_pulse(body, pulse["dashboard_id"])
        # What is left out falls back to its default.
        pulse.update({"archived": False, "skip_if_empty": False} | body)
        self.pulses[pulse_id] = self._stored_pulse(pulse)
        return pulse

    def _check_pulse(self, body: Json, dashboard_id: int) -> None:
        if not self.has_mail:
            raise Refusal(400, "without a mail server this would never be sent, and nobody would be told")
        if body.get("parameters"):
            raise Refusal(402, "filter values of a subscription are a paid feature")
        places = {card["id"]: card["card_id"] for card in find(self.dashboards, dashboard_id)["dashcards"]}
        for card in body.get("cards", []):
            need(card, "id", "include_csv", "include_xls", "dashboard_card_id")
            if places.get(card["dashboard_card_id"]) != card["id"]:
                raise Refusal(400, "dashboard_card_id is not where that card stands on this dashboard")
        for channel in body.get("channels", []):
            need(channel, "channel_type", "schedule_type", "enabled", "recipients")
            wanted = {"hourly": [], "daily": ["hour"], "weekly": ["hour", "day"], "monthly": ["hour", "frame"]}
            if any(channel.get(f"schedule_{part}") is None for part in wanted[channel["schedule_type"]]):
                raise Refusal(400, {"errors": {"channels": "the schedule is not complete"}})
            if not channel["recipients"] or any(not one.keys() & {"id", "email"} for one in channel["recipients"]):
                raise Refusal(400, {"errors": {"channels": "recipients must have an id or an email"}})

    def _stored_pulse(self, pulse: Json) -> Json:
        """With names and ids of its own, as it is handed out; archiving switches its channels off."""
        cards = [self._pulse_card(card["id"], card["dashboard_card_id"]) | card for card in pulse["cards"]]
        channels = [
            {"id": next(self.ids), "details": {}} | channel | ({"enabled": False} if pulse["archived"] else {})
            for channel in pulse["channels"]
        ]
        return pulse | {"cards": cards, "channels": channels}

    def _pulse_card(self, card_id: int, place: int) -> Json:
        name = find(self.cards, card_id)["name"]
        return {
            "id": card_id,
            "name": name,
            "dashboard_card_id": place,
            "include_csv": False,
            "include_xls": False,
        }

    def list_alerts(self, query: dict[str, list[str]]) -> list[Json]:
        if query.get("payload_type") != ["notification/card"]:
            raise Refusal(400, "the list would hold Metabase's own notifications, too")
        return copy.deepcopy([alert for alert in self.alerts.values() if alert["active"]])

    def add_alert(self, body: Json) -> Json:
        self._check_alert(body)
        new = {"id": next(self.ids), "creator_id": self.asking, "active": True} | copy.deepcopy(body)
        for part in [new["payload"], *self._parts_of_alert(new)]:
            part["id"] = next(self.ids)
        self.alerts[new["id"]] = new
        return new

    def change_alert(self, alert_id: int, body: Json) -> Json:
        alert = find(self.alerts, alert_id)
        self._check_alert(body)
        known = {part["id"] for part in [alert["payload"], *self._parts_of_alert(alert)]}
        sent = [body["payload"], *body["subscriptions"], *body["handlers"]]
        if body.get("id") != alert_id or any(part.get("id") not in known for part in sent):
            raise Refusal(400, "without their ids all of it would be deleted and made anew under other ids")
        if body["payload"]["card_id"] != alert["payload"]["card_id"]:
            raise Refusal(400, "the card of an alert cannot be changed")
        alert.update(copy.deepcopy(body))
        for part in self._parts_of_alert(alert):
            part.setdefault("id", next(self.ids))
        return alert

    def _parts_of_alert(self, alert: Json) -> list[Json]:
        recipients = [one for handler in alert["handlers"] for one in handler["recipients"]]
        return [*alert["subscriptions"], *alert["handlers"], *recipients]

    def _check_alert(self, body: Json) -> None:
        if not self.has_mail:
            raise Refusal(400, "without a mail server this would never be sent, and nobody would be told")
        need(body, "payload_type", "payload", "subscriptions", "handlers")
        need(body["payload"], "card_id", "send_condition", "send_once")
        card = find(self.cards, body["payload"]["card_id"])
        goal = card["visualization_settings"].get("graph.goal_value")
        if body["payload"]["send_condition"] != "has_result" and goal is None:
            raise Refusal(400, "the card has no goal, so that the alert would never go off")
        for subscription in body["subscriptions"]:
            need(subscription, "type", "cron_schedule")
            fields = subscription["cron_schedule"].split()
            if len(fields) != 7 or (fields[3] == "?") == (fields[5] == "?"):
                raise Refusal(400, {"errors": {"cron_schedule": "value must be a valid Quartz cron schedule string"}})
        for handler in body["handlers"]:
            need(handler, "channel_type", "recipients")
            for recipient in handler["recipients"]:
                if recipient["type"] == "notification-recipient/group":
                    find(self.groups_by_id, recipient["permissions_group_id"])


def as_json(value: Any) -> Any:
    """A value as Metabase's JSON has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    return float(value) if isinstance(value, Decimal) else value


def connected(details: Json) -> psycopg.Connection[Any]:
    """A connection to the warehouse with Metabase's login."""
    facts = {name: details[name] for name in ("host", "port", "dbname", "user", "password")}
    return psycopg.connect(**facts, connect_timeout=5)


def can_read(details: Json, password: str | None) -> bool:
    """Whether the login sees any table of the marts; without a warehouse nobody can tell."""
    if password is not None:
        return False
    with connected(details) as connection:
        row = connection.execute(
            "select count(*) from information_schema.columns where table_schema = 'analytics'"
        ).fetchone()
    return bool(row and row[0])


def connection_problem(details: Json, password: str | None) -> str | None:
    """Why the warehouse does not let Metabase in; None when it does."""
    if password is not None:
        is_right = details["password"] == password
        return None if is_right else f"password authentication failed, tried {details['password']}"
    try:
        connected(details).close()
    except psycopg.OperationalError as error:
        return str(error)
    return None


def need(body: Json, *keys: str) -> None:
    """Refuse a body that lacks a key."""
    missing = [key for key in keys if key not in body]
    if missing:
        raise Refusal(400, {"errors": dict.fromkeys(missing, "missing required key")})


def refuse_unknown(body: Json, allowed: set[str]) -> None:
    """Refuse a body with a key that the server does not know."""
    unknown = sorted(body.keys() - allowed)
    if unknown:
        raise Refusal(400, {"errors": dict.fromkeys(unknown, "disallowed key")})


def refuse_blank(body: Json, *keys: str) -> None:
    """Refuse empty text, which Metabase tells from null."""
    for key in keys:
        if body.get(key) == "":
            raise Refusal(400, {"errors": {key: "value must be a non-blank string"}})


def find(store: dict[int, Json], key: int) -> Json:
    """The entry, or 404."""
    if key not in store:
        raise Refusal(404, "Not found.")
    return store[key]


def redacted(database: Json) -> Json:
    """A database as Metabase shows it: without its password."""
    return {**database, "details": {**database["details"], "password": REDACTED}}


def changes_content(method: str, path: str) -> bool:
    """Whether a request may change what users see."""
    harmless = ("/query", "/sync_schema", "/api/session")
    return method != "GET" and not path.endswith(harmless)


Handler = Callable[..., Any]
ROUTES: list[tuple[str, str, Handler]] = [
    ("GET", "/api/health", StandIn.health),
    ("GET", "/api/session/properties", StandIn.properties),
    ("POST", "/api/setup", StandIn.set_up),
    ("POST", "/api/session", StandIn.log_in),
    ("GET", "/api/collection", StandIn.list_collections),
    ("POST", "/api/collection", StandIn.add_collection),
    ("GET", "/api/collection/graph", StandIn.read_collection_graph),
    ("PUT", "/api/collection/graph", StandIn.write_collection_graph),
    ("PUT", r"/api/collection/(\d+)", StandIn.change_collection),
    ("GET", r"/api/collection/(\d+)/items", StandIn.collection_items),
    ("GET", "/api/permissions/group", StandIn.groups),
    ("POST", "/api/permissions/group", StandIn.add_group),
    ("GET", "/api/permissions/membership", StandIn.list_memberships),
    ("POST", "/api/permissions/membership", StandIn.add_membership),
    ("GET", "/api/user", StandIn.list_users),
    ("POST", "/api/user", StandIn.add_account),
    ("GET", "/api/api-key", StandIn.list_api_keys),
    ("POST", "/api/api-key", StandIn.make_api_key),
    ("PUT", r"/api/api-key/(\d+)/regenerate", StandIn.renew_api_key),
    ("PUT", r"/api/api-key/(\d+)", StandIn.move_api_key),
    ("DELETE", r"/api/api-key/(\d+)", StandIn.delete_api_key),
    ("PUT", r"/api/table/(\d+)", StandIn.change_table),
    ("PUT", r"/api/field/(\d+)", StandIn.change_field),
    ("GET", "/api/permissions/graph", StandIn.read_data_graph),
    ("PUT", "/api/permissions/graph", StandIn.write_data_graph),
    ("GET", "/api/database", StandIn.list_databases),
    ("POST", "/api/database", StandIn.add_database),
    ("GET", r"/api/database/(\d+)", StandIn.get_database),
    ("PUT", r"/api/database/(\d+)", StandIn.change_database),
    ("GET", r"/api/database/(\d+)/healthcheck", StandIn.check_database),
    ("GET", r"/api/database/(\d+)/metadata", StandIn.metadata),
    ("POST", r"/api/database/(\d+)/sync_schema", StandIn.sync),
    ("POST", "/api/card", StandIn.add_card),
    ("GET", r"/api/card/(\d+)", StandIn.get_card),
    ("PUT", r"/api/card/(\d+)", StandIn.change_card),
    ("POST", r"/api/card/(\d+)/query", StandIn.run_card),
    ("POST", "/api/dashboard", StandIn.add_dashboard),
    ("GET", r"/api/dashboard/(\d+)", StandIn.get_dashboard),
    ("PUT", r"/api/dashboard/(\d+)", StandIn.change_dashboard),
    ("GET", "/api/user/current", StandIn.current_user),
    ("GET", "/api/pulse", StandIn.list_pulses),
    ("POST", "/api/pulse", StandIn.add_pulse),
    ("PUT", r"/api/pulse/(\d+)", StandIn.change_pulse),
    ("GET", "/api/notification", StandIn.list_alerts),
    ("POST", "/api/notification", StandIn.add_alert),
    ("PUT", r"/api/notification/(\d+)", StandIn.change_alert),
]


@dataclass
class Address:
    """Where a stand-in is served, and which."""

    url: str
    metabase: StandIn


@contextmanager
def served(metabase: StandIn) -> Iterator[Address]:
    """Serve a stand-in on a free port of this machine; another one may take its place."""

    class RequestHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # Else a long answer waits until its beginning is acknowledged.

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            try:
                status, answer, headers = address.metabase.answer(self.command, self.path, self.headers, body)
            except ConnectionDropped:
                self.close_connection = True
                return
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    server.daemon_threads = True
    address = Address(f"http://127.0.0.1:{server.server_port}", metabase)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
