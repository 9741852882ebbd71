"""Secrets of companies, which stand in the registry by reference or encrypted: resolving, encrypting, rotating them.

Only here does anything besides `settings.py` read the environment: the variable that a reference names.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from warehouse.errors import SecretNotFound
from warehouse.settings import ENCRYPTED, Settings, fernet


def resolve_secret(reference: str, settings: Settings) -> str:
    """The secret that a reference stands for.

    `env:NAME` is a variable of the environment, `file:PATH` a file (relative to the
    home folder; outer white space is dropped), `encrypted:TOKEN` what `encrypt_secret` gave.
    Raises SecretNotFound, which names the reference.
    """
    kind, _, target = reference.partition(":")
    if kind == "env" and target:
        return _secret_from_environment(target)
    if kind == "file" and target:
        return _secret_from_file(settings.home / target, reference)
    if kind == "encrypted" and target:
        return _decrypt(target, settings)
    raise SecretNotFound(
        "A secret must be a reference: env:NAME, file:PATH or encrypted:TOKEN; it is none of these "
        "(its text is not shown, since it may be the secret itself)."
    )


def encrypt_secret(secret: str, settings: Settings) -> str:
    """A reference (`encrypted:...`) that only CHURN_SECRET_KEY opens, fit to stand in a company's row."""
    return ENCRYPTED + fernet(_secret_key(settings)).encrypt(secret.encode()).decode()


def rotate_secret(reference: str, settings: Settings) -> str:
    """The same encrypted secret under today's CHURN_SECRET_KEY; the reference itself where it is that already.

    Raises SecretNotFound where neither the key nor the previous one opens it.
    """
    token = reference.removeprefix(ENCRYPTED)
    try:
        fernet(_secret_key(settings)).decrypt(token.encode())
    except InvalidToken:
        return encrypt_secret(_decrypt(token, settings), settings)
    return reference


def derive_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes that only who has CHURN_SECRET_KEY can make, and that differ by purpose (HKDF-SHA256, RFC 5869).

    Raises SecretNotFound where the key is not set.
    """
    key = base64.urlsafe_b64decode(_secret_key(settings).get_secret_value())
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(key)


def _secret_from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SecretNotFound(f"Secret env:{name}: the variable {name} is not set. Set it and run again.")
    return value


def _secret_from_file(path: Path, reference: str) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SecretNotFound(f"Secret {reference}: cannot read {path} ({reason}). Write the secret there.") from None
    if not value:
        raise SecretNotFound(f"Secret {reference}: {path} is empty. Write the secret there.")
    return value


def _decrypt(token: str, settings: Settings) -> str:
    try:
        return MultiFernet(_keys(settings)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretNotFound(
            "An encrypted secret does not open with CHURN_SECRET_KEY. Set the key it was made with "
            "(as CHURN_SECRET_KEY_PREVIOUS, to rotate it), or encrypt the secret again."
        ) from None


def _secret_key(settings: Settings) -> SecretStr:
    if settings.secret_key is None:
        raise SecretNotFound(
            "An encrypted secret, or hashing, needs CHURN_SECRET_KEY, which is not set: set it and run again."
        )
    return settings.secret_key


def _keys(settings: Settings) -> list[Fernet]:
    """Today's key, then the one before it."""
    return [fernet(key) for key in (_secret_key(settings), settings.secret_key_previous) if key is not None]
