"""Webhooks: what is sent, how it is signed, to whom it goes and when it is tried again (contract §4).

Two signatures stand on every request: the predecessor's, over the body alone, and Standard Webhooks' (standardwebhooks.com),
which covers id and time as well. Times are microseconds since 1970 UTC unless said otherwise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, Self

from schemas.event import StoredEvent, format_time, to_micros
from schemas.ids import RANDOM_BYTES, uuid7
from schemas.view import render

EVENT_TYPES = ("AUDIT_EVENT_CREATED",)
"""What an endpoint can ask to be told of."""
TEST_TYPE = "WEBHOOK_TEST"

NOTICES = "hyrelog.webhooks"
"""PostgreSQL's channel on which dispatchers are told that there may be something to do. A lost notice is made up for by their own looks."""
SECRET_BYTES = 32
_SECRET_PREFIX = "whsec_"  # noqa: S105  the prefix of a secret is none

MAX_PATTERNS, MAX_PATTERN_CHARACTERS, MAX_STARS = 20, 128, 3
_PATTERNS = {"category": re.compile(r"[a-z0-9._*-]+"), "action": re.compile(r"[A-Za-z0-9._:/*-]+")}

_JITTER = 0.1
# The longest HTTP date has 33 characters (RFC 850's form); a longer text is not worth a parser's time.
_MAX_RETRY_AFTER_CHARACTERS = 40


class Kind(StrEnum):
    """Why a delivery is made."""

    EVENT = "EVENT"
    REPLAY = "REPLAY"
    TEST = "TEST"


class State(StrEnum):
    """Where a delivery is; the last two are final."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    RETRYING = "RETRYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class Failure(StrEnum):
    """Why an attempt got no answer, as its customer is told. An answer, whatever its status, has none."""

    DESTINATION_UNREACHABLE = "DESTINATION_UNREACHABLE"
    """Refused by the guard, or DNS, connecting or TLS failed: one code, since telling them apart would map our network."""
    TIMEOUT = "TIMEOUT"
    """Connected, and no whole answer in time."""
    CONNECTION_LOST = "CONNECTION_LOST"
    """The connection was cut, or what came was not HTTP."""
    INTERRUPTED = "INTERRUPTED"
    """A dispatcher died with it: it may or may not have been sent."""
    ENDPOINT_DISABLED = "ENDPOINT_DISABLED"
    """Given up unsent: the endpoint is disabled or deleted."""
    EVENT_GONE = "EVENT_GONE"
    """Given up unsent: the event is no longer in the database."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an endpoint's requests are signed with; ``previous`` only while a rotation's overlap lasts. Never shown by ``repr``."""

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)


def make_secret(entropy: bytes) -> str:
    """``whsec_`` and the base64 of 32 random bytes. Raises ``ValueError`` for another length."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} random bytes")
    return _SECRET_PREFIX + base64.b64encode(entropy).decode()


def secret_key(secret: str) -> bytes:
    """The bytes that Standard Webhooks signs with. Raises ``ValueError``, which never quotes the text, when it is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not a webhook secret") from None
    if len(key) != SECRET_BYTES or not secret.startswith(_SECRET_PREFIX):
        raise ValueError("not a webhook secret")
    return key


def delivery_id(webhook_id: str, event_id: str, received_at: int) -> str:
    """The id of an event's delivery to an endpoint: the same whenever it is made, replays included. A version 7 UUID."""
    digest = hashlib.sha256(f"{webhook_id}/{event_id}".encode()).digest()
    return uuid7(received_at, digest[:RANDOM_BYTES])


def event_body(event: StoredEvent) -> bytes:
    """The JSON that tells of an event."""
    return b'{"type":"AUDIT_EVENT_CREATED","timestamp":"%b","data":%b}' % (
        format_time(event.received_at).encode(),
        render(event, verification=False),
    )


def test_body(webhook_id: str, now: int) -> bytes:
    """The JSON of a test, which tells of no event."""
    return b'{"type":"%b","timestamp":"%b","data":{"webhookId":"%b"}}' % (
        TEST_TYPE.encode(),
        format_time(now).encode(),
        webhook_id.encode(),
    )


