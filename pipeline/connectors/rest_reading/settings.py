"""What a company says about a REST API: where it is, how to be let in, and how its answers become our records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.connectors.contract import ENTITIES, Entity, FieldKind
from pipeline.connectors.mapping import DateFormat, ZoneName, Zones
from pipeline.connectors.rest_reading.expressions import Expression
from pipeline.connectors.rest_reading.presets import with_preset
from warehouse.companies.definition import EntityName
from warehouse.settings import SECRET_REFERENCES

_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_NOT_A_HEADER = re.compile(r"authorization|cookie|host|(^|[-_])(key|token|secret|password)$", re.IGNORECASE)


def _without_references(parameters: dict[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
    for name, value in parameters.items():
        if isinstance(value, str) and value.startswith(SECRET_REFERENCES):
            raise ValueError(f"{name} is a secret, which only auth sends: an address stands in logs")
    return parameters


Parameters = Annotated[dict[str, str | int | float | bool], AfterValidator(_without_references)]


def _plain_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must look like https://api.example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password or parameters")
    return url.rstrip("/")


def _path(path: str) -> str:
    if not path.startswith("/") or path.startswith("//") or "\\" in path or ".." in path:
        raise ValueError("must be a path below base_url that begins with one slash")
    return path


Address = Annotated[str, AfterValidator(_plain_address)]
Path = Annotated[str, AfterValidator(_path)]


class Bearer(BaseModel):
    """A key that is sent as `Authorization: Bearer KEY`."""

    model_config = _STRICT

    kind: Literal["bearer"]
    token: str = Field(description="Reference to the key.")


class Basic(BaseModel):
    """A user and a password."""

    model_config = _STRICT

    kind: Literal["basic"]
    username: str = Field(description="The user, or a reference to it.")
    password: str = Field(description="Reference to the password.")


class HeaderKey(BaseModel):
    """A key in a header of its own."""

    model_config = _STRICT

    kind: Literal["header"]
    name: str = Field(pattern=r"^[A-Za-z0-9-]{1,60}$", description="The header, such as X-API-Key.")
    api_key: str = Field(description="Reference to the key.")


class OAuth2(BaseModel):
    """Tokens that are fetched, and fetched again when they expire: OAuth 2 by client credentials or a refresh token."""

    model_config = _STRICT

    kind: Literal["oauth2"]
    token_url: str = Field(description="Where tokens come from: a path below base_url, or a whole address.")
    client_id: str = Field(description="The client's id, or a reference to it.")
    client_secret: str = Field(description="Reference to the client's secret.")
    refresh_token: str | None = Field(
        default=None, description="Reference to a refresh token; without it the grant is client_credentials."
    )
    scope: str | None = Field(default=None, description="Scopes to ask for, with blanks between them.")

    @field_validator("token_url")
    @classmethod
    def _path_or_address(cls, url: str) -> str:
        return _path(url) if url.startswith("/") else _plain_address(url)


class NoKey(BaseModel):
    """An API that asks for none."""

    model_config = _STRICT

    kind: Literal["none"]


Authentication = Annotated[Bearer | Basic | HeaderKey | OAuth2 | NoKey, Field(discriminator="kind")]


class Rate(BaseModel):
    """How fast the source may be asked. 429 with Retry-After is waited out in any case."""

    model_config = _STRICT

    per_minute: int | None = Field(default=None, ge=1, le=100_000, description="Requests a minute.")
    remaining: str | None = Field(default=None, description="Header that says how many requests are left.")
    reset: str | None = Field(default=None, description="Header that says in how many seconds there are new ones.")


class Pages(BaseModel):
    """How one page leads to the next."""

    model_config = _STRICT

    kind: Literal["single", "cursor", "next_link", "header_link", "offset", "page", "seek"] = Field(
        default="single",
        description="cursor: `path` holds a cursor that goes to `param` or `body`. next_link: `path` holds an address. "
        "header_link: the Link header does. offset, page: counted. seek: asked for what comes after the last record.",
    )
    path: str | None = Field(default=None, description="Where the cursor or link stands, such as paging.next.")
    param: str | None = Field(default=None, description="Parameter that takes the cursor, offset or page number.")
    body: str | None = Field(default=None, description="The same in the body: names with points between them.")
    size: int | None = Field(default=None, ge=1, le=100_000, description="offset: records per page.")
    size_param: str | None = Field(default=None, description="offset: parameter that takes the size.")
    first: int | str | None = Field(default=None, description="page: the first number. seek: what {last} is at first.")
    last: Expression | None = Field(default=None, description="seek: what of the last record becomes {last}.")
    more: Expression | None = Field(default=None, description="Of a page: whether there are more.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {"cursor": ("path",), "next_link": ("path",), "offset": ("size",), "seek": ("last",)}
        for name in needed.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"{self.kind} needs {name}")
        if self.kind in {"cursor", "offset", "page"} and bool(self.param) == bool(self.body):
            raise ValueError(f"{self.kind} needs param or body, one of them")
        return self


class Since(BaseModel):
    """How the source is asked for what has changed; the moment stands for {since} in parameters and body."""

    model_config = _STRICT

    format: Literal["iso", "iso_z", "epoch_seconds", "epoch_milliseconds", "date"] = Field(
        default="iso_z",
        description="iso: 2025-01-31T10:00:00+00:00. iso_z: 2025-01-31T10:00:00Z. date: 2025-01-31, in UTC.",
    )
    first: int | str | None = Field(
        default=None, description="What a first load asks for; left out, a parameter with {since} is left out then."
    )
    quoted: bool = Field(default=False, description="In a body, a number goes as text.")
    window_hours: float = Field(default=0, ge=0, description="How far back each load looks again, for late edits.")


class Request(BaseModel):
    """A list that the source gives, page by page."""

    model_config = _STRICT

    path: Path = Field(description="Path below base_url.")
    method: Literal["GET", "POST"] = Field(default="GET", description="POST for searches that take a body.")
    params: Parameters = Field(default_factory=dict, description="Parameters; {since} and {last} are filled in.")
    body: dict[str, Any] | None = Field(default=None, description="JSON body; {since} and {last} are filled in.")
    records: Expression | None = Field(default=None, description="Where the list is; left out: the answer itself.")
    total: Expression | None = Field(default=None, description="Of the first page: how many records there are in all.")
    pages: Pages = Field(default_factory=Pages, description="How one page leads to the next.")
    since: Since | None = Field(default=None, description="How to ask for what has changed; left out: all is read.")


class Parent(Request):
    """Records for each of which the endpoint's path is asked, their id in place of {id}."""

    id: Expression = Field(default="id", description="What of the parent stands for {id} in the path.")


