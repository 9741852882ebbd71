"""Make Metabase hold what the files under `dashboards/` say, and nothing more than that.

Every step finds before it creates, by a mark that the very request which creates also leaves (a reference in the
description, a name), so an apply that was killed anywhere is finished by the next one. What lacks the mark is never
written to. A plan is an apply that writes nothing.

Here is the order of the steps. What the bodies look like belongs in `desired.py`, what there is already in `state.py`,
who may see what in `permissions.py`; the steps themselves in `places.py` (groups, collections), `connections.py`,
`contents.py` (cards, dashboards, mails), `metadata.py` and `people.py`; what is sent and recorded in `changes.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from foundation.counting import counted
from pipeline.integrations.metabase import state
from pipeline.integrations.metabase.changes import ApplyResult, CardsFailed, Change, Changes, Work
from pipeline.integrations.metabase.client import NEWEST_TRIED_VERSION, MetabaseClient, access_of, major_version
from pipeline.integrations.metabase.connections import Connections, Logins
from pipeline.integrations.metabase.contents import Contents
from pipeline.integrations.metabase.definition_files import load_definitions
from pipeline.integrations.metabase.definitions import DASHBOARDS_DIRECTORY, CardDefinition, Definitions, Person
from pipeline.integrations.metabase.deliveries import NO_MAIL, read_deliveries
from pipeline.integrations.metabase.desired import FieldIds
from pipeline.integrations.metabase.errors import MetabaseError
from pipeline.integrations.metabase.grants import Grants
from pipeline.integrations.metabase.memory import Memory
from pipeline.integrations.metabase.metadata import metadata_drift, write_metadata
from pipeline.integrations.metabase.people import bring_people_in
from pipeline.integrations.metabase.places import Places
from pipeline.integrations.metabase.scopes import (
    ROOT,
    CompanyFacts,
    Scope,
    distinct_cards,
    scopes_of,
    tailored_dashboards,
)
from warehouse.settings import Settings


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
    with MetabaseClient(access_of(settings), sleep=sleep) as client:
        applier = Applier(
            client,
            definitions,
            companies,
            logins,
            manifest,
            sleep,
            url=settings.metabase_url,
            home=settings.home,
            is_plan=plan,
            operators=operators,
        )
        result = applier.run(run_cards=run_cards and not plan)
    if result.failed_cards or result.failed_companies:
        raise CardsFailed(result)
    return result


def set_up(settings: Settings, *, plan: bool, directory: Path = DASHBOARDS_DIRECTORY) -> None:
    """Give a fresh Metabase its first administrator, before somebody else does; an older one is left as it is.

    With `plan` it is only seen whether it answers. Raises MetabaseError children.
    """
    with MetabaseClient(access_of(settings)) as client:
        if plan:
            client.version()
        else:
            client.sign_in(site_name=load_definitions(directory).warehouse.site_name)


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
        self._url = self._public_url = url
        self._home = home
        self._operators = operators
        self._definitions = definitions
        self._scopes = scopes_of(companies)
        self._dashboards = {scope.key: tailored_dashboards(definitions, scope) for scope in self._scopes}
        self._logins = logins
        self._manifest = manifest
        self._sleep = sleep
        self._result = ApplyResult(cards=sum(len(self._cards_of(scope)) for scope in self._scopes))
        self._changes = Changes(client, self._result, is_plan=is_plan)

    def run(self, *, run_cards: bool) -> ApplyResult:
        """All steps. Everybody is locked out before there is anything to see."""
        if not self._sign_in():
            return self._result
        work = Work(self._client, self._definitions, self._scopes, self._read(), self._changes)
        deliveries = read_deliveries(self._client)

        grants = Grants(work)
        places = Places(work, grants)
        root = places.root_collection()
        groups = places.groups()
        collections = places.collections(root, groups)

        connections = Connections(work, grants, self._logins, self._sleep)
        databases = connections.databases(groups)
        fields: dict[str, FieldIds] = {}
        for scope in self._standing():
            with self._changes.isolate_failure(scope):
                fields[scope.key] = connections.field_ids(scope, databases[scope.key], self._columns_filtered(scope))
        self._describe(work.state, [scope for scope in self._scopes if scope.key in fields])

        contents = Contents(work, deliveries, groups, self._operators)
        for scope in self._standing():
            with self._changes.isolate_failure(scope):
                key = scope.key
                ids = contents.fill(scope, self._dashboards[key], collections[key], databases[key], fields[key])
                self._note_addresses(scope, ids)
        self._bring_people_in(groups)

        if contents.waiting_mails:
            self._result.notes.append(NO_MAIL.format(count=contents.waiting_mails))
        if run_cards:
            self._run_cards(contents.card_ids)
        self._note_what_is_not_ours(work.state)
        return self._result

    def _sign_in(self) -> bool:
        """False for a plan on a Metabase that is not set up: there is nothing to compare with."""
        tag, is_set_up = self._client.version()
        self._result.metabase_version = tag
        version = major_version(tag)
        if version is None or version > NEWEST_TRIED_VERSION:
            self._result.notes.append(
                f"Metabase {tag} is newer than 0.{NEWEST_TRIED_VERSION}, the newest that we know."
            )
        if self._changes.is_plan and not is_set_up:
            self._result.skipped = "This Metabase is fresh: an apply sets it up and makes everything."
            return False
        self._client.sign_in(site_name=self._definitions.warehouse.site_name)
        self._public_url = self._client.public_url()
        return True

    def _read(self) -> state.MetabaseState:
        """What there is, of all readers together and of each."""
        present = state.read_state(self._client)
        memory = Memory(self._home, f"{self._url} {self._result.metabase_version}")

        def read(scope: Scope) -> state.ScopeState:
            return state.read_scope(
                self._client,
                present,
                memory,
                collection_references=scope.collection_references(),
                dashboard_references={
                    scope.dashboard_reference(dashboard) for dashboard in self._dashboards[scope.key]
                },
                database_name=scope.database_name(self._definitions),
                entity_ids={card.entity_id for card in self._cards_of(scope)},
            )

        answers = state.in_parallel(read, self._scopes)
        memory.save()
        present.scopes = {scope.key: answer for scope, answer in zip(self._scopes, answers, strict=True)}
        return present

    def _describe(self, present: state.MetabaseState, scopes: Sequence[Scope]) -> None:
        """What dbt says of the tables. The library waits five seconds per connection, so several wait at a time."""
        if self._manifest is None:
            return
        manifest = self._manifest
        drifts = {
            scope: metadata_drift(present.scopes[scope.key].metadata, manifest, has_keys=scope.company is not None)
            for scope in scopes
        }
        drifted = [scope for scope, drift in drifts.items() if drift]

        def write(scope: Scope) -> MetabaseError | None:
            name, metadata = scope.database_name(self._definitions), present.scopes[scope.key].metadata
            try:
                write_metadata(self._client, name, manifest, metadata, has_keys=scope.company is not None)
            except MetabaseError as error:
                return error
            return None

        errors = [] if self._changes.is_plan else state.in_parallel(write, drifted)
        for scope, error in zip_longest(drifted, errors):
            with self._changes.isolate_failure(scope):
                if error is not None:
                    raise error
                parts = (counted(drifts[scope], "description"),)
                name = scope.database_name(self._definitions)
                self._changes.record(Change("described", "database", name, parts), scope)

    def _bring_people_in(self, groups: Mapping[str, int]) -> None:
        scopes = {scope.company.slug if scope.company else None: scope for scope in self._scopes}
        wanted: dict[str, tuple[Person, int]] = {}
        for person in self._definitions.people:
            scope = scopes.get(person.company)
            if scope is None:
                self._result.notes.append(
                    f"{person.email}: no active company {person.company}, so no account was made."
                )
                continue
            wanted[person.email.lower()] = (person, groups[scope.groups(self._definitions)[person.role]])
        for label, group in bring_people_in(self._client, wanted, is_plan=self._changes.is_plan):
            names = tuple(name for name, number in groups.items() if number == group)
            self._changes.record(Change("added", "person", label, names))

    def _run_cards(self, card_ids: Mapping[str, int]) -> None:
        """Run the cards of every reader whose things changed."""
        for scope in self._scopes:
            if scope.key not in self._changes.touched:
                continue
            for card in self._cards_of(scope):
                number = card_ids.get(card.entity_id)
                error = None if number is None else self._client.run_card(number)
                if error is not None:
                    self._result.failed_cards[scope.labelled(card.name)] = error

    def _note_addresses(self, scope: Scope, dashboard_ids: Mapping[str, int]) -> None:
        for dashboard in self._dashboards[scope.key]:
            url = f"{self._public_url}/dashboard/{dashboard_ids[dashboard.key]}"
            self._result.dashboard_urls[scope.labelled(dashboard.name)] = url

    def _note_what_is_not_ours(self, present: state.MetabaseState) -> None:
        for scope in self._scopes:
            for thing in present.scopes[scope.key].by_hand:
                self._result.notes.append(f"Made by hand, and left alone: {scope.labelled(thing)}.")
        known = {ROOT, *(reference for scope in self._scopes for reference in scope.collection_references().values())}
        for reference, item in present.collections.items():
            if reference not in known and reference.count("/") == 2:
                self._result.notes.append(
                    f"The collection {item['name']!r} ({reference}) is of a company that is no longer active: "
                    "archive it by hand when nobody needs it."
                )

    def _standing(self) -> Iterator[Scope]:
        """The scopes that nothing has failed for so far."""
        return (scope for scope in self._scopes if not self._changes.has_failed(scope))

    def _cards_of(self, scope: Scope) -> list[CardDefinition]:
        return distinct_cards(self._dashboards[scope.key])

    def _columns_filtered(self, scope: Scope) -> set[tuple[str, str, str]]:
        """(schema, table, column) of every field filter that the scope's cards have."""
        return {tag.dimension for card in self._cards_of(scope) for tag in card.template_tags.values()}
