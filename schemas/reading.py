"""Avro's numbers and lengths out of bytes that somebody else wrote: never more work than the bytes are long."""

from __future__ import annotations

from typing import Final

from schemas.codec import Undecodable

_MAX_SHIFT: Final = 63


def long_at(buffer: bytes, at: int) -> tuple[int, int]:
    """A zig-zag variable-length integer, and where the next field begins. Raises ``Undecodable``, ``IndexError`` when it is cut."""
    byte = buffer[at]
    value = byte & 0x7F
    shift = 7
    while byte > 0x7F:
        if shift > _MAX_SHIFT:  # a number without an end would take time that grows with its square
            raise Undecodable("a number is longer than 64 bits")
        at += 1
        byte = buffer[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), at + 1


def length_at(buffer: bytes, at: int) -> tuple[int, int]:
    """A length of bytes that lie in the buffer, and where they begin. Raises ``Undecodable``, ``IndexError`` when it is cut."""
    size = buffer[at]
    if size < 0x80:
        at += 1
    elif (high := buffer[at + 1]) < 0x80:
        size = size & 0x7F | high << 7
        at += 2
    else:
        size, at = long_at(buffer, at)
        size = size << 1 ^ size >> 63
    if size & 1 or at + (size >> 1) > len(buffer):  # odd: a negative length
        raise Undecodable("a length points beyond the record")
    return size >> 1, at


def data_at(buffer: bytes, at: int) -> tuple[bytes, int]:
    """Avro's ``bytes`` or ``string``, and where the next field begins. Raises as ``length_at``."""
    size, at = length_at(buffer, at)
    return buffer[at : at + size], at + size
