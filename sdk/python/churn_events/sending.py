"""One request to the collector, and what its answer means for each event."""

from __future__ import annotations

import gzip
import json
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

TIMEOUT_SECONDS = 30.0
LONGEST_RETRY_AFTER = 300.0
_SETTLED = ("ok", "duplicate", "rejected")
_ANSWERED = (200, 422)
_REFUSED_AS_A_WHOLE = (400, 413)


class Answer(NamedTuple):
    """What became of a batch. ``verdicts`` are by place in the batch, of settled events: (verdict, reason).

    ``is_refused`` says that the batch as a whole cannot be taken, ``problem`` why nothing was answered, and
    ``retry_after`` how many seconds the collector wants to be left alone.
    """

    verdicts: Dict[int, Tuple[str, Optional[str]]]
    is_refused: bool = False
    problem: Optional[str] = None
    retry_after: float = 0.0


def post(url: str, write_key: str, bodies: Sequence[str]) -> Answer:
    """Send events, each as JSON, with the time of this attempt."""
    sent_at = json.dumps(datetime.now(timezone.utc).isoformat(timespec="milliseconds"))
    batch = '{"sentAt":%s,"batch":[%s]}' % (sent_at, ",".join(bodies))
    request = urllib.request.Request(
        url.rstrip("/") + "/v1/batch",
        gzip.compress(batch.encode()),
        {
            "Authorization": "Bearer " + write_key,
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        },
    )
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as response:
            return _read(response.status, response.read(), len(bodies), 0.0)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error.read(), len(bodies), _seconds(error.headers.get("Retry-After")))
    except (OSError, ValueError) as error:
        # Of http.client, too: its errors are neither, but for those that follow.
        return Answer({}, problem="no answer: %s" % (error,))
    except Exception as error:  # http.client.HTTPException has no parent of its own
        return Answer({}, problem="no answer: %s" % (type(error).__name__,))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None: a key follows no address to another host."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _read(status: int, content: bytes, events: int, retry_after: float) -> Answer:
    if status in _ANSWERED:
        try:
            verdicts = _verdicts(content, events)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Answer({}, problem="an answer that cannot be read")
        return Answer(verdicts, retry_after=retry_after)
    if status in _REFUSED_AS_A_WHOLE:
        return Answer({}, is_refused=True, problem="status %d: %s" % (status, _error(content)))
    return Answer({}, problem="status %d: %s" % (status, _error(content)), retry_after=retry_after)


def _verdicts(content: bytes, events: int) -> Dict[int, Tuple[str, Optional[str]]]:
    told: List[Dict[str, Optional[str]]] = json.loads(content)["events"]
    if len(told) != events:
        raise ValueError("verdicts of other events")
    return {
        place: (str(event["verdict"]), event.get("reason"))
        for place, event in enumerate(told)
        if event["verdict"] in _SETTLED
    }


def _error(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return "it does not say why"


def _seconds(header: Optional[str]) -> float:
    try:
        return min(LONGEST_RETRY_AFTER, max(0.0, float(header or 0)))
    except ValueError:
        return 0.0
