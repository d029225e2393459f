"""Who is at the other end: a client's address, behind proxies too, and whether a key may be used from it (contract §1).

Addresses are text in canonical form; an IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2) is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Networks: TypeAlias = tuple[Network, ...]


class Exemption(NamedTuple):
    """Addresses and the one port of theirs that customers' URLs may lead to (EGRESS_ALLOW, contract §4)."""

    network: Network
    port: int


_FORWARDED = b"x-forwarded-for"
_MAPPED = IPv6Network("::ffff:0:0/96")
_MAPPED_BITS = 96
_HOLDER_BITS = 64
_REMEMBERED = 8192
# What is remembered is the sender's choice, so it has to be short.
_MAX_REMEMBERED_BYTES = 512
_MAX_ADDRESS_CHARACTERS = 64
_MAX_HOPS = 32


def network(text: str) -> Network:
    """The network of an address or of CIDR notation, its host bits dropped. Raises ``ValueError``."""
    return plain(ip_network(text, strict=False))


def exemption(text: str) -> Exemption:
    """From ``CIDR:port``, an IPv6 one in brackets; the port is part of it. Raises ``ValueError``."""
    where, colon, port = text.rpartition(":")
    if not (colon and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{text}: must be CIDR:port")
    if where.startswith("[") != (":" in where):
        raise ValueError(f"{text}: an IPv6 network stands in brackets")
    return Exemption(network(where.removeprefix("[").removesuffix("]")), int(port))


def plain(found: Network) -> Network:
    """The IPv4 network that an IPv6 one of mapped addresses stands for; any other as it is."""
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        packed = found.network_address.packed[-4:]
        return IPv4Network((packed, found.prefixlen - _MAPPED_BITS))
    return found


def allows(allowlist: Networks, address: str) -> bool:
    """Whether the address is in one of the networks. An empty list allows any; one that has entries, nobody without an address."""
    if not allowlist:
        return True
    found = _parse(address)
    return found is not None and any(found in each for each in allowlist)


@lru_cache(maxsize=_REMEMBERED)
def holder(address: str) -> str:
    """Whom failures are counted against: an IPv4 address, or the /64 of an IPv6 one, of which one site has 2^64."""
    found = _parse(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) & ~((1 << _HOLDER_BITS) - 1), _HOLDER_BITS)))
    return address


class Proxies:
    """Finds the client's address; ``X-Forwarded-For`` counts only from the proxies that are trusted."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(map(plain, trusted))
        # Producers keep their proxies and addresses: parsing each time would cost 3 µs a request.
        self._origin = lru_cache(maxsize=_REMEMBERED)(self._find_origin)
        self._trusts = lru_cache(maxsize=_REMEMBERED)(self._is_trusted)

    def client_address(self, scope: Mapping[str, Any]) -> str:
        """The client of an ASGI request: the right-most hop that is not a trusted proxy; empty when the server knows no peer."""
        client = scope.get("client")
        peer: str = client[0] if client else ""
        if not self._trusted:
            return peer if "." in peer and ":" not in peer else _canonical(peer)
        if not self._trusts(peer):
            return _canonical(peer)
        forwarded = b",".join([value for name, value in scope["headers"] if name == _FORWARDED])
        find = self._origin if len(forwarded) <= _MAX_REMEMBERED_BYTES else self._find_origin
        return find(peer, forwarded)

    def _find_origin(self, peer: str, forwarded: bytes) -> str:
        """From the trusted peer back, hop by hop, as far as they are trusted; nonsense from one that is leaves the peer."""
        origin = _canonical(peer)
        if not forwarded.strip():
            return origin
        hops = forwarded.decode("latin-1").rsplit(",", _MAX_HOPS)
        for hop in reversed(hops):
            found = _parse(hop.strip(" \t"))
            if found is None:
                return _canonical(peer)
            origin = str(found)
            if not self._trusts(origin):
                break
        return origin

    def _is_trusted(self, address: str) -> bool:
        return bool(address) and allows(self._trusted, address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    return _parse_short(text) if len(text) <= _MAX_ADDRESS_CHARACTERS else None


@lru_cache(maxsize=_REMEMBERED)
def _parse_short(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _canonical(peer: str) -> str:
    found = _parse(peer)
    return peer if found is None else str(found)
