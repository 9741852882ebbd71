"""Whom chance leaves alone in a programme: drawn from names alone, so that no score can have a say."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

BUCKETS = 10_000


def draw_buckets(salt: str, company_id: int, programme: str, customer_ids: Sequence[str]) -> NDArray[np.int64]:
    """The bucket of each customer in a programme, 0 to 9,999: a hash of company, customer and programme.

    It is keyed (HMAC-SHA-256): the same names give the same bucket on every machine, and who does not know the salt
    cannot tell it.
    """
    key = salt.encode()
    return np.array([_bucket(key, [company_id, customer, programme]) for customer in customer_ids], dtype=np.int64)


def in_control(buckets: NDArray[np.int64], control_share: float) -> NDArray[np.bool_]:
    """Whether each bucket belongs to the control group, by its share of all buckets, 0 to 1."""
    return buckets < round(control_share * BUCKETS)


def _bucket(key: bytes, names: list[int | str]) -> int:
    # As JSON no two lists of names read alike, whatever signs the names have.
    return int.from_bytes(hmac.digest(key, orjson.dumps(names), "sha256")[:8]) % BUCKETS
