"""Which connectors there are, one row each. Nothing else in the code knows a connector by its name.

A new one is a module of this package that ends with ``CONNECTOR = Connector(...)``, and a row below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from pipeline.connectors.contract import Source
    from pipeline.connectors.time_limit import TimeLimit
    from pipeline.connectors.validation import Reading
    from warehouse.settings import Settings

CONNECTORS: dict[str, str] = {
    "habari_api": "pipeline.connectors.habari_api",
    "sql_database": "pipeline.connectors.sql_database",
    "files": "pipeline.connectors.files",
    "rest": "pipeline.connectors.rest",
}
"""The name that a company's definition uses: the module. It is imported when a company is read, since dlt, requests
and SQLAlchemy take seconds."""

_IMPORTING = threading.Lock()
"""dlt's modules import each other in a circle, which two threads at once would find half done."""

ConnectorSettings = TypeVar("ConnectorSettings", bound=BaseModel)


@dataclass(frozen=True)
class Access:
    """What a connector may use besides its settings.

    company: the slug, for messages. secret: resolves a reference; raises
    AccessDenied where it leads nowhere, or to what is not the company's. settings: the operator's: the home
    folder, and how far sources may reach. limit: how long the source may take.
    """

    company: str
    reading: Reading
    secret: Callable[[str], str]
    settings: Settings
    limit: TimeLimit


@dataclass(frozen=True)
class Connector(Generic[ConnectorSettings]):
    """A kind of source.

    settings: what a company's ``connector_settings`` must hold; each field's description is its help. open: the
    source of one company; raises ConnectorError. reads_whole: a source is read to its end in any case, so that a
    sample costs as much as all of it.
    """

    settings: type[ConnectorSettings]
    open: Callable[[ConnectorSettings, Access], Source]
    reads_whole: bool = False


def load_connector(name: str) -> Connector[Any]:
    """The connector of this name, with its module imported. Raises KeyError where there is no such row."""
    with _IMPORTING:
        connector: Connector[Any] = import_module(CONNECTORS[name]).CONNECTOR
    return connector
