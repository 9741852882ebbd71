"""From an address to a delivered message: apprise, its outcome in words, and no secret in any of them."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pipeline.integrations.notifications.errors import WrongAddress
from pipeline.integrations.plain_text import without_mentions
from pipeline.reach import Reach
from warehouse.errors import SecretNotFound
from warehouse.logs.notifications import Outcome
from warehouse.redaction import masked, without_secrets
from warehouse.secrets import resolve_operators_secret, resolve_secret
from warehouse.settings import SECRET_REFERENCES, Settings

SHORT_MESSAGE = 700
"""Channels that take no more characters than this, such as SMS, get the summary only."""

# What a server or a socket says when it surely took nothing. Anything else may have arrived all the same.
_SURELY_NOT = re.compile(
    r"refused|Name or service not known|nodename nor servname|Temporary failure in name resolution|No route to host"
    r"|Network is unreachable|error=(4\d\d|500|501|503)|\([45]\d\d, |CERTIFICATE_VERIFY_FAILED"
    r"|STARTTLS extension not supported"
)


_MAIL = ("mailto://", "mailtos://")
_READ_BY_PROGRAMS = ("json://", "jsons://", "xml://", "xmls://", "form://", "forms://")


@dataclass(frozen=True)
class Content:
    """One message in its forms. `summary` is a line or two, for channels that take no more."""

    subject: str
    html: str
    text: str
    summary: str
    attachment: Path | None = None


@dataclass(frozen=True)
class Delivery:
    """How a message fared; `error` is in words, secrets struck out."""

    outcome: Outcome
    error: str | None = None


class Recipient:
    """Who is told, through which channel. `name` says who without telling a secret, and stays when keys rotate."""

    def __init__(self, address: str, settings: Settings, company: str | None) -> None:
        """`address`: an e-mail address, or a reference (env:, file:, encrypted:) to an apprise address.

        `company` is the slug of whose definition holds it, None for the operators' own setting.

        Where a company's own address leads is looked at as its sources are. Raises WrongAddress.
        """
        self._secrets: list[str] = []
        self._reach: Reach | None = None
        if address.startswith(SECRET_REFERENCES):
            url = self._resolved(address, settings, company)
            self._secrets += [url, *_parts_of(url)]
            self.name = f"{_kind_of(address)}#{hashlib.sha256(url.encode()).hexdigest()[:12]}"
            if "://" not in url:
                url = self._mail(url, settings)
            elif company is not None:
                self._reach = Reach(settings)
        else:
            url = self._mail(address, settings)
            self.name = address.lower()
        self._url = url
        self._refuse_unfenced(self._channel())

    def send(self, content: Content) -> Delivery:
        """Deliver one message, in the form that the channel takes. Never raises for what the other side does."""
        import apprise

        channel = self._channel()
        is_mail = self._url.startswith(_MAIL)
        is_chat = not is_mail and not self._url.startswith(_READ_BY_PROGRAMS)
        is_short = channel.body_maxlen <= SHORT_MESSAGE
        body = content.html if is_mail else content.summary if is_short else content.text
        sender = apprise.Apprise()
        sender.add(channel)
        with _apprise_log() as log_lines, self._fence() as refusals:
            is_sent = sender.notify(
                title=without_mentions(content.subject) if is_chat else content.subject,
                body=without_mentions(body) if is_chat else body,
                body_format=apprise.NotifyFormat.HTML if is_mail else apprise.NotifyFormat.TEXT,
                attach=str(content.attachment) if content.attachment and is_mail else None,
            )
        if refusals:
            allow = "CHURN_PRIVATE_SOURCES says which networks besides the internet companies may have reached."
            return Delivery("failed", f"{self._told(refusals[0])}. {allow}")
        if is_sent:
            return Delivery("sent")
        said = self._told(" · ".join(log_lines))
        return Delivery("failed" if _SURELY_NOT.search(said) else "doubtful", said[-500:] or "no reason was given")

    def _channel(self) -> Any:
        import apprise

        with _apprise_log():
            channel = apprise.Apprise.instantiate(self._url)
        if not channel:
            raise WrongAddress(
                f"{self.name}: apprise knows no channel of this address's form. See its list of services; an e-mail "
                "address needs CHURN_MAIL_URL."
            )
        return channel

    def _fence(self) -> AbstractContextManager[list[str]]:
        return nullcontext([]) if self._reach is None else self._reach.fence()

    def _refuse_unfenced(self, channel: Any) -> None:
        """What works in threads of its own, without Python's sockets, or sends a file of ours, cannot be looked at."""
        if self._reach is None:
            return
        speaks_http = hasattr(sys.modules[type(channel).__module__], "requests")
        if not speaks_http and not self._url.startswith(_MAIL):
            raise WrongAddress(f"{self.name}: a company's channel is mail or a service over HTTP, and this is neither.")
        if "template" in {name.lower() for name in parse_qs(urlsplit(self._url).query, keep_blank_values=True)}:
            raise WrongAddress(f"{self.name}: a company's channel has no template, which may be any file here.")

    def _mail(self, address: str, settings: Settings) -> str:
        if settings.mail_url is None:
            raise WrongAddress(f"{address}: there is no mail server. Set CHURN_MAIL_URL.")
        server = settings.mail_url.get_secret_value()
        self._secrets += _parts_of(server)
        return f"{server}&to={quote(address, safe='')}"

    def _resolved(self, address: str, settings: Settings, company: str | None) -> str:
        try:
            return _resolve(address, settings, company)
        except SecretNotFound as error:
            raise WrongAddress(f"{masked(address)}: {error}") from None

    def _told(self, text: str) -> str:
        return without_secrets(text, sorted(set(self._secrets), key=len, reverse=True))


