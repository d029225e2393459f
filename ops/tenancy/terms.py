"""What a registry takes and gives: kinds of things with an id, and keys."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from schemas.event import format_time, to_micros
from schemas.keys import ENTROPY_BYTES, Scope

Entropy = Callable[[Scope], bytes]


class Kind(StrEnum):
    """What has an id."""

    COMPANY = "company"
    WORKSPACE = "workspace"
    PROJECT = "project"
    KEY = "key"


class Key(NamedTuple):
    """A new key. Its text is stored nowhere."""

    id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key is called, from where it may be used (anywhere when empty), and until when."""

    name: str
    allowlist: Sequence[str] = ()
    expires_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        """As an entry of the audit tells them, the API's alike."""
        return {"expiresAt": time_of(self.expires_at), "ipAllowlist": list(self.allowlist)}


def time_of(time: datetime | None) -> str | None:
    """A time as the API tells it."""
    return None if time is None else format_time(to_micros(time))


def random_entropy(_scope: Scope) -> bytes:
    """24 bytes for a new key."""
    return secrets.token_bytes(ENTROPY_BYTES)
