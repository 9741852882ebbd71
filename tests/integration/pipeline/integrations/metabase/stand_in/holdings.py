"""What one Metabase holds, and what tests look at. What it answers belongs in the other modules of this folder."""

from __future__ import annotations

import copy
import secrets
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.integration.pipeline.integrations.metabase.stand_in.answers import Json

ALL_USERS, ADMINISTRATORS = 1, 2
ADMIN_ACCOUNT = 1


@dataclass
class Holdings:
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
    site_url: str | None = None
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

    def become(self, other: Holdings) -> None:
        """Be as the other one is now."""
        state = {name: value for name, value in vars(other).items() if name != "lock"}
        vars(self).update(copy.deepcopy(state))

    def writes_to_content(self) -> list[tuple[str, str]]:
        """Requests that changed something."""
        return [(method, path) for method, path in self.requests if changes_content(method, path)]


def changes_content(method: str, path: str) -> bool:
    """Whether a request may change what users see."""
    harmless = ("/query", "/sync_schema", "/api/session")
    return method != "GET" and not path.endswith(harmless)
