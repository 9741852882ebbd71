"""HTTP answers within bounds: neither what unpacks without measure nor what never ends is waited for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import exceptions as causes
from urllib3.connection import port_by_scheme
from urllib3.poolmanager import ProxyManager

from pipeline.connectors.time_limit import Line, TimeLimit
from pipeline.reach import Reach, tell_of_connections

MIB = 2**20
LARGEST_ANSWER = 64 * MIB
"""Of one request, unpacked: a page has a thousand records at most."""

_PIECE = 64 * 1024
_ANY_HEADER = zlib.MAX_WBITS | 32
"""gzip's or zlib's header, as the bytes say."""


class AnswerTooLarge(requests.RequestException):
    """An answer is larger than LARGEST_ANSWER, or packed in a way that cannot be measured."""


class BoundedAdapter(HTTPAdapter):
    """Reads each answer as it is sent and unpacks it piece by piece, up to LARGEST_ANSWER, from within a reach.

    One request at a time, for as long as the limit lets it, through the operator's proxy where there is one.
    """

    def __init__(self, reach: Reach, limit: TimeLimit) -> None:
        self._reach = reach
        self._limit = limit
        self._line = Line()
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **settings: Any) -> None:
        """See `HTTPAdapter.init_poolmanager`."""
        self.poolmanager = self._reach.manager(
            self._line.hold, num_pools=connections, maxsize=maxsize, block=block, **settings
        )

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """See `HTTPAdapter.proxy_manager_for`; the line to a proxy is cut in time as any other is."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **settings)
        if is_new and isinstance(manager, ProxyManager):
            tell_of_connections(manager, self._line.hold)
        return manager

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """See `HTTPAdapter.get_connection_with_tls_context`. Raises OutOfReach for what no proxy is to be asked for."""
        url = str(request.url)
        if select_proxy(url, kwargs.get("proxies")):
            target = urlsplit(url)
            port = target.port or port_by_scheme[target.scheme]
            self._reach.refuse_behind_proxy(target.hostname or "", port)
        return super().get_connection_with_tls_context(request, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """See `HTTPAdapter.send`; the answer's content is read. Raises AnswerTooLarge, and SourceTooSlow."""
        request.headers["Accept-Encoding"] = "gzip, deflate"
        with self._limit.one_request(self._line):
            return self._read(request, *args, **kwargs)

    def close(self) -> None:
        """See `HTTPAdapter.close`."""
        self._line.close()
        super().close()

    def _read(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(request, *args, **kwargs)
        try:
            # As requests' own `content` does, but for the bound; nothing reads the socket afterwards.
            response._content = b"".join(_bounded(response))
            response._content_consumed = True
        except BaseException:
            response.close()
            raise
        return response


def _bounded(response: requests.Response) -> Iterator[bytes]:
    size = 0
    for piece in _unpacked(response):
        size += len(piece)
        if size > LARGEST_ANSWER:
            raise AnswerTooLarge(f"its answer is larger than {LARGEST_ANSWER // MIB} MiB", response=response)
        yield piece


def _unpacked(response: requests.Response) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "deflate"}:
        raise AnswerTooLarge("its answer is packed as nobody asked for", response=response)
    unpacker = zlib.decompressobj(_ANY_HEADER) if encoding in {"gzip", "deflate"} else None
    for piece in _pieces(response):
        if unpacker is None:
            yield piece
            continue
        rest = piece
        while rest and not unpacker.eof:
            try:
                yield unpacker.decompress(rest, _PIECE)
            except zlib.error:
                raise requests.exceptions.ContentDecodingError("its answer is no gzip", response=response) from None
            rest = unpacker.unconsumed_tail
    if unpacker is not None:
        yield unpacker.flush()


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes; urllib3's errors become those that requests raises, which are tried again."""
    try:
        yield from response.raw.stream(_PIECE, decode_content=False)
    except causes.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error, response=response) from error
    except causes.ReadTimeoutError as error:
        raise requests.ConnectionError(error, response=response) from error