def signed_headers(secrets: Secrets, *, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that a receiver verifies the body by. ``timestamp`` is in whole seconds since 1970 UTC.

    During an overlap ``webhook-signature`` lists both secrets, the current one first; ``x-hyrelog-signature``, which has
    room for one, stays with the old until the overlap ends.
    """
    signed = b"%b.%d.%b" % (delivery_id.encode(), timestamp, body)
    both = (secrets.current,) if secrets.previous is None else (secrets.current, secrets.previous)
    plain = hmac.digest((secrets.previous or secrets.current).encode(), body, "sha256")
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join([_standard_signature(secret, signed) for secret in both]),
        "x-hyrelog-signature": f"v1={plain.hex()}",
        "x-hyrelog-timestamp": str(timestamp),
        "x-hyrelog-delivery-id": delivery_id,
    }


def _standard_signature(secret: str, signed: bytes) -> str:
    digest = hmac.digest(secret_key(secret), signed, "sha256")
    return "v1," + binascii.b2a_base64(digest, newline=False).decode()


class BadFilter(ValueError):
    """A filter that cannot be; ``field`` says which, in the words of the request."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class _Filtered(Protocol):
    """What filters look at of an event."""

    @property
    def category(self) -> str: ...
    @property
    def action(self) -> str: ...


class Pattern(NamedTuple):
    """A text in which ``*`` stands for any run of characters, none included; cut at its stars."""

    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """The pattern that is written so."""
        return cls(tuple(text.split("*")))

    def fits(self, text: str) -> bool:
        """Whether all of the text fits. Each piece is taken where it first occurs, so no text makes it go back."""
        first, *rest = self.pieces
        if not rest:
            return text == first
        *middle, last = rest
        at, end = len(first), len(text) - len(last)
        if at > end or not (text.startswith(first) and text.endswith(last)):
            return False
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    def __str__(self) -> str:
        """As it was written."""
        return "*".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which events an endpoint is told of: those that fit a pattern of each field. A field without patterns fits all."""

    category: tuple[Pattern, ...] = ()
    action: tuple[Pattern, ...] = ()

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """From JSON, ``{"category": [pattern, …], "action": [pattern, …]}``. Raises ``BadFilter``."""
        unknown = next((name for name in given if name not in _PATTERNS), None)
        if unknown is not None:
            raise BadFilter("filters", "may hold category and action, nothing else")
        return cls(**{name: _parse_patterns(name, given.get(name)) for name in _PATTERNS})

    def matches(self, event: _Filtered) -> bool:
        """Whether the endpoint is to be told of the event."""
        return _any_fits(self.category, event.category) and _any_fits(self.action, event.action)

    def told(self) -> dict[str, list[str]]:
        """For JSON: the fields that have patterns."""
        return {name: [str(each) for each in patterns] for name in _PATTERNS if (patterns := getattr(self, name))}


def _any_fits(patterns: tuple[Pattern, ...], text: str) -> bool:
    return not patterns or any(pattern.fits(text) for pattern in patterns)


def _parse_patterns(name: str, given: object) -> tuple[Pattern, ...]:
    where = f"filters.{name}"
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_PATTERNS:
        raise BadFilter(where, f"must be a list of at most {MAX_PATTERNS} patterns")
    for pattern in given:
        if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN_CHARACTERS or not _PATTERNS[name].fullmatch(pattern):
            raise BadFilter(where, f"a pattern is 1 to {MAX_PATTERN_CHARACTERS} characters of the field's own and *")
        if pattern.count("*") > MAX_STARS:
            raise BadFilter(where, f"a pattern has at most {MAX_STARS} stars")
    return tuple(map(Pattern.of, given))


def next_delay(failures: int, steps: Sequence[float], retry_after: float | None, jitter: float) -> float | None:
    """Seconds from the end of an attempt to the next, or ``None`` when it was the last: ``failures`` of them failed by now.

    ``jitter`` in 0 … 1 adds up to a tenth, so that what failed together does not come back together. The receiver's wish
    (``retry_after``, seconds) counts up to the step after this one.
    """
    if failures > len(steps):
        return None
    step = steps[failures - 1]
    latest = steps[min(failures, len(steps) - 1)]
    return max(step, min(retry_after or 0, latest)) * (1 + _JITTER * jitter)


def parse_retry_after(header: str | None, now: int) -> float | None:
    """Seconds from now that a ``Retry-After`` names (RFC 9110 §10.2.3: seconds, or a date); ``None`` for nonsense."""
    text = (header or "").strip()
    if not text or len(text) > _MAX_RETRY_AFTER_CHARACTERS or not text.isascii():
        return None
    return float(text) if text.isdigit() else _seconds_until(text, now)


def _seconds_until(date: str, now: int) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # A date without a zone is UTC (RFC 9110 §5.6.7's asctime form).
        then = to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, TypeError, IndexError, OverflowError):  # the standard library's parser raises all of them
        return None
    return max(0.0, (then - now) / 1_000_000)
