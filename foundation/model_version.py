"""Which version of which registered model: a name and a number, together."""

from typing import NamedTuple, Self


class ModelVersion(NamedTuple):
    """A version of a registered model; its text ("churn-acme v3") is for people and for what is published."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that this text names. Raises ValueError for any other text."""
        name, separator, number = text.rpartition(" v")
        if not (name and separator and number.isascii() and number.isdigit()):
            raise ValueError(f"{text!r} names no version of a model")
        return cls(name, int(number))
