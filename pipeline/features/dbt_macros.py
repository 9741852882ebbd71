"""Macros of the dbt project, called on the manifest that dbt wrote.

What follows from the project alone stands once, in Jinja, where dbt itself calls it. This module calls the same text:
without dbt and without a database, so that Dagster knows it as soon as it loads.
"""

import functools
import hashlib
from collections.abc import Mapping
from types import CodeType, SimpleNamespace
from typing import Any, NoReturn

import jinja2

from foundation.errors import ChurnError
from pipeline.data_files import PACKAGE
from pipeline.features.own_project import variables_of


class MacroRefused(ChurnError):
    """A macro ended with an error; the message is the macro's own."""


def call_macro(manifest: Mapping[str, Any], name: str, *arguments: object) -> Any:
    """What a macro of the project returns for these arguments, or the text that it writes.

    Of dbt's context a macro finds ``graph``, ``var`` (as our dbt_project.yml sets it), ``execute``, ``local_md5``,
    ``exceptions``, ``project_name`` and our project's other macros, and those of a project that takes ours as a package
    in ``context``. Raises KeyError for a macro that the manifest does
    not hold, and MacroRefused where the macro raises a compiler error.
    """
    environment = _environment()
    packages: dict[str, dict[str, _Macro]] = {}
    for macro in manifest["macros"].values():
        packages.setdefault(macro["package_name"], {})[macro["name"]] = _Macro(environment, macro)
    macros = packages[PACKAGE]
    environment.globals.update(
        **macros,
        **{"return": _return},
        context=packages,
        exceptions=SimpleNamespace(raise_compiler_error=_refuse),
        execute=True,
        graph={"nodes": manifest["nodes"]},
        local_md5=lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        project_name=manifest["metadata"]["project_name"],
        var=variables_of(manifest).__getitem__,
    )
    return macros[name](*arguments)


class _Macro:
    """A macro by its text, compiled when it is first called. ``macro`` is what the manifest says of it."""

    def __init__(self, environment: jinja2.Environment, macro: Mapping[str, Any]) -> None:
        self.macro = macro
        self._environment = environment

    @functools.cached_property
    def _callable(self) -> Any:
        code, names = _compiled(self.macro["macro_sql"]), self._environment.make_globals(None)
        template = self._environment.template_class.from_code(self._environment, code, names)
        return getattr(template.module, self.macro["name"])

    def __call__(self, *arguments: object, **named: object) -> Any:
        try:
            return self._callable(*arguments, **named)
        except _Returned as returned:
            return returned.value


def _environment() -> jinja2.Environment:
    return jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701 - no page


@functools.cache
def _compiled(macro: str) -> CodeType:
    """The code of a macro's text: Dagster calls the same few for every table, and compiling is what takes long."""
    return _environment().compile(macro)


class _Returned(Exception):
    """dbt's way to return a value, and no text, from a macro."""

    def __init__(self, value: object) -> None:
        self.value = value


def _return(value: object) -> NoReturn:
    raise _Returned(value)


def _refuse(message: str) -> NoReturn:
    raise MacroRefused(message)
