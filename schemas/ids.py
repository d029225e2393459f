"""Ids: UUIDs in lower case; ours are of version 7 (RFC 9562 §5.7), so that they sort by time and indexes grow at one end."""

from __future__ import annotations

import re

RANDOM_BYTES = 10
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
"""An id in text, as a regular expression; ``UUID_BYTES`` is the same for bytes."""
UUID_BYTES = UUID.encode()
is_uuid = re.compile(UUID).fullmatch
is_ours = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
"""Whether it is of version 7, as all ids that we make are: its time can be told."""


def uuid7(micros: int, randomness: bytes) -> str:
    """A version 7 UUID of a time (its milliseconds count) and ``RANDOM_BYTES`` of randomness, lower case."""
    r = randomness.hex()
    t = f"{micros // 1000:012x}"
    variant = "89ab"[randomness[1] & 3]
    return f"{t[:8]}-{t[8:12]}-7{r[:3]}-{variant}{r[4:7]}-{r[8:20]}"


def received_at(event_id: str) -> int:
    """The time of a version 7 UUID in microseconds, to the millisecond."""
    return int(event_id[:8] + event_id[9:13], 16) * 1000