class Changes(Request):
    """A list of what has changed, such as events; the records that it names are fetched one by one."""

    id: Expression = Field(description="Where an entry names the record.")
    record: Path = Field(description="Path of one record, with {id}.")
    record_params: Parameters = Field(default_factory=dict, description="Parameters of that request.")
    reach_days: float = Field(gt=0, description="How far back the list goes; after a longer pause all is read.")


class Lookup(BaseModel):
    """What stands elsewhere about each record, and is put beside it as a list."""

    model_config = _STRICT

    path: Path | None = Field(default=None, description="Where batches of ids are asked for; left out: the same page.")
    batch: int = Field(default=100, ge=1, le=1000, description="Ids per request.")
    item: Any = Field(default="{id}", description="What stands for one id in the body's {ids}.")
    body: dict[str, Any] | None = Field(default=None, description="JSON body with {ids}; left out: none.")
    params: Parameters = Field(default_factory=dict, description="Parameters with {ids}, which have commas between.")
    records: Expression = Field(description="Where the list is.")
    key: Expression = Field(description="Of what was found: whose it is.")
    of: Expression = Field(default="id", description="Of the record: what `key` is compared with.")


class FieldSource(BaseModel):
    """Where a column of ours comes from."""

    model_config = _STRICT

    path: Expression | None = Field(default=None, description="JMESPath in the record.")
    constant: str | int | float | bool | None = Field(default=None, description="Where the record has no value.")
    values: dict[str, str] = Field(default_factory=dict, description="The source's word: ours.")
    unit: Literal["major", "minor"] = Field(default="major", description="minor: cents, by the currency's digits.")
    currency: Expression | None = Field(default=None, description="minor: whose; left out: that of `currency`.")
    case: Literal["upper", "lower"] | None = Field(default=None, description="Letters of a text.")
    format: DateFormat | None = Field(default=None, description="Of a time: epoch_seconds and so on; else ISO 8601.")
    time_zone: ZoneName | None = Field(default=None, description="Of a time without an offset.")
    plus_minutes: Expression | None = Field(
        default=None, description="Of a time in ISO 8601: minutes that are added; without them there is no value."
    )

    @model_validator(mode="after")
    def _from_somewhere(self) -> Self:
        if self.path is None and self.constant is None:
            raise ValueError("needs path or constant")
        return self


class Refusal(BaseModel):
    """Records that must not come at all: the load fails where one does."""

    model_config = _STRICT

    when: Expression = Field(description="JMESPath in the record.")
    because: str = Field(description="What is wrong then, as a sentence.")


