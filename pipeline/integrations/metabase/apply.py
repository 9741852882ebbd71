"""Make Metabase hold what the files under `dashboards/` say, and nothing more than that.

Every step finds before it creates, by a mark that the very request which creates also leaves (a reference in the
description, a name), so an apply that was killed anywhere is finished by the next one. What lacks
the mark is never written to. A plan is an apply that writes nothing. What the bodies look like belongs in
`desired.py`, what there is already in `state.py`, who may see what in `permissions.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import SecretStr

from pipeline.integrations.metabase import permissions, state
from pipeline.integrations.metabase.client import NEWEST_TRIED_VERSION, MetabaseAccess, MetabaseClient, major_version
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import (
    DASHBOARDS_DIRECTORY,
    CardDefinition,
    CollectionDefinition,
    DashboardDefinition,
    Definitions,
)
from pipeline.integrations.metabase.deliveries import (
    NO_MAIL,
    Deliveries,
    alert_step,
    left_over,
    read_deliveries,
    subscription_step,
)
from pipeline.integrations.metabase.desired import (
    FieldIds,
    WarehouseConnection,
    card_body,
    card_drift,
    collection_body,
    dashboard_body,
    dashboard_drift,
    database_body,
    database_drift,
    parent_of,
    shell_body,
)
from pipeline.integrations.metabase.errors import MetabaseError, MetabaseNotOurs, MetabaseRefused, WarehouseNotSeen
from pipeline.integrations.metabase.memory import Memory
from pipeline.integrations.metabase.metadata import metadata_drift, write_metadata
from pipeline.integrations.metabase.people import bring_people_in
from pipeline.integrations.metabase.scopes import (
    CompanyFacts,
    Scope,
    distinct_cards,
    names_used_twice,
    scopes_of,
    subscribers,
    tailored_dashboards,
)
from warehouse.settings import Settings

Action = Literal["created", "updated", "locked", "granted", "described", "added"]
SYNC_WAIT_SECONDS = 180.0
SYNC_POLL_SECONDS = 1.0
POLLS_UNTIL_ASKED_AGAIN = 30
STALE_GRAPH_ATTEMPTS = 3
ROOT = "churn"
NOT_THERE_YET = -1


@dataclass(frozen=True)
class Change:
    """One thing made or changed in Metabase; `parts` says what about it, when it was there before."""

    action: Action
    kind: str
    name: str
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        detail = f" ({', '.join(self.parts)})" if self.parts else ""
        return f"{self.action} {self.kind} {self.name!r}{detail}"


@dataclass
class ApplyResult:
    """What an apply did, or (of a plan) would do.

    `skipped` says why nothing was done, and is None otherwise. `dashboard_urls` is keyed by reader and dashboard.
    `failed_cards` maps a card's name to the error that Metabase gave when the card was run at the end.
    `failed_companies` maps a company's name to what stopped its part; the others were done.
    """

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None
    metabase_version: str | None = None
    cards: int = 0
    dashboard_urls: dict[str, str] = field(default_factory=dict)
    failed_cards: dict[str, str] = field(default_factory=dict)
    failed_companies: dict[str, str] = field(default_factory=dict)


class CardsFailed(MetabaseError):
    """Everything that could be applied was, but some cards do not run or a company's part failed."""

    def __init__(self, result: ApplyResult) -> None:
        self.result = result
        words = []
        if result.failed_companies:
            failures = "; ".join(f"{name}: {error}" for name, error in result.failed_companies.items())
            words.append(f"The dashboards of {len(result.failed_companies)} companies were not applied: {failures}.")
        if result.failed_cards:
            failures = "; ".join(f"{name!r}: {error}" for name, error in result.failed_cards.items())
            words.append(
                f"The dashboards were applied, but {len(result.failed_cards)} of {result.cards} cards fail in "
                f"Metabase: {failures}. Are the analytics marts built (churn run)?"
            )
        super().__init__(" ".join(words))


