"""Which addresses a company's source may lead to: the internet, and of the operator's own network what he allows.

Whoever writes a company's file names its CRM. Without a rule they could have the warehouse ask the machine itself, its
neighbours, or the cloud's description of it (169.254.169.254). A database's address and a webhook's are secrets, which
only the operator puts: there this rule is not asked for.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.poolmanager import PoolManager

from foundation.errors import ChurnError
from warehouse.settings import Settings

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
            if not self._may_reach(ipaddress.ip_address(address.partition("%")[0]), port):
                raise OutOfReach(f"{host} is at {address}, which is not on the internet")
        return addresses

    def _may_reach(self, address: Address, port: int) -> bool:
        real = _inside(address)
        if (str(real), port) in self._places or any(real in network for network in self._networks):
            return True
        return real.is_global and not real.is_multicast and not real.is_reserved

    def manager(self, connected: Callable[[socket.socket], None], **settings: Any) -> PoolManager:
        """urllib3's pools of connections, none of which leads elsewhere; ``connected`` is told of each new one."""
        manager = PoolManager(**settings)
        manager.pool_classes_by_scheme = {
            scheme: _pool_class(pool, connection, self, connected)
            for scheme, pool, connection in (
                ("http", HTTPConnectionPool, HTTPConnection),
                ("https", HTTPSConnectionPool, HTTPSConnection),
            )
        }
        return manager


def _pool_class(
    pool: type[Any], connection: type[Any], reach: Reach, connected: Callable[[socket.socket], None]
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
                addresses: Sequence[str] = reach.addresses(name, self.port)
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