class Endpoint(Request):
    """One list of the source, and how its records become ours."""

    fields: dict[str, FieldSource] = Field(description="Column of ours: where it comes from.")
    attributes: dict[str, Expression] = Field(default_factory=dict, description="Attribute: where it comes from.")
    each: Expression | None = Field(default=None, description="A list in each record whose members are the records.")
    where: Expression | None = Field(default=None, description="Only records of which this is true.")
    refuse: Refusal | None = Field(default=None, description="Records that must not come.")
    parent: Parent | None = Field(default=None, description="Asked once for each of these, {id} in the path.")
    lookups: dict[str, Lookup] = Field(default_factory=dict, description="What stands elsewhere, by name.")
    changes: Changes | None = Field(default=None, description="What else has changed since.")
    in_order: bool = Field(default=False, description="Oldest change first: an interrupted load goes on from there.")

    @field_validator("fields", mode="before")
    @classmethod
    def _paths(cls, fields: Any) -> Any:
        """A bare text is a path."""
        if not isinstance(fields, Mapping):
            return fields
        return {name: {"path": given} if isinstance(given, str) else given for name, given in fields.items()}

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if (self.parent is not None) != ("{id}" in self.path):
            raise ValueError("parent and {id} in path go together")
        if self.changes is not None and "{id}" not in self.changes.record:
            raise ValueError("changes.record needs {id}")
        if self.in_order and ("updated_at" not in self.fields or self.each or self.parent or self.changes):
            raise ValueError("in_order needs updated_at, and a plain list without each, parent and changes")
        return self

    def is_incremental(self) -> bool:
        """Whether the source can be asked for what has changed."""
        return self.since is not None or (self.parent is not None and self.parent.since is not None)

    def refuse_unknown_fields(self, entity: Entity) -> None:
        """Raises ValueError where a field is none of the entity's, or a required one is missing."""
        kinds = {field.name: field.kind for field in entity.fields}
        for name, source in self.fields.items():
            if name not in kinds:
                raise ValueError(f"{name} is no column of {entity.name}; there are {', '.join(kinds)}")
            if source.unit == "minor" and kinds[name] is not FieldKind.money:
                raise ValueError(f"{name} is no amount and has no minor unit")
            if (source.format or source.time_zone or source.plus_minutes) and kinds[name] is not FieldKind.timestamp:
                raise ValueError(f"{name} is no time and has no format")
        only_deletes = self.fields.get("is_deleted") is not None and self.fields["is_deleted"].constant is True
        for field in entity.fields:
            needed = field.required and field.name != "updated_at" and (not only_deletes or field.name == entity.key)
            if needed and field.name not in self.fields:
                raise ValueError(f"nothing is mapped to {field.name}, which every record of {entity.name} needs")


class RestEntity(BaseModel):
    """One entity: the lists that it is read from."""

    model_config = _STRICT

    endpoints: list[Endpoint] = Field(min_length=1, description="Lists of the source.")
    complete: bool = Field(
        default=False, description="A whole reading lists every record, so that one that it lacks was deleted."
    )
    reread: bool = Field(default=True, description="Once a week all is read again, for what was passed over.")


class RestSettings(Zones):
    """Connector settings of a company whose data comes from a REST API."""

    preset: str | None = Field(
        default=None, description="A vendor whose settings we know; what else is said goes before it."
    )
    variant: str | None = Field(default=None, description="One of the preset's variants, which its page names.")
    base_url: Address = Field(description="Address of the API, such as https://api.example.com.")
    auth: Authentication = Field(description="How to be let in: kind bearer, basic, header, oauth2 or none.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers of every request, none of them secret.")
    rate: Rate = Field(default_factory=Rate, description="How fast it may be asked.")
    exponents: dict[str, int] = Field(
        default_factory=dict, description="Digits of minor units by currency, where they are not those of ISO 4217."
    )
    error: Expression = Field(default="message", description="Where an error's words stand in its answer.")
    entities: dict[EntityName, RestEntity] = Field(
        description="By entity: customers, tickets, payments, events, campaigns, sends."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, settings: Any) -> Any:
        return with_preset(settings) if isinstance(settings, Mapping) else settings

    @field_validator("headers")
    @classmethod
    def _no_secret_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if _NOT_A_HEADER.search(name):
                raise ValueError(f"{name} is set by auth, whose secrets are references")
        _without_references(dict(headers))
        return headers

    @field_validator("entities")
    @classmethod
    def _known_fields(cls, entities: dict[EntityName, RestEntity]) -> dict[EntityName, RestEntity]:
        for name, entity in entities.items():
            for endpoint in entity.endpoints:
                try:
                    endpoint.refuse_unknown_fields(ENTITIES[name])
                except ValueError as error:
                    raise ValueError(f"{name}, {endpoint.path}: {error}") from None
            if len({"updated_at" in endpoint.fields for endpoint in entity.endpoints}) > 1:
                raise ValueError(f"{name}: either every endpoint has updated_at or none has")
        return entities
