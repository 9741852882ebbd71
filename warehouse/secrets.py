"""Secrets of companies, which stand in the registry by reference or encrypted: resolving, encrypting, rotating them.

A reference opens only what was put there for the company that uses it, for whoever writes a company's file is no
operator. Only here does anything besides `settings.py` read the environment: the variable that a reference names.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from warehouse.errors import SecretNotFound, SecretOfAnother
from warehouse.settings import ENCRYPTED, Settings

LONGEST_SECRET_BYTES = 64 * 1024


def resolve_secret(reference: str, settings: Settings, company: str) -> str:
    """The secret that a reference in a company's definition stands for; `company` is the slug.

    `env:NAME` is a variable that belongs to the company (`CHURN_SOURCE_ACME__KEY`), `file:PATH` a file below its
    folder of secrets (outer white space is dropped), `encrypted:TOKEN` what `encrypt_secret` gave for it.
    Raises SecretOfAnother where the reference leads elsewhere, and SecretNotFound where it leads nowhere; both name
    the reference.
    """
    kind, _, target = reference.partition(":")
    if kind == "env" and target:
        _refuse_foreign_variable(target, settings, company)
        return _secret_from_environment(target)
    if kind == "file" and target:
        return _secret_from_file(_own_file(target, settings, company), reference)
    if kind == "encrypted" and target:
        return _decrypt(target, settings, company)
    raise _no_reference()


def resolve_operators_secret(reference: str, settings: Settings) -> str:
    """The secret that a reference in our own settings stands for: any variable, any file (relative to the home folder).

    Who sets our variables reads all of them. Raises SecretNotFound.
    """
    kind, _, target = reference.partition(":")
    if kind == "env" and target:
        return _secret_from_environment(target)
    if kind == "file" and target:
        return _secret_from_file(settings.home / target, reference)
    if kind == "encrypted" and target:
        return _decrypt(target, settings, "")
    raise _no_reference()


def secrets_folder(settings: Settings, company: str) -> Path:
    """Where a company's secrets lie as files."""
    return settings.home / "secrets" / company


def encrypt_secret(secret: str, settings: Settings, company: str) -> str:
    """A reference (`encrypted:...`) that opens only with CHURN_SECRET_KEY and in this company's definition."""
    key = _key_of(_secret_key(settings), company)
    return ENCRYPTED + key.encrypt(secret.encode()).decode()


def rotate_secret(reference: str, settings: Settings, company: str) -> str:
    """The same encrypted secret under today's CHURN_SECRET_KEY; the reference itself where it is that already.

    Raises SecretNotFound where neither the key nor the previous one opens it.
    """
    token = reference.removeprefix(ENCRYPTED)
    try:
        _key_of(_secret_key(settings), company).decrypt(token.encode())
    except InvalidToken:
        return encrypt_secret(_decrypt(token, settings, company), settings, company)
    return reference


def derive_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes that only who has CHURN_SECRET_KEY can make, and that differ by purpose (HKDF-SHA256, RFC 5869).

    Raises SecretNotFound where the key is not set.
    """
    return _derived(_secret_key(settings), purpose)


def _derived(key: SecretStr, purpose: str) -> bytes:
    material = base64.urlsafe_b64decode(key.get_secret_value())
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(material)


def _key_of(key: SecretStr, company: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived(key, f"secrets of company {company}")))


def _refuse_foreign_variable(name: str, settings: Settings, company: str) -> None:
    """A variable belongs to the company that stands before its last double underscore, and to no other."""
    owner = f"{settings.secret_variables}{company.upper()}"
    before, separator, rest = name.rpartition("__")
    if not separator or not rest or before != owner:
        raise SecretOfAnother(
            f"Secret env:{name}: {company} may only refer to variables named {owner}__..., which are its own. "
            f"Set {owner}__KEY to the secret and write env:{owner}__KEY."
        )


def _own_file(target: str, settings: Settings, company: str) -> Path:
    folder = secrets_folder(settings, company)
    try:
        path = (folder / target).resolve()
    except (OSError, RuntimeError, ValueError):
        raise SecretNotFound(f"Secret file:{target}: that is no path below {folder}.") from None
    if not path.is_relative_to(folder.resolve()):
        raise SecretOfAnother(
            f"Secret file:{target}: it lies outside {folder}, the only folder whose files {company} may refer to. "
            f"Put the secret there, readable by you alone, and write file:NAME."
        )
    return path


def _no_reference() -> SecretNotFound:
    return SecretNotFound(
        "A secret must be a reference: env:NAME, file:PATH or encrypted:TOKEN; it is none of these "
        "(its text is not shown, since it may be the secret itself)."
    )


def _secret_from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SecretNotFound(f"Secret env:{name}: the variable {name} is not set. Set it and run again.")
    return value


def _secret_from_file(path: Path, reference: str) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST_SECRET_BYTES:
            raise SecretNotFound(
                f"Secret {reference}: {path} is no plain file of at most {LONGEST_SECRET_BYTES:,} bytes."
            )
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SecretNotFound(f"Secret {reference}: cannot read {path} ({reason}). Write the secret there.") from None
    if not value:
        raise SecretNotFound(f"Secret {reference}: {path} is empty. Write the secret there.")
    return value


def _decrypt(token: str, settings: Settings, company: str) -> str:
    keys = [_key_of(key, company) for key in (_secret_key(settings), settings.secret_key_previous) if key is not None]
    try:
        return MultiFernet(keys).decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretNotFound(
            "An encrypted secret does not open with CHURN_SECRET_KEY for "
            f"{company or 'the operators'}. Set the key it was made with (as CHURN_SECRET_KEY_PREVIOUS, to rotate it), "
            "or encrypt it again for this company: a token opens in no other's definition."
        ) from None


def _secret_key(settings: Settings) -> SecretStr:
    if settings.secret_key is None:
        raise SecretNotFound(
            "An encrypted secret, or hashing, needs CHURN_SECRET_KEY, which is not set: set it and run again."
        )
    return settings.secret_key
