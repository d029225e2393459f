"""The one way out to URLs that customers name: webhooks now, whatever comes later.

An address is judged when its socket opens, by the connector's socket factory: what was resolved, what is checked and what is
connected to are one and the same tuple, so a name that resolves to another address the second time gains nothing. A connection
that is used again was checked when it was opened. Refused is all that is not plainly public (``ops/public.py``), but what
EGRESS_ALLOW admits by address and port.
"""

from __future__ import annotations

import asyncio
import errno
import math
import re
import socket
import ssl
import weakref
from collections.abc import Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from ops import answers
from ops.addresses import Exemption
from ops.public import Address, is_public
from ops.resolving import Resolver
from ops.settings import Settings

MAX_URL_CHARACTERS = 2048
_REMEMBERED = 4096
_MAX_ANSWER_BYTES = 64 << 10
_READ_BYTES = 16 << 10
# Below the five seconds after which Node.js and uvicorn close what idles: a request must not meet a connection that is being closed.
_KEEPALIVE_SECONDS = 4.0
# Above so many open connections, those under way included, none is kept for another request.
_KEPT_CONNECTIONS = 1000
_RESOLVE_SECONDS = 5.0
# Name, connection and TLS have to be there after this share of a request's time: later there would be none left for an answer.
_CONNECT_SHARE = 0.5
_PORTS = {"https": 443, "http": 80}
_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-f:.]{2,45})\]|(?P<name>[a-z0-9.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?(?P<rest>(?:[/?][!-~]*)?)",
    re.IGNORECASE | re.ASCII,  # without the second, K (U+212A) and ſ (U+017F) are letters of [a-z]
).fullmatch
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.IGNORECASE | re.ASCII).fullmatch
# The last label of what others read as an IPv4 address: decimal, octal or hex (WHATWG URL, "ends in a number").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII).fullmatch
# The sockets opened for the request that is under way in this context; none, while it uses a kept connection.
_OPENED: ContextVar[list[socket.socket]] = ContextVar("opened")
_LOOPBACK = IPv4Address("127.0.0.1")
# What this machine has none left of: files, buffers, memory, threads. Never an address that has no route: that is the destination's.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN})


class Unreachable(Exception):
    """The guard refused, or there was no name, connection or TLS. Customers are not told which."""


class TimedOut(Exception):
    """Connected, and no whole answer in time."""


class Cut(Exception):
    """The connection ended before the answer did, or what came was not HTTP."""


class OutOfResources(Exception):
    """This machine has no file, buffer or thread left for the request: nothing was sent, and the destination is not to blame."""


class Answer(NamedTuple):
    """What counts of an answer: its body is read to its end (or to 64 KiB) and dropped."""

    status: int
    retry_after: str | None


class Policy(NamedTuple):
    """Where customers' URLs may lead: to public addresses by https on these ports, and to the exemptions by either scheme."""

    exemptions: tuple[Exemption, ...]
    ports: tuple[int, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """By EGRESS_ALLOW and EGRESS_PORTS."""
        return cls(settings.egress_allow, settings.egress_ports)

    def admits(self, address: Address, port: int, *, secure: bool) -> bool:
        """Whether a connection may be opened there."""
        if any(port == each.port and address in each.network for each in self.exemptions):
            return True
        return secure and port in self.ports and is_public(address)

    def admits_port(self, port: int, *, secure: bool) -> bool:
        """Whether there is any address to which a connection may be opened on that port."""
        return (secure and port in self.ports) or any(port == each.port for each in self.exemptions)


def check_url(url: str, policy: Policy) -> None:
    """Refuse what can be judged without asking DNS. Raises ``ValueError`` with a sentence for whoever sent the URL."""
    _target(url, policy)


class _Target(NamedTuple):
    url: URL
    secure: bool


def _target(url: str, policy: Policy) -> _Target:
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_URL_CHARACTERS} characters")
    found = _URL(url)
    if found is None or "\\" in url or "#" in url:
        raise ValueError("must be an https URL of printable ASCII: a host name or address, no user, no fragment")
    scheme = found["scheme"].lower()
    secure = scheme == "https"
    port = int(found["port"] or _PORTS[scheme])
    if not policy.admits_port(port, secure=secure):
        raise ValueError(f"must not lead to port {port}" if secure else "must be https")
    address = _address(found["v6"], found["name"])
    if address is not None and not policy.admits(address, port, secure=secure):
        raise ValueError("must lead to a public address")
    # As it was written: quoting it anew would change what its owner compares or signs.
    return _Target(URL(url, encoded=True), secure)


