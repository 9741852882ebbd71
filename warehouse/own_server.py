"""Whether an address leads to the warehouse's own Postgres, which no company's source may be."""

from __future__ import annotations

import ipaddress
import socket
from functools import cache

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL

from warehouse.embedded.server import EmbeddedServer
from warehouse.settings import Settings

DEFAULT_PORT = 5432


def is_own_server(url: URL, settings: Settings) -> bool:
    """Whether a SQLAlchemy address leads to the server of these settings, under whichever name or database."""
    if url.get_backend_name() != "postgresql":
        return False
    ours = _own_address(settings)
    return ours is not None and bool(_places(ours) & _places(_as_libpq(url)))


def is_own_place(ip: str, port: int, settings: Settings) -> bool:
    """Whether the server of these settings answers at this address and port."""
    ours = _own_address(settings)
    return ours is not None and any((address, port) in _places(ours) for address in _ips(ip))


def _own_address(settings: Settings) -> str | None:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    port = EmbeddedServer(settings.home).status().port
    return f"postgresql://127.0.0.1:{port}/postgres" if port else None


def _as_libpq(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _places(address: str) -> set[tuple[str, int]]:
    """Every (IP address, port) that libpq would try; all of this machine's own are one."""
    try:
        # SQLAlchemy's `postgresql+driver://` is no scheme of libpq's.
        scheme, _, rest = address.partition("://")
        parts = conninfo_to_dict(f"{scheme.split('+')[0]}://{rest}")
    except psycopg.Error:
        return set()
    hosts = str(parts.get("hostaddr") or parts.get("host") or "localhost").split(",")
    ports = [int(port or DEFAULT_PORT) for port in str(parts.get("port") or DEFAULT_PORT).split(",")]
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return {(ip, port) for host, port in zip(hosts, ports, strict=True) for ip in _ips(host)}


def _ips(host: str) -> set[str]:
    if not host or host.startswith(("/", "@")):
        return {"this machine"}
    try:
        addresses = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}
    return {"this machine" if _is_here(ip) else ip for ip in addresses}


@cache
def _is_here(ip: str) -> bool:
    """An address can be bound where it is this machine's."""
    address = ipaddress.ip_address(ip)
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True
