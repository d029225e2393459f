"""What a store says of an object's restoration, and what the simulated Glacier keeps of one."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, Self

import orjson

from ops.objects.upload import EPOCH

COLD_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""S3's storage classes whose objects can't be read before they are restored."""
_HEADER: Final = re.compile(r'ongoing-request="(?:(true)|false", expiry-date="([^"]*))"').fullmatch
_DAY_MICROS: Final = 86_400_000_000


class Restoration(NamedTuple):
    """Of an object out of cold storage: under way, or done until it expires."""

    ongoing: bool
    expires_at: int | None
    """In microseconds; ``None`` while it is under way."""


def parse_restoration(header: str) -> Restoration:
    """Out of S3's header ``x-amz-restore``. Raises ``ValueError`` for what is none."""
    found = _HEADER(header.strip())
    if found is None:
        raise ValueError(f"x-amz-restore is {header!r}")
    if found[1] is not None:
        return Restoration(True, None)
    moment = parsedate_to_datetime(found[2])  # of HTTP's form (RFC 9110 §5.6.7), which is always GMT
    return Restoration(False, (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1))


class Frozen(NamedTuple):
    """An object in the simulated Glacier, and its restoration if one was asked for. Times are in microseconds."""

    ready_at: int | None = None
    expires_at: int | None = None

    def restoration(self, now: int) -> Restoration | None:
        """As S3 would tell of it; ``None`` when there is none, or it is over."""
        if self.ready_at is None or self.expires_at is None or now >= self.expires_at:
            return None
        return Restoration(True, None) if now < self.ready_at else Restoration(False, self.expires_at)

    def asked(self, now: int, *, days: int, micros: int) -> Frozen:
        """After somebody asked for it: done ``micros`` later, or as it is while under way, or if it is done, ending ``days`` from now."""
        found = self.restoration(now)
        if found is None:
            return Frozen(now + micros, now + micros + days * _DAY_MICROS)
        return self if found.ongoing else Frozen(self.ready_at, now + days * _DAY_MICROS)

    def written(self) -> bytes:
        """As it is kept."""
        return orjson.dumps(self._asdict())

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The same again."""
        return cls(**orjson.loads(body))