def _address(v6: str | None, name: str) -> Address | None:
    """The address that a host is, if it is one."""
    try:
        if v6 is not None:
            return IPv6Address(v6)
        if _NUMBER(name.rpartition(".")[2]):
            return IPv4Address(name)
    except ValueError:
        raise ValueError("must have a host name, or an address in its usual form") from None
    labels = name.lower().split(".")
    if not all(map(_LABEL, labels)):
        raise ValueError("must have a host name as DNS knows them, without a dot at its end")
    return _LOOPBACK if labels[-1] == "localhost" else None


class Egress:
    """Posts to customers' URLs. ``async with`` opens it; any number of posts may be under way."""

    def __init__(self, policy: Policy, *, resolver: AbstractResolver | None = None, trust: ssl.SSLContext | None = None) -> None:
        """``trust`` says whose certificates are good: unset, those of the system's authorities."""
        self._policy = policy
        self._resolver = resolver
        self._trust = trust or ssl.create_default_context()
        self._stack = AsyncExitStack()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._target = lru_cache(_REMEMBERED)(partial(_target, policy=policy))
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        resolver = self._resolver
        if resolver is None:
            resolver = Resolver(_RESOLVE_SECONDS)
            self._stack.push_async_callback(resolver.close)
        for secure in (True, False):
            self._sessions[secure] = await self._stack.enter_async_context(self._session(resolver, secure=secure))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> Answer:  # noqa: ASYNC109  a request's own limit
        """Send the body; ``timeout`` (seconds) covers all from the name to the end of the answer.

        Raises ``Unreachable``, ``TimedOut``, ``Cut`` or ``OutOfResources``. Redirects are answers like any other.
        """
        try:
            target = self._target(url)
        except ValueError as error:
            raise Unreachable from error
        sent = headers if len(self._sockets) < _KEPT_CONNECTIONS else {**headers, "Connection": "close"}
        try:
            return await self._send(target, body, sent, timeout)
        except (aiohttp.ClientError, OSError) as error:
            raise _told(error) from error

    async def _send(self, target: _Target, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
        """Once, and again when a kept connection turns out to be none any more: its end and the request crossed on the way."""
        post = self._sessions[target.secure].post
        now = asyncio.get_running_loop().time
        end = now() + seconds
        while (left := end - now()) > 0:
            opened: list[socket.socket] = []
            _OPENED.set(opened)
            try:
                async with post(target.url, data=body, headers=headers, timeout=_limits(left), allow_redirects=False) as response:
                    await _drop(response)
                    return Answer(response.status, response.headers.get("Retry-After"))
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if opened:
                    raise
        raise TimeoutError

    def _open_socket(self, info: tuple[Any, ...], *, secure: bool) -> socket.socket:
        """The connector's socket factory: the one place where the address connected to is known, and cannot change any more."""
        family, kind, protocol, _, where = info
        if not self._admits(*where[:2], secure=secure):
            raise PermissionError(errno.EACCES, "not an address that customers' URLs may lead to")
        opened = socket.socket(family, kind, protocol)
        self._sockets.add(opened)
        _OPENED.get().append(opened)
        return opened

    def _admits(self, host: str, port: int, *, secure: bool) -> bool:
        try:
            return self._policy.admits(ip_address(host), port, secure=secure)
        except ValueError:  # connecting would look up whatever it is
            return False

    def _session(self, resolver: AbstractResolver, *, secure: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,  # whoever posts bounds what is under way; waiting here would count against the destination
            keepalive_timeout=_KEEPALIVE_SECONDS,
            resolver=resolver,
            ssl=self._trust,
            socket_factory=partial(self._open_socket, secure=secure),
        )
        answers.bound(connector)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"HyreLog-Webhooks/{_version()}"},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BYTES,
        )


def _limits(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=seconds * _CONNECT_SHARE, ceil_threshold=math.inf)


def _told(error: aiohttp.ClientError | OSError) -> Exception:
    """What the client's error is to whoever posts."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno in _OURS:
        return OutOfResources()
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)):
        return Unreachable()
    return TimedOut() if isinstance(error, TimeoutError) else Cut()


async def _drop(response: aiohttp.ClientResponse) -> None:
    """Read the answer to its end, so that its connection can be used again; a long one costs it that."""
    read = 0
    while chunk := await response.content.readany():
        read += len(chunk)
        if read > _MAX_ANSWER_BYTES:
            response.close()
            return


def _version() -> str:
    try:
        return version("hyrelog")
    except PackageNotFoundError:
        return "0.0.0+source"
