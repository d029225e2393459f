"""From a body to checked events: JSON, a JSON array, or NDJSON; every finding names its event and field."""

from __future__ import annotations

import asyncio
from typing import Any

from schemas.canonical import InvalidJson, check_duplicates, may_have_duplicates, parse
from schemas.incoming import (
    MAX_BATCH_CANONICAL_BYTES,
    MAX_BATCH_EVENTS,
    EventTooLarge,
    IncomingEvent,
    InvalidEvent,
    field_name,
    read,
)
from schemas.problems import Detail, PayloadTooLarge, ValidationFailed, invalid

_MAX_DETAILS = 20
_EVENTS_PER_TURN = 50
_BYTES_PER_TURN = 32 << 10
_BYTES_PER_EVENT = 500


def single(body: bytes, now: int) -> IncomingEvent:
    """The one event of a body. Raises ``ValidationFailed``, ``PayloadTooLarge``."""
    try:
        event = read(parse(body), now)
        check_duplicates(body, event.colons)
    except InvalidJson as error:
        raise invalid(field_name(error.path), error.message) from None
    except InvalidEvent as error:
        raise ValidationFailed(details=tuple(Detail(message, field) for field, message in error.findings[:_MAX_DETAILS])) from None
    except EventTooLarge as error:
        raise PayloadTooLarge(_sentence(error)) from None
    return event


async def batch(body: bytes, now: int) -> list[IncomingEvent]:
    """The events of a JSON array. Raises as ``single``, each detail with its event's index."""
    try:
        values = parse(body)
    except InvalidJson as error:
        raise invalid(None, error.message) from None
    if type(values) is not list:
        raise invalid(None, "the body must be a JSON array of events")
    events = await _read_all(values, now)
    colons = sum(event.colons for event in events)
    try:
        if may_have_duplicates(body, colons):
            await asyncio.to_thread(check_duplicates, body, colons)  # up to seconds, which nobody else shall wait
    except InvalidJson as error:
        if not error.path:  # too deep to say where
            raise invalid(None, error.message) from None
        index, *path = error.path
        raise invalid(field_name(tuple(path)), error.message, int(index)) from None
    return events


async def lines(body: bytes, now: int) -> list[IncomingEvent]:
    """The events of NDJSON: one a line, empty lines skipped. Raises as ``batch``."""
    texts = [line for line in body.split(b"\n") if not line.isspace() and line]
    _check_count(len(texts))
    values = []
    for index, line in enumerate(texts):
        try:
            values.append(parse(line))
        except InvalidJson as error:
            raise invalid(None, error.message, index) from None
    events = await _read_all(values, now)
    for index, (line, event) in enumerate(zip(texts, events, strict=True)):
        if index % _EVENTS_PER_TURN == _EVENTS_PER_TURN - 1:
            await asyncio.sleep(0)
        try:
            check_duplicates(line, event.colons)
        except InvalidJson as error:
            raise invalid(field_name(error.path), error.message, index) from None
    return events


async def _read_all(values: list[Any], now: int) -> list[IncomingEvent]:
    _check_count(len(values))
    events: list[IncomingEvent] = []
    details: list[Detail] = []
    turn = 0
    for index, value in enumerate(values):
        if turn > _BYTES_PER_TURN:
            await asyncio.sleep(0)  # a large batch must not keep all others waiting
            turn = 0
        try:
            events.append(event := read(value, now))
            turn += event.size + _BYTES_PER_EVENT
        except InvalidEvent as error:
            details += [Detail(message, field, index) for field, message in error.findings]
        except EventTooLarge as error:
            raise PayloadTooLarge(_sentence(error), details=(Detail(str(error), None, index),)) from None
    if details:
        raise ValidationFailed(details=tuple(details[:_MAX_DETAILS]))
    if sum(event.size for event in events) > MAX_BATCH_CANONICAL_BYTES:
        raise PayloadTooLarge(f"The batch must not be larger than {MAX_BATCH_CANONICAL_BYTES >> 20} MiB in canonical form")
    return events


def _check_count(count: int) -> None:
    if not count:
        raise invalid(None, "a batch must hold at least one event")
    if count > MAX_BATCH_EVENTS:
        raise PayloadTooLarge(f"A batch must not hold more than {MAX_BATCH_EVENTS:,} events")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[0].upper() + text[1:]
