"""The root of every error that we raise on purpose. Each package derives its own; none is raised from here."""

from collections.abc import Iterator
from contextlib import contextmanager

_ANY_COMPANY = "SLUG"


class ChurnError(Exception):
    """An error that a person can do something about.

    The message says what happened. ``advice`` is one line of what helps against every error of the class, where the
    messages do not already say so; SLUG in it stands for the company. ``company`` is the slug of the company that was
    worked on: whoever raises the error may not know it, see `about`.
    """

    advice: str = ""
    company: str | None = None

    @property
    def message(self) -> str:
        """What happened, without the advice: for an error that tells of this one."""
        return super().__str__()

    def __str__(self) -> str:
        """To which company, what happened, and what helps; the advice stands on a line of its own below several."""
        message = self.message
        if self.company and self.company not in message:
            message = f"{self.company}: {message}"
        if not self.advice:
            return message
        if "\n" in message:
            return f"{message}\n{self._advice()}"
        return f"{message}{'' if message.endswith(('.', '!', '?', ':')) else '.'} {self._advice()}".strip()

    def told_of(self, company: str) -> str:
        """As `str`, where it is told beside the company's name: its slug stands in the advice, and not before it."""
        self.company = self.company or company
        return str(self).removeprefix(f"{company}: ")

    def _advice(self) -> str:
        return self.advice.replace(_ANY_COMPANY, self.company or _ANY_COMPANY)


@contextmanager
def about(company: str) -> Iterator[None]:
    """Our errors that come up meanwhile are about this company, given by its slug."""
    try:
        yield
    except ChurnError as error:
        error.company = error.company or company
        raise
