"""The event as it is stored and sent out: one chained event with everything a verifier needs (contract §2, §5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

LEAF_VERSION = 1
SALT_BYTES = 16
GROUPS = ("actor", "resource", "context", "metadata")

FIRST_TIME, LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Group:
    """One of the four groups that may hold personal data.

    ``sealed`` is salt (16 bytes) ‖ canonical JSON, the preimage of ``commitment`` (32 bytes, SHA-256);
    ``None`` once the group was erased. An absent group is no ``Group`` at all but ``None``.
    """

    commitment: bytes
    sealed: bytes | None

    @property
    def salt(self) -> bytes | None:
        """16 random bytes, or ``None`` when erased."""
        return None if self.sealed is None else self.sealed[:SALT_BYTES]

    @property
    def value(self) -> bytes | None:
        """The exact canonical JSON (RFC 8785) that was committed to, or ``None`` when erased."""
        return None if self.sealed is None else self.sealed[SALT_BYTES:]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One link of a workspace's chain. Ids are lower-case UUIDs, times are microseconds since 1970 UTC."""

    seq: int
    prev_hash: bytes
    hash: bytes
    source_offset: int
    source_index: int
    id: str
    company_id: str
    workspace_id: str
    project_id: str | None
    tenant_id: str | None
    data_region: str
    timestamp: int
    received_at: int
    category: str
    action: str
    outcome: str | None
    trace_id: str
    actor: Group | None
    resource: Group | None
    context: Group | None
    metadata: Group | None
    erased_at: int | None = None
    v: int = LEAF_VERSION


def format_time(micros: int) -> str:
    """``2026-01-31T09:30:00.000000Z``: six decimals and Z, everywhere (contract §2)."""
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{_format_second(seconds)}.{fraction:06d}Z"


@lru_cache(maxsize=4096)
def _format_second(seconds: int) -> str:
    # Times of receipt share their seconds by the thousand; without the cache this costs 1 µs, thrice an event.
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(timespec="seconds")


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime, exactly (no float in between)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
