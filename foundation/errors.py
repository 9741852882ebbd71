"""The root of every error that we raise on purpose. Each package derives its own; none is raised from here."""

from typing import ClassVar


class ChurnError(Exception):
    """An error that a person can do something about.

    The message says what happened and to whom. ``advice`` is one line of what helps against every error of the
    class, where the message does not already say so; empty where only the message can.
    """

    advice: ClassVar[str] = ""

    def __str__(self) -> str:
        """What happened, and the advice of its class after it."""
        return " ".join(part for part in (super().__str__(), self.advice) if part)
