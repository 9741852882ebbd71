"""Commands that are imported when they are called, so that the list of all of them costs no import of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True)
class Place:
    """Where a command is, as ``module:function`` or ``module:typer_app``, and the first line of its help.

    ``context_settings`` are a function's, as in ``typer.Typer.command``.
    """

    target: str
    help: str
    context_settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self, name: str) -> Any:
        """The command, imported."""
        module, _, attribute = self.target.partition(":")
        target = getattr(import_module(module), attribute)
        if isinstance(target, typer.Typer):
            group = get_group(target)
            group.name = name
            return group
        app = typer.Typer(add_completion=False)
        app.command(name, context_settings={**self.context_settings})(target)
        return get_command(app)


class LazyCommand(TyperCommand):
    """Stands for a command until it is called: has its name and the first line of its help."""

    def __init__(self, name: str, place: Place) -> None:
        super().__init__(name, help=place.help)
        self.place = place

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which the group then invokes."""
        return self.place.load(str(self.name)).make_context(info_name, args, parent, **extra)


def lazy_group(places: Mapping[str, Place]) -> type[TyperGroup]:
    """A class of groups with these commands by name, for ``typer.Typer(cls=...)``."""

    class LazyGroup(TyperGroup):
        def __init__(self, **settings: Any) -> None:
            commands = {name: LazyCommand(name, place) for name, place in places.items()}
            super().__init__(**{**settings, "commands": commands})

    return LazyGroup
