"""What the collector takes, stated once: docs/events.md tells web developers, and a test compares the two."""

BATCH_EVENTS = 500
"""Events of one request."""
BODY_BYTES = 512 * 1024
"""Of a request, after it was unpacked."""
BODY_SECONDS = 10.0
"""Until a request's body is here whole."""
ANSWER_SECONDS = 10.0
"""Until a request's events are committed; afterwards it is told to come again."""

BODIES_BYTES = 32 * 2**20
"""Of all requests that are being read."""
WAITING_BYTES = 32 * 2**20
"""Of the events that wait to be committed."""
WAITING_EVENTS = 20_000

GROUP_EVENTS = 2_000
"""Of one commit."""
GROUP_SECONDS = 0.005
"""That the first of a group waits for others."""

KEY_SECONDS = 10.0
"""After which a key is looked up again: so long a revoked one is taken."""
KEYS_KEPT = 10_000
UNKNOWN_KEYS_PER_SECOND = 50
"""Keys that nobody has used lately, of all callers; who guesses keys is told to come again."""
