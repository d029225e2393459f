"""What a producer may post (contract §2, "The event" and "Ingest"): one checked event, or why not.

One function, ``read``, is the whole rule book. Its happy path is straight-line code, since every
event passes it; findings are only collected where something is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from schemas.canonical import InvalidJson, Path, encode
from schemas.event import to_micros
from schemas.ids import is_uuid

MAX_BODY_BYTES = 256 << 10
MAX_EVENT_BYTES = 128 << 10
MAX_BATCH_BYTES = 5 << 20
MAX_BATCH_EVENTS = 1000
MAX_BATCH_CANONICAL_BYTES = 10 << 20
MAX_AHEAD_MICROS = 24 * 3600 * 1_000_000
MAX_EXTRACTED_BYTES = 255
MAX_TENANT_CHARACTERS = 128

_FIELDS = frozenset(
    ("timestamp", "projectId", "tenantId", "category", "action", "outcome", "actor", "resource", "metadata", "idempotencyKey")
)
_CATEGORY = re.compile(r"[a-z][a-z0-9._-]{0,63}").fullmatch
_ACTION = re.compile(r"[A-Za-z0-9._:/-]{1,128}").fullmatch
is_idempotency_key = re.compile(r"[\x20-\x7e]{1,255}").fullmatch
_TENANT = re.compile(rf".{{1,{MAX_TENANT_CHARACTERS}}}", re.DOTALL).fullmatch
_OUTCOME = re.compile("SUCCESS|FAILURE|DENIED").fullmatch
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII).fullmatch
# Members of a group that are also kept as columns to filter by.
_EXTRACTED = {"actor": ("id", "type", "email", "role"), "resource": ("type", "id"), "metadata": ()}
KEY_RULE = "must be 1 to 255 printable ASCII characters"

Finding = tuple[str | None, str]
Match = Callable[[str], re.Match[str] | None]


class InvalidEvent(ValueError):
    """The event breaks one or more rules. ``findings`` are (field, message), in the order of the rules."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(findings)
        self.findings = findings


class EventTooLarge(ValueError):
    """The event's canonical form is larger than ``MAX_EVENT_BYTES``."""

    def __init__(self) -> None:
        super().__init__(f"an event must not be larger than {MAX_EVENT_BYTES >> 10} KiB in canonical form")


@dataclass(slots=True)
class IncomingEvent:
    """A checked event as posted. Groups are canonical JSON; ``timestamp`` is in microseconds, ``None``: time of receipt."""

    category: str
    action: str
    timestamp: int | None
    project_id: str | None
    tenant_id: str | None
    outcome: str | None
    actor: bytes | None
    resource: bytes | None
    metadata: bytes | None
    actor_id: str | None
    actor_email: str | None
    resource_type: str | None
    resource_id: str | None
    idempotency_key: str | None
    size: int
    """Bytes of its canonical form."""
    colons: int
    """``:`` in its canonical form, for ``canonical.check_duplicates``."""
    content: bytes
    """Its canonical form without the key: what two events under one key are compared by."""


def read(value: Any, now: int) -> IncomingEvent:
    """Check one parsed event against every rule; ``now`` is the time of receipt in microseconds.

    Raises ``InvalidEvent``, ``EventTooLarge``.
    """
    if type(value) is not dict:
        raise InvalidEvent([(None, "an event must be a JSON object")])
    try:
        text, write = encode(value)
    except InvalidJson as error:
        raise InvalidEvent([(field_name(error.path), error.message)]) from None
    if len(text) > MAX_EVENT_BYTES:
        raise EventTooLarge
    found: list[Finding] = []
    if not _FIELDS.issuperset(value):
        found += [(field_name((key,)), "unknown field") for key in value if key not in _FIELDS]
    get = value.get
    actor = _group(get("actor"), "actor", found)
    resource = _group(get("resource"), "resource", found)
    metadata = _group(get("metadata"), "metadata", found)
    event = IncomingEvent(
        category=_required(get("category"), "category", _CATEGORY, "must match ^[a-z][a-z0-9._-]{0,63}$", found),
        action=_required(get("action"), "action", _ACTION, "must be 1 to 128 of A-Z a-z 0-9 . _ : / -", found),
        timestamp=_time(get("timestamp"), now, found),
        project_id=_optional(get("projectId"), "projectId", is_uuid, "must be a lower-case UUID", found),
        tenant_id=_optional(get("tenantId"), "tenantId", _TENANT, f"must be 1 to {MAX_TENANT_CHARACTERS} characters", found),
        outcome=_optional(get("outcome"), "outcome", _OUTCOME, "must be SUCCESS, FAILURE or DENIED", found),
        actor=None if actor is None else write(actor),
        resource=None if resource is None else write(resource),
        metadata=None if metadata is None else write(metadata),
        actor_id=actor.get("id") if actor else None,
        actor_email=actor.get("email") if actor else None,
        resource_type=resource.get("type") if resource else None,
        resource_id=resource.get("id") if resource else None,
        idempotency_key=_optional(get("idempotencyKey"), "idempotencyKey", is_idempotency_key, KEY_RULE, found),
        size=len(text),
        colons=text.count(b":"),
        content=write({name: value[name] for name in value if name != "idempotencyKey"}) if "idempotencyKey" in value else text,
    )
    if found:
        raise InvalidEvent(found)
    return event


def field_name(path: Path) -> str | None:
    """``metadata.items[3].price`` for the path to a value; ``None`` for the root."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.removeprefix(".")[:256] or None


def parse_time(text: str) -> int:
    """Microseconds of an RFC 3339 time with an offset and at most six decimals. Raises ``ValueError``."""
    if not _TIME(text):
        raise ValueError("must be RFC 3339 with an offset and at most six decimals")
    try:
        # Through UTC, so that an offset can't carry a time over the edge of the calendar.
        return to_micros(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists between the years 1 and 9999") from None


def _required(value: Any, field: str, match: Match, rule: str, found: list[Finding]) -> str:
    if type(value) is str and match(value):
        return value
    found.append((field, "is required" if value is None else rule))
    return ""


def _optional(value: Any, field: str, match: Match, rule: str, found: list[Finding]) -> str | None:
    if value is None or (type(value) is str and match(value)):
        return value
    found.append((field, rule))
    return None


def _time(value: Any, now: int, found: list[Finding]) -> int | None:
    if value is None:
        return None
    try:
        micros = parse_time(value if type(value) is str else "")
    except ValueError as error:
        found.append(("timestamp", str(error)))
        return None
    if micros > now + MAX_AHEAD_MICROS:
        found.append(("timestamp", "lies more than 24 hours ahead"))
    return micros


def _group(value: Any, name: str, found: list[Finding]) -> dict[str, Any] | None:
    if value is None:
        return None
    if type(value) is not dict:
        found.append((name, "must be a JSON object"))
        return None
    for member in _EXTRACTED[name]:
        text = value.get(member)
        if text is None:
            continue
        if type(text) is not str:
            found.append((f"{name}.{member}", "must be a string"))
        elif len(text) * 4 > MAX_EXTRACTED_BYTES and len(text.encode()) > MAX_EXTRACTED_BYTES:
            found.append((f"{name}.{member}", f"is longer than {MAX_EXTRACTED_BYTES} bytes of UTF-8"))
    if type(value.get("name", "")) not in (str, NoneType) and name != "metadata":
        found.append((f"{name}.name", "must be a string"))
    return value