class Logins(Protocol):
    """How Metabase reaches the warehouse for each reader. A closed login exists and may read nothing."""

    def connection(self, scope: Scope) -> WarehouseConnection:
        """Where the warehouse is and with which login; makes nothing."""

    def is_open(self, scope: Scope) -> bool:
        """Whether the login has its rights."""

    def close(self, scope: Scope) -> SecretStr:
        """Make the login, or take its rights away; returns its password."""

    def open(self, scope: Scope) -> SecretStr:
        """Make the login with its rights; returns its password."""


def apply_dashboards(
    settings: Settings,
    companies: Sequence[CompanyFacts],
    logins: Logins,
    *,
    manifest: Path | None = None,
    directory: Path = DASHBOARDS_DIRECTORY,
    operators: Sequence[str] = (),
    run_cards: bool = True,
    plan: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> ApplyResult:
    """Apply the dashboards to the Metabase of the settings; a second apply changes nothing.

    With `plan` nothing is written: the result says what an apply would do. With `run_cards` the cards of every
    reader whose things changed are run at the end. `manifest` is dbt's, for descriptions of tables and columns;
    `operators` are the addresses of those who look after all companies.
    Without CHURN_METABASE_URL the result says so in `skipped` and nothing else happens.

    Raises DefinitionError before any request when a file is wrong, CardsFailed when cards do not run, and
    other MetabaseError children for what Metabase refuses.
    """
    definitions = load_definitions(directory)
    if settings.metabase_url is None:
        return ApplyResult(skipped="CHURN_METABASE_URL is not set: no Metabase to apply the dashboards to")
    access = access_of(settings)
    with MetabaseClient(access, sleep=sleep) as client:
        applier = Applier(
            client,
            definitions,
            companies,
            logins,
            manifest,
            sleep,
            url=access.url,
            home=settings.home,
            is_plan=plan,
            operators=operators,
        )
        result = applier.run(run_cards=run_cards and not plan)
    if result.failed_cards or result.failed_companies:
        raise CardsFailed(result)
    return result


def access_of(settings: Settings) -> MetabaseAccess:
    """Where Metabase is and who we are there. CHURN_METABASE_URL must be set."""
    assert settings.metabase_url is not None  # noqa: S101  (callers look first)
    return MetabaseAccess(
        settings.metabase_url,
        settings.metabase_api_key,
        settings.metabase_username,
        settings.metabase_password,
    )


class Applier:
    """One apply, or one plan: the order of its steps."""

    def __init__(
        self,
        client: MetabaseClient,
        definitions: Definitions,
        companies: Sequence[CompanyFacts],
        logins: Logins,
        manifest: Path | None,
        sleep: Callable[[float], None],
        *,
        url: str,
        home: Path,
        is_plan: bool,
        operators: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._url = url
        self._home = home
        self._operators = operators
        self._definitions = definitions
        self._scopes = scopes_of(companies)
        self._namesakes = names_used_twice(companies)
        self._dashboards = {scope.key: tailored_dashboards(definitions, scope) for scope in self._scopes}
        self._logins = logins
        self._manifest = manifest
        self._sleep = sleep
        self._is_plan = is_plan
        self._result = ApplyResult(cards=sum(len(self._cards_of(scope)) for scope in self._scopes))
        self._touched: set[str] = set()
        self._has_new_collections = False
        self._deliveries = Deliveries()
        self._waiting = 0

    def run(self, *, run_cards: bool) -> ApplyResult:
        """All steps. Everybody is locked out before there is anything to see."""
        if not self._sign_in():
            return self._result
        self._read()
        root = self._root_collection()
        groups = self._groups()
        places = self._collections(root, groups)
        databases = self._databases(groups)
        fields: dict[str, FieldIds] = {}
        for scope in self._scopes:
            if not self._has_failed(scope):
                with self._one_company(scope):
                    fields[scope.key] = self._fields(scope, databases[scope.key])
        self._describe([scope for scope in self._scopes if scope.key in fields])
        for scope in self._scopes:
            if not self._has_failed(scope):
                with self._one_company(scope):
                    self._fill(scope, places[scope.key], databases[scope.key], fields[scope.key], groups)
        self._people(groups)
        if self._waiting:
            self._result.notes.append(NO_MAIL.format(count=self._waiting))
        if run_cards:
            self._run_cards()
        self._note_what_is_not_ours()
        return self._result

    @contextmanager
    def _one_company(self, scope: Scope) -> Iterator[None]:
        """One company's failure is kept, and does not hold up the others."""
        try:
            yield
        except MetabaseError as error:
            if scope.company is None:
                raise
            self._result.failed_companies[self._company_name(scope.company)] = str(error)

    def _has_failed(self, scope: Scope) -> bool:
        return scope.company is not None and self._company_name(scope.company) in self._result.failed_companies

    def _company_name(self, company: CompanyFacts) -> str:
        """Its name, with the slug where another company bears it, too."""
        return f"{company.name} [{company.slug}]" if company.name in self._namesakes else company.name

    def _cards_of(self, scope: Scope) -> list[CardDefinition]:
        return distinct_cards(self._dashboards[scope.key])

    def _label(self, scope: Scope, name: str) -> str:
        return name if scope.company is None else f"{scope.company.name}: {name}"

    def _write(
        self,
        scope: Scope | None,
        change: Change | None,
        method: Literal["POST", "PUT"],
        path: str,
        body: Mapping[str, Any],
    ) -> Any:
        """Send what changes something, and record it; a plan only records it. Returns the answer, or {}."""
        send = self._client.post if method == "POST" else self._client.put
        answer = {} if self._is_plan else send(path, body)
        if change is not None:
            self._result.changes.append(change)
        if scope is not None:
            self._touched.add(scope.key)
        return answer or {}

    def _sign_in(self) -> bool:
        """False for a plan on a Metabase that is not set up: there is nothing to compare with."""
        tag, is_set_up = self._client.version()
        self._result.metabase_version = tag
        version = major_version(tag)
        if version is None or version > NEWEST_TRIED_VERSION:
            self._result.notes.append(
                f"Metabase {tag} is newer than 0.{NEWEST_TRIED_VERSION}, the newest that we know."
            )
        if self._is_plan and not is_set_up:
            self._result.skipped = "This Metabase is fresh: an apply sets it up and makes everything."
            return False
        self._client.sign_in(site_name=self._definitions.warehouse.site_name)
        return True

    # --- what there is

    def _read(self) -> None:
        self._state = state.read_state(self._client)
        memory = Memory(self._home, f"{self._url} {self._result.metabase_version}")

        def read(scope: Scope) -> state.ScopeState:
            return state.read_scope(
                self._client,
                self._state,
                memory,
                collection_references=references_of(scope),
                dashboard_references={reference_of_dashboard(scope, one) for one in self._dashboards[scope.key]},
                database_name=scope.database_name(self._definitions, self._namesakes),
                entity_ids={card.entity_id for card in self._cards_of(scope)},
            )

        answers = state.in_parallel(read, self._scopes)
        memory.save()
        self._state.scopes = {scope.key: found for scope, found in zip(self._scopes, answers, strict=True)}
        self._card_ids = {entity_id: int(card["id"]) for found in answers for entity_id, card in found.cards.items()}
        self._deliveries = read_deliveries(self._client)

    # --- collections, groups, permissions

    def _root_collection(self) -> int:
        wanted = self._definitions.warehouse.collection
        existing = self._state.collections.get(ROOT)
        if existing is None and wanted.name in self._state.names_in_root:
            raise MetabaseNotOurs(
                f"Metabase has a collection {wanted.name!r} that was not made from these files (its description "
                "lacks our note). Rename it there, or change collection.name in dashboards/warehouse.yaml."
            )
        root = self._collection(None, wanted, ROOT, None, existing)
        everyone = [*self._state.groups.values()]
        wanted_levels: permissions.Levels = {self._state.everyone: {str(root): "none"}}
        if not any(found.collections for found in self._state.scopes.values()):
            # Whoever may see the top level would see what is made in it; later on, opening it is a person's choice.
            wanted_levels = {
                str(group["id"]): {str(root): "none"} for group in everyone if not permissions.is_administrators(group)
            }
        self._set_collection_levels(wanted_levels, {str(root): wanted.name})
        return root

    def _collection(
        self,
        scope: Scope | None,
        wanted: CollectionDefinition,
        reference: str,
        parent_id: int | None,
        existing: Mapping[str, Any] | None,
    ) -> int:
        name = wanted.name
        if existing is None:
            change = Change("created", "collection", name)
            body = collection_body(wanted, reference, parent_id)
            answer = self._write(scope, change, "POST", "/api/collection", body)
            self._has_new_collections = True
            return int(answer.get("id", NOT_THERE_YET))
        body = collection_body(wanted, reference, parent_id)
        stands = {**existing, "parent_id": parent_of(existing)}
        drift = [key for key, value in body.items() if stands.get(key) != value]
        if drift:
            parts = tuple("place" if key == "parent_id" else key for key in drift)
            change = Change("updated", "collection", name, parts)
            self._write(scope, change, "PUT", f"/api/collection/{existing['id']}", {key: body[key] for key in drift})
        return int(existing["id"])

    def _groups(self) -> dict[str, int]:
        """Ids of our groups by name, made where they are missing."""
        ids = {}
        for scope in self._scopes:
            for name in scope.groups(self._definitions, self._namesakes).values():
                existing = self._state.groups.get(name)
                if existing is None:
                    change = Change("created", "group", name)
                    existing = self._write(scope, change, "POST", "/api/permissions/group", {"name": name})
                ids[name] = int(existing.get("id", NOT_THERE_YET))
        return ids

    def _collections(self, root: int, groups: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Each reader's collections by part. The outer one is locked before there is anything inside it."""
        places: dict[str, dict[str, int]] = {}
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        for scope in self._scopes:
            there = self._state.scopes[scope.key].collections
            wanted = scope.collection(self._definitions)
            outer = self._collection(scope, wanted, references_of(scope)["dashboards"], root, there.get("dashboards"))
            places[scope.key] = {"dashboards": outer}
            names[str(outer)] = wanted.name
            roles = scope.groups(self._definitions, self._namesakes)
            admins = groups_named(groups, Scope().groups(self._definitions).values())
            readers = [groups[name] for name in roles.values()] + admins
            closed = self._state.groups.values() if "cards" not in there else ()
            permissions.merge(levels, permissions.outer_collection(outer, self._state.everyone, closed, readers))
        self._set_collection_levels(levels, names)
        self._inner_collections(places, groups)
        return places

    def _inner_collections(self, places: dict[str, dict[str, int]], groups: Mapping[str, int]) -> None:
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        admins = groups_named(groups, Scope().groups(self._definitions).values())
        for scope in self._scopes:
            there = self._state.scopes[scope.key].collections
            references, roles = references_of(scope), scope.groups(self._definitions, self._namesakes)
            outer = places[scope.key]["dashboards"]
            questions = CollectionDefinition(
                name="Questions", description=f"The cards of the dashboards of {self._reader(scope)}."
            )
            parts = {"cards": questions}
            own = scope.own_collection(self._definitions)
            if own is not None:
                parts["own"] = own
            for part, wanted in parts.items():
                number = self._collection(scope, wanted, references[part], outer, there.get(part))
                places[scope.key][part] = number
                names[str(number)] = self._label(scope, wanted.name)
                readers = {groups[name]: "read" for name in roles.values()} | dict.fromkeys(admins, "read")
                if part == "own":
                    readers |= {groups[roles["manager"]]: "write"}
                permissions.merge(levels, permissions.inner_collection(number, self._state.everyone, readers))
        self._set_collection_levels(levels, names)

    def _reader(self, scope: Scope) -> str:
        return "all companies" if scope.company is None else scope.company.name

    def _set_collection_levels(self, wanted: permissions.Levels, names: Mapping[str, str]) -> None:
        if self._has_new_collections and not self._is_plan:
            # A new collection has the rights of the one that it was made in.
            self._state.collection_graph = self._client.get("/api/collection/graph")
            self._has_new_collections = False
        partial = permissions.collection_changes(self._state.collection_graph, wanted)
        if not partial:
            return
        self._state.collection_graph = self._put_graph(
            "/api/collection/graph",
            lambda graph: permissions.collection_changes(graph, wanted),
            self._state.collection_graph,
        )
        self._record_levels(partial, names, "collection")

    def _record_levels(self, partial: permissions.Levels, names: Mapping[str, str], kind: str) -> None:
        """A line per thing whose rights changed."""
        by_id = {str(group["id"]): str(group["name"]) for group in self._state.groups.values()}
        by_thing: dict[str, list[str]] = {}
        for group, levels in partial.items():
            for thing, level in levels.items():
                by_thing.setdefault(thing, []).append(f"{by_id.get(group, 'a new group')}: {level}")
        for thing, parts in by_thing.items():
            everything_closed = all(part.endswith((": none", ": no queries")) for part in parts)
            action: Action = "locked" if everything_closed else "granted"
            self._result.changes.append(Change(action, kind, names.get(thing, thing), tuple(sorted(parts))))

    def _put_graph(
        self,
        path: str,
        changes: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        graph: dict[str, Any],
    ) -> dict[str, Any]:
        """Write what differs of a permission graph; read it again when somebody else was quicker (409)."""
        if self._is_plan:
            return graph
        for attempt in range(1, STALE_GRAPH_ATTEMPTS + 1):
            groups = changes(graph)
            if not groups:
                return graph
            try:
                return dict(self._client.put(path, {"revision": graph.get("revision"), "groups": groups}))
            except MetabaseRefused as refusal:
                if refusal.status != 409 or attempt == STALE_GRAPH_ATTEMPTS:
                    raise
                graph = self._client.get(path)
        raise AssertionError("the last attempt returns or raises")

    # --- connections

    def _databases(self, groups: Mapping[str, int]) -> dict[str, int]:
        """Ids of the connections by reader. A new one's login may read nothing until the connection is locked."""
        ids: dict[str, int] = {}
        levels: permissions.Levels = {}
        names: dict[str, str] = {}
        admins = groups_named(groups, Scope().groups(self._definitions).values())
        for scope in self._scopes:
            with self._one_company(scope):
                ids[scope.key] = self._database(scope)
            if scope.key not in ids:
                continue
            number = ids[scope.key]
            names[str(number)] = scope.database_name(self._definitions, self._namesakes)
            roles = scope.groups(self._definitions, self._namesakes)
            allowed = {groups[roles["manager"]]: "query-builder"} if "manager" in roles else {}
            allowed |= dict.fromkeys(admins, "query-builder-and-native")
            closed = () if self._logins.is_open(scope) else self._state.groups.values()
            ours = set(groups.values())
            permissions.merge(levels, permissions.database(number, self._state.everyone, closed, ours, allowed))
        # A new connection comes with rights for everybody, and a new group with those that All Users had.
        if not self._is_plan and {change.kind for change in self._result.changes} & {"group", "database"}:
            self._state.data_graph = self._client.get("/api/permissions/graph")
        partial = permissions.data_changes(self._state.data_graph, levels)
        if partial:
            self._state.data_graph = self._put_graph(
                "/api/permissions/graph",
                lambda graph: permissions.as_data_graph(permissions.data_changes(graph, levels)),
                self._state.data_graph,
            )
            self._record_levels(
                {
                    group: {thing: "no queries" if level == "no" else level for thing, level in inner.items()}
                    for group, inner in partial.items()
                },
                names,
                "database",
            )
        for scope in self._scopes:
            if not self._is_plan and scope.key in ids and not self._logins.is_open(scope):
                self._client.hide(self._logins.open(scope))
        return ids

    def _database(self, scope: Scope) -> int:
        name = scope.database_name(self._definitions, self._namesakes)
        schemas = scope.schemas(self._definitions)
        connection = self._logins.connection(scope)
        found = self._state.scopes[scope.key]
        if found.database is None:
            password = SecretStr("") if self._is_plan else self._logins.close(scope)
            self._client.hide(password)
            body = database_body(name, schemas, connection, password)
            answer = self._write(scope, Change("created", "database", name), "POST", "/api/database", body)
            return int(answer.get("id", NOT_THERE_YET))
        database_id = int(found.database["id"])
        if found.database.get("engine") != "postgres":
            raise MetabaseNotOurs(
                f"Metabase has a database {name!r} that is no Postgres. Rename it there, or change "
                "database.name in dashboards/warehouse.yaml."
            )
        drift = database_drift(found.database, schemas, connection)
        if not drift and found.problem is None:
            return database_id
        password = SecretStr("") if self._is_plan else self._password(scope)
        self._client.hide(password)
        body = database_body(name, schemas, connection, password)
        change = Change("updated", "database", name, tuple(drift or ["password"]))
        self._write(scope, change, "PUT", f"/api/database/{database_id}", body)
        problem = None if self._is_plan else state.warehouse_problem(self._client, database_id)
        if problem is not None:
            raise WarehouseNotSeen(
                f"Metabase cannot reach the warehouse at {connection.host}:{connection.port} as "
                f"{connection.user}: {problem}. The host must be reachable from where Metabase runs."
            )
        return database_id

    def _password(self, scope: Scope) -> SecretStr:
        return self._logins.open(scope) if self._logins.is_open(scope) else self._logins.close(scope)

    def _fields(self, scope: Scope, database_id: int) -> FieldIds:
        """Ids of the columns that filters are bound to; Metabase is asked to look again when it lacks one."""
        wanted = {tag.dimension for card in self._cards_of(scope) for tag in card.template_tags.values()}
        found = self._state.scopes[scope.key]
        known = state.field_ids(found.metadata)
        if wanted <= known.keys():
            return known
        if self._is_plan:
            return dict.fromkeys(wanted, NOT_THERE_YET) | known
        waited, polls = 0.0, 0
        while not wanted <= known.keys():
            if waited >= SYNC_WAIT_SECONDS:
                raise WarehouseNotSeen(missing_columns(wanted - known.keys(), waited))
            # Asked while it looks already, Metabase says yes and does nothing; and it may have begun before the login
            # had its rights.
            if polls % POLLS_UNTIL_ASKED_AGAIN == 0:
                self._client.post(f"/api/database/{database_id}/sync_schema")
            self._sleep(SYNC_POLL_SECONDS)
            waited, polls = waited + SYNC_POLL_SECONDS, polls + 1
            found.metadata = self._client.get(f"/api/database/{database_id}/metadata", include_hidden="true")
            known = state.field_ids(found.metadata)
        return known

    # --- what one reader gets

    def _fill(
        self,
        scope: Scope,
        places: Mapping[str, int],
        database_id: int,
        fields: FieldIds,
        groups: Mapping[str, int],
    ) -> None:
        card_ids = {
            card.entity_id: self._card(scope, card, card_body(card, database_id, places["cards"], fields))
            for card in self._cards_of(scope)
        }
        self._card_ids.update(card_ids)
        dashboards = self._dashboards[scope.key]
        # First an empty dashboard for each, so that clicks can lead to any; then their contents.
        dashboard_ids = {dashboard.key: self._shell(scope, dashboard, places["dashboards"]) for dashboard in dashboards}
        for dashboard in dashboards:
            stands = self._contents(scope, dashboard, dashboard_ids, card_ids)
            self._deliver(scope, dashboard, dashboard_ids[dashboard.key], stands, card_ids, groups)
            label = self._label(scope, dashboard.name)
            self._result.dashboard_urls[label] = f"{self._url.rstrip('/')}/dashboard/{dashboard_ids[dashboard.key]}"

    def _describe(self, scopes: Sequence[Scope]) -> None:
        """What dbt says of the tables. The library waits five seconds per connection, so several wait at a time."""
        if self._manifest is None:
            return
        manifest = self._manifest
        drifts = {
            scope: metadata_drift(self._state.scopes[scope.key].metadata, manifest, has_keys=scope.company is not None)
            for scope in scopes
        }
        drifted = [scope for scope, drift in drifts.items() if drift]

        def write(scope: Scope) -> MetabaseError | None:
            name = scope.database_name(self._definitions, self._namesakes)
            try:
                metadata = self._state.scopes[scope.key].metadata
                write_metadata(self._client, name, manifest, metadata, has_keys=scope.company is not None)
            except MetabaseError as error:
                return error
            return None

        errors = [] if self._is_plan else state.in_parallel(write, drifted)
        for scope, error in zip_longest(drifted, errors):
            with self._one_company(scope):
                if error is not None:
                    raise error
                self._touched.add(scope.key)
                name = scope.database_name(self._definitions, self._namesakes)
                self._result.changes.append(
                    Change("described", "database", name, (f"{drifts[scope]} tables and columns",))
                )

    def _card(self, scope: Scope, card: CardDefinition, wanted: Mapping[str, Any]) -> int:
        card_id = self._card_ids.get(card.entity_id)
        label = self._label(scope, card.name)
        if card_id is None:
            answer = self._write(scope, Change("created", "card", label), "POST", "/api/card", wanted)
            return int(answer.get("id", NOT_THERE_YET))
        drift = card_drift(self._state.scopes[scope.key].cards[card.entity_id], dict(wanted))
        if drift:
            self._write(scope, Change("updated", "card", label, tuple(drift)), "PUT", f"/api/card/{card_id}", wanted)
        return card_id

    def _shell(self, scope: Scope, dashboard: DashboardDefinition, collection_id: int) -> int:
        reference = reference_of_dashboard(scope, dashboard)
        existing = self._state.scopes[scope.key].dashboards.get(reference)
        if existing is not None:
            return int(existing["id"])
        label = self._label(scope, dashboard.name)
        body = shell_body(dashboard, collection_id, reference)
        answer = self._write(scope, Change("created", "dashboard", label), "POST", "/api/dashboard", body)
        return int(answer.get("id", NOT_THERE_YET))

    def _contents(
        self,
        scope: Scope,
        dashboard: DashboardDefinition,
        dashboard_ids: Mapping[str, int],
        card_ids: Mapping[str, int],
    ) -> Mapping[str, Any]:
        """Fill the dashboard; returns how it then stands, which of a plan is what would be sent."""
        reference = reference_of_dashboard(scope, dashboard)
        existing = self._state.scopes[scope.key].dashboards.get(reference)
        wanted = dashboard_body(
            dashboard, reference=reference, existing=existing or {}, card_ids=card_ids, dashboard_ids=dashboard_ids
        )
        drift = dashboard_drift(existing or {}, wanted)
        if existing is not None and not drift:
            return existing
        label = self._label(scope, dashboard.name)
        change = None if existing is None else Change("updated", "dashboard", label, tuple(drift))
        answer = self._write(scope, change, "PUT", f"/api/dashboard/{dashboard_ids[dashboard.key]}", wanted)
        return answer or wanted

    def _deliver(
        self,
        scope: Scope,
        dashboard: DashboardDefinition,
        dashboard_id: int,
        stands: Mapping[str, Any],
        card_ids: Mapping[str, int],
        groups: Mapping[str, int],
    ) -> None:
        """The dashboard's subscription and its cards' alerts, where a mail server is there to send them."""
        addresses = subscribers(scope, dashboard, self._operators)
        if not self._deliveries.has_mail:
            self._waiting += dashboard.subscription is not None and bool(addresses)
            self._waiting += sum(card.alert is not None for card in dashboard.own_cards())
            return
        roles = scope.groups(self._definitions, self._namesakes)
        steps = {dashboard.name: subscription_step(self._deliveries, dashboard, dashboard_id, stands, addresses)}
        for card in dashboard.own_cards():
            readers = [groups[roles[role]] for role in card.alert.roles] if card.alert else []
            steps[card.name] = alert_step(self._deliveries, card.alert, card_ids[card.entity_id], readers)
        for name, step in steps.items():
            if step is None:
                continue
            change = Change(
                "created" if step.item_id is None else "updated", step.kind, self._label(scope, name), step.parts
            )
            # A mail that changed makes no card worth running again.
            self._write(None, change, "POST" if step.item_id is None else "PUT", step.path, step.body)
        for thing in left_over(self._deliveries, dashboard, dashboard_id, card_ids):
            self._result.notes.append(f"In no file, and left alone: {self._label(scope, thing)} of this account.")

    # --- people, and the end

    def _people(self, groups: Mapping[str, int]) -> None:
        by_slug = {scope.company.slug: scope for scope in self._scopes if scope.company is not None}
        wanted: dict[str, tuple[Any, int]] = {}
        for person in self._definitions.people:
            scope = Scope() if person.company is None else by_slug.get(person.company)
            if scope is None:
                self._result.notes.append(
                    f"{person.email}: no active company {person.company}, so no account was made."
                )
                continue
            name = scope.groups(self._definitions, self._namesakes)[person.role]
            wanted[person.email.lower()] = (person, groups[name])
        for label, group in bring_people_in(self._client, wanted, is_plan=self._is_plan):
            names = [name for name, number in groups.items() if number == group]
            self._result.changes.append(Change("added", "person", label, tuple(names)))

    def _run_cards(self) -> None:
        """Run the cards of every reader whose things changed."""
        for scope in self._scopes:
            if scope.key not in self._touched:
                continue
            for card in self._cards_of(scope):
                number = self._card_ids.get(card.entity_id)
                error = None if number is None else self._client.run_card(number)
                if error is not None:
                    self._result.failed_cards[self._label(scope, card.name)] = error

    def _note_what_is_not_ours(self) -> None:
        for scope in self._scopes:
            for thing in self._state.scopes[scope.key].by_hand:
                self._result.notes.append(f"Made by hand, and left alone: {self._label(scope, thing)}.")
        known = {ROOT} | {reference for scope in self._scopes for reference in references_of(scope).values()}
        for reference, item in self._state.collections.items():
            if reference not in known and reference.count("/") == 2:
                self._result.notes.append(
                    f"The collection {item['name']!r} ({reference}) is of a company that is not active any more: "
                    "archive it by hand when nobody needs it."
                )


def references_of(scope: Scope) -> dict[str, str]:
    """The words by which we know a reader's collections again, by part."""
    outer = f"{ROOT}/{scope.key}"
    return {"dashboards": outer, "cards": f"{outer}/questions", "own": f"{outer}/own"}


def reference_of_dashboard(scope: Scope, dashboard: DashboardDefinition) -> str:
    """The word by which we know a reader's dashboard again."""
    return f"{ROOT}/{scope.key}/dashboards/{dashboard.key}"


def groups_named(groups: Mapping[str, int], names: Any) -> list[int]:
    """The ids of these groups."""
    return [groups[name] for name in names if name in groups]


def missing_columns(missing: set[tuple[str, str, str]], waited: float) -> str:
    """What to tell when Metabase does not see what the filters need."""
    names = ", ".join(sorted(".".join(column) for column in missing))
    return (
        f"After {waited:.0f} seconds Metabase still does not see {names}. Are the analytics marts built "
        "(churn run), and may Metabase's login read them?"
    )
