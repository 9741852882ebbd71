"""Errors of reading a company's source. A ConnectorError names the company, the source and the remedy."""

from __future__ import annotations

from foundation.errors import ChurnError


class ConnectorError(ChurnError):
    """Base of all errors of connectors.

    `company` is the slug, `source` names what was read (an address or a path, never a secret),
    `problem` says what happened and `remedy` what a person can do about it.
    """

    advice = "`churn company check SLUG` tries the source and writes nothing."

    def __init__(self, company: str, source: str, problem: str, remedy: str) -> None:
        super().__init__(f"Company {company}, source {source}: {problem} {remedy}")
        self.company = company
        self.source = source
        self.problem = problem
        self.remedy = remedy


class SourceUnreachable(ConnectorError):
    """Nobody answers at the source's address, or it kept failing until patience ran out."""


class SourceTooSlow(SourceUnreachable):
    """The source had not given what it was asked for when its time was up."""


class AccessDenied(ConnectorError):
    """The source does not know us, or does not let us read."""


class SourceNotFound(ConnectorError):
    """The address answers, but what was asked for (path, table, file) is not there."""


class MappingError(ConnectorError):
    """The company's connector settings name something that does not exist or cannot be."""


class UnexpectedResponse(ConnectorError):
    """The source answers in a shape that its description does not allow."""


class OutOfOrder(UnexpectedResponse):
    """Records came that are older than those before them: the cursor may have passed some."""


class IdsRepeat(UnexpectedResponse):
    """Most records share their id and moment with others that say otherwise: the id cannot be one."""


class Unreadable(ValueError):
    """A value that cannot be read as its field's kind; the text says why, without the field's name."""
