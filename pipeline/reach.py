"""Which addresses a company may have us reach: the internet, and of the operator's own network what they allow.

Whoever writes a company's file names its CRM, and gives the operator the address of its database and its channels.
Without a rule they could have the warehouse ask the machine itself, its neighbours, or the cloud's description of it
(169.254.169.254). A proxy of the operator's (HTTPS_PROXY) may be anywhere; what it is asked for is looked at as far as
its name means something here.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.poolmanager import PoolManager

from foundation.errors import ChurnError
from warehouse.settings import Settings

_ASKED_OF_A_PROXY = re.compile(rb"(?:CONNECT |[A-Z]+ https?://)([^/\s]+)\S* HTTP/1\.[01]\r?\n")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class OutOfReach(ChurnError):
    """A host's address is none that a source may have. No OSError, which urllib3 would take for a lost connection."""


class Reach:
    """What sources may reach. An address is looked at when the connection is made, and that very one is connected."""

    def __init__(self, settings: Settings) -> None:
        self._networks = [ipaddress.ip_network(network) for network in settings.private_networks]
        self._places = settings.demo_places

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be reached. Raises OutOfReach, and OSError for an unknown host."""
        entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        for address in addresses:
            self._refuse(address, port, f"{host} is at {address}")
        return addresses

    def refuse_behind_proxy(self, host: str, port: int) -> None:
        """Raises OutOfReach for a host that a proxy is to ask. A name that is unknown here is the proxy's to judge."""
        with suppress(socket.gaierror):
            self.addresses(host, port)

    @contextmanager
    def fence(self) -> Iterator[list[str]]:
        """Meanwhile what this context connects to, by Python's sockets in whichever library, is looked at.

        A connection elsewhere fails before it is made, as one that the system forbids; yields the list of what was
        refused, in words. What C connects is not seen.
        """
        _install_guard()
        refusals: list[str] = []
        token = _fence.set((self, refusals))
        try:
            yield refusals
        finally:
            _fence.reset(token)

    def refuse_place(self, place: object) -> None:
        """`place` is what a socket is told to connect to. Raises OutOfReach for one that may not be reached."""
        if not isinstance(place, tuple):
            raise OutOfReach("a socket of this machine is not on the internet")
        host, port = str(place[0]), int(place[1])
        if (host, port) not in _proxies():
            self._refuse(host, port, host)

    def _refuse(self, address: str, port: int, told: str) -> None:
        try:
            real = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise OutOfReach(f"{told} is no address") from None
        if not self._may_reach(real, port):
            raise OutOfReach(f"{told}, which is not on the internet")

    def _may_reach(self, address: Address, port: int) -> bool:
        real = _inside(address)
        if (str(real), port) in self._places or any(real in network for network in self._networks):
            return True
        return real.is_global and not real.is_multicast and not real.is_reserved

    def manager(self, connected: Callable[[socket.socket], None], **settings: Any) -> PoolManager:
        """urllib3's pools of connections, none of which leads elsewhere; ``connected`` is told of each new one."""
        manager = PoolManager(**settings)
        tell_of_connections(manager, connected, self.addresses)
        return manager


def tell_of_connections(
    manager: PoolManager,
    connected: Callable[[socket.socket], None],
    addresses: Callable[[str, int], list[str]] = lambda host, _: [host],
) -> None:
    """The pools tell of each new connection, which they make to the addresses of a host and its port."""
    manager.pool_classes_by_scheme = {
        scheme: _pool_class(pool, connection, addresses, connected)
        for scheme, pool, connection in (
            ("http", HTTPConnectionPool, HTTPConnection),
            ("https", HTTPSConnectionPool, HTTPSConnection),
        )
    }


_fence: ContextVar[tuple[Reach, list[str]] | None] = ContextVar("_fence", default=None)
_CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_ASKING = "http.client.send"
_HTTP_PORT = 80


@cache
def _install_guard() -> None:
    """Python tells of every connection before it is made (PEP 578), and whoever listens may refuse it."""
    sys.addaudithook(_guard)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _CONNECTING and event != _ASKING:
        return
    fence = _fence.get()
    # A socket that is connected sends to nobody in particular.
    if fence is None or arguments[1] is None:
        return
    reach, refusals = fence
    try:
        if event == _ASKING:
            _refuse_asked_of_proxy(reach, arguments[1])
        else:
            reach.refuse_place(arguments[1])
    except OutOfReach as error:
        refusals.append(error.message)
        # Libraries close their socket after an OSError, and after no other.
        raise PermissionError(errno.EACCES, error.message) from None


def _refuse_asked_of_proxy(reach: Reach, sent: object) -> None:
    """`sent` is what an HTTP client sends: a request that names a whole address is one to a proxy."""
    asked = _ASKED_OF_A_PROXY.match(sent) if isinstance(sent, bytes | bytearray) else None
    if asked:
        place = urlsplit(f"//{asked[1].decode('latin-1')}")
        reach.refuse_behind_proxy(place.hostname or "", place.port or _HTTP_PORT)


def _proxies() -> set[tuple[str, int]]:
    places = set()
    for scheme, address in getproxies().items():
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if scheme in {"http", "https", "all"} and parts.hostname and parts.port:
            entries = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
            places |= {(str(entry[4][0]), parts.port) for entry in entries}
    return places


def _pool_class(
    pool: type[Any],
    connection: type[Any],
    addresses_of: Callable[[str, int], Sequence[str]],
    connected: Callable[[socket.socket], None],
) -> type[Any]:
    class Guarded(connection):  # type: ignore[misc]
        """Connects to the address that was looked at, whatever the host's name leads to a moment later."""

        _dns_host: str

        def _new_conn(self) -> Any:
            line = self._connect()
            connected(line)
            return line

        def _connect(self) -> Any:
            name: str = self._dns_host
            try:
                addresses = addresses_of(name, self.port)
            except socket.gaierror as error:
                raise NameResolutionError(name, self, error) from error
            try:
                for address in addresses[:-1]:
                    self._dns_host = address
                    try:
                        return super()._new_conn()
                    except HTTPError:
                        continue
                self._dns_host = addresses[-1]
                return super()._new_conn()
            finally:
                self._dns_host = name

    return type(pool.__name__, (pool,), {"ConnectionCls": Guarded})


def _inside(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    carried = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
    if carried:
        return carried
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address
