"""Keys that programs show at our doors: printed once, known afterwards by their hash alone."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Self

_PUBLIC_BYTES, _SECRET_BYTES = 6, 32


@dataclass(frozen=True)
class Key:
    """A new key: ``text`` is for its holder, ``prefix`` (unique, no secret) and ``digest`` are for the warehouse."""

    text: str
    prefix: str
    digest: bytes

    @classmethod
    def draw(cls, kind: str) -> Self:
        """A key of ``kind``, a short word that tells people and scanners for leaked secrets what they look at."""
        prefix = f"{kind}_{secrets.token_hex(_PUBLIC_BYTES)}"
        text = f"{prefix}_{secrets.token_hex(_SECRET_BYTES)}"
        return cls(text, prefix, digest(text))


def prefix_of(text: str) -> str:
    """Which key ``text`` says it is. What has no such form is its own prefix, which no key has."""
    return text.rpartition("_")[0] or text


def digest(text: str) -> bytes:
    """32 bytes by which a key is known again. SHA-256 will do: 256 random bits cannot be guessed, salted or not."""
    return hashlib.sha256(text.encode()).digest()
