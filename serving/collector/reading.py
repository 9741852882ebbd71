"""Bodies of requests: read in bounded memory and time, unpacked to a bounded size."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request

from pipeline.streaming.event_json import UnreadableJson, read_json
from serving.collector.limits import BODIES_BYTES, BODY_BYTES, BODY_SECONDS
from serving.collector.refusals import Refusal, behind

_GZIP = 16 + zlib.MAX_WBITS
_TOO_LARGE = f"A request has at most {BODY_BYTES} bytes, unpacked: send smaller batches."


class Bodies:
    """Reads bodies; all that are being read have ``BODIES_BYTES`` together."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def reading(self) -> Iterator[Body]:
        """A body, whose room is given back at the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self._held -= body.held

    def hold(self, size: int) -> None:
        """Take room. Raises Refusal where there is none."""
        if self._held + size > BODIES_BYTES:
            raise behind()
        self._held += size


class Body:
    """One body; ``held`` is the room that it has taken."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.held = 0

    async def read(self, request: Request) -> Any:
        """What the request's JSON says. Raises Refusal, and starlette's ClientDisconnect."""
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise Refusal(415, "The content encoding is gzip, or none.")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                packed = await self._receive(request)
        except TimeoutError:
            raise Refusal(408, f"The body was not here after {BODY_SECONDS:.0f} s.") from None
        try:
            return read_json(self._unpack(packed) if encoding == "gzip" else packed)
        except UnreadableJson as error:
            raise Refusal(400, str(error)) from None

    async def _receive(self, request: Request) -> bytes:
        if int(request.headers.get("content-length") or 0) > BODY_BYTES:
            raise Refusal(413, _TOO_LARGE)
        received = bytearray()
        async for chunk in request.stream():
            self._hold(len(chunk))
            received += chunk
            if len(received) > BODY_BYTES:
                raise Refusal(413, _TOO_LARGE)
        return bytes(received)

    def _unpack(self, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj(_GZIP)
        try:
            body = unpacker.decompress(packed, BODY_BYTES + 1)
        except zlib.error:
            raise Refusal(400, "The body is no gzip.") from None
        if len(body) > BODY_BYTES:
            raise Refusal(413, _TOO_LARGE)
        if not unpacker.eof or unpacker.unused_data:
            raise Refusal(400, "The body is no whole gzip, or something follows it.")
        self._hold(len(body))
        return body

    def _hold(self, size: int) -> None:
        self._bodies.hold(size)
        self.held += size