def recipients(addresses: Sequence[str], settings: Settings, company: str | None) -> tuple[list[Recipient], list[str]]:
    """Those addresses that lead somewhere, each once, and what is wrong with the others; `company` as in Recipient."""
    by_name: dict[str, Recipient] = {}
    wrong: list[str] = []
    for address in addresses:
        try:
            recipient = Recipient(address, settings, company)
        except WrongAddress as error:
            wrong.append(str(error))
        else:
            by_name.setdefault(recipient.name, recipient)
    return list(by_name.values()), wrong


def mail_addresses(addresses: Sequence[str], settings: Settings, company: str | None) -> tuple[str, ...]:
    """The e-mail addresses among them, references resolved; other channels, and what does not resolve, left out."""
    channels = []
    for address in addresses:
        try:
            resolved = _resolve(address, settings, company) if address.startswith(SECRET_REFERENCES) else address
        except SecretNotFound:
            continue
        if "://" not in resolved and "@" in resolved:
            channels.append(resolved.strip())
    return tuple(dict.fromkeys(channels))


def _resolve(reference: str, settings: Settings, company: str | None) -> str:
    if company is None:
        return resolve_operators_secret(reference, settings)
    return resolve_secret(reference, settings, company)


def _kind_of(reference: str) -> str:
    kind, _, name = reference.partition(":")
    return kind if kind == "encrypted" else f"{kind}:{name}"


def _parts_of(url: str) -> list[str]:
    """What must not be shown of an address: passwords, tokens and paths, long enough not to be a common word."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    pieces = [parts.password or "", parts.path.strip("/"), *parts.path.split("/"), parts.query]
    pieces = [piece for piece in pieces if len(piece) >= 6]
    return [form for piece in pieces for form in (piece, unquote(piece))] + ([parts.password] if parts.password else [])


class _FailureLines(logging.Handler):
    """Keeps warnings, and what the socket said; not the message itself, which apprise logs too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.levelno >= logging.WARNING or line.startswith("Socket Exception: "):
            self.lines.append(line.removeprefix("Socket Exception: "))


@contextmanager
def _apprise_log() -> Iterator[list[str]]:
    """What apprise says goes to us alone: addresses and messages are among it."""
    logger, handler = logging.getLogger("apprise"), _FailureLines()
    before = logger.level, logger.propagate, logger.handlers
    logger.setLevel(logging.DEBUG)
    logger.propagate, logger.handlers = False, [handler]
    try:
        yield handler.lines
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers = before[1], before[2]
