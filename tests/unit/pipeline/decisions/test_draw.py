"""The draw of control groups: chance by names, the same for ever, and another chance in every programme."""

from __future__ import annotations

import numpy as np
from scipy import stats

from pipeline.decisions.draw import BUCKETS, draw_buckets, in_control

MANY = [f"customer-{number}" for number in range(20_000)]


def test_the_same_names_give_the_same_bucket_whoever_else_is_drawn() -> None:
    together = draw_buckets("salt", 1, "call", MANY[:50])
    assert together.tolist() == [int(draw_buckets("salt", 1, "call", [customer])[0]) for customer in MANY[:50]]
    # By openssl: HMAC-SHA-256 with key "salt" of [1,"customer-0","call"], first 8 bytes, modulo 10,000.
    assert together[0] == 5735


def test_buckets_are_even() -> None:
    counts = np.bincount(draw_buckets("salt", 1, "call", MANY) // 1000, minlength=10)
    assert stats.chisquare(counts).pvalue > 0.001
    assert counts.sum() == len(MANY)


def test_company_programme_and_salt_each_make_another_draw() -> None:
    drawn = [
        draw_buckets(salt, company, programme, MANY)
        for salt, company, programme in (
            ("salt", 1, "call"),
            ("other", 1, "call"),
            ("salt", 2, "call"),
            ("salt", 1, "b"),
        )
    ]
    for other in drawn[1:]:
        assert abs(np.corrcoef(drawn[0], other)[0, 1]) < 0.03
    # No two lists of names read alike.
    assert draw_buckets("s", 1, "a", ['b","c']).tolist() != draw_buckets("s", 1, 'a","b', ["c"]).tolist()


def test_the_share_of_controls_is_the_share_of_buckets() -> None:
    buckets = np.arange(BUCKETS)
    assert in_control(buckets, 0.1).sum() == 1000
    assert in_control(buckets, 0.0101).sum() == 101
