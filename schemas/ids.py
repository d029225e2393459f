"""Event ids: UUID version 7 (RFC 9562 §5.7), so that they sort by the time of receipt and indexes grow at one end."""

from __future__ import annotations

RANDOM_BYTES = 10


def uuid7(micros: int, randomness: bytes) -> str:
    """A version 7 UUID of a time (its milliseconds count) and ``RANDOM_BYTES`` of randomness, lower case."""
    r = randomness.hex()
    t = f"{micros // 1000:012x}"
    variant = "89ab"[randomness[1] & 3]
    return f"{t[:8]}-{t[8:12]}-7{r[:3]}-{variant}{r[4:7]}-{r[8:20]}"
