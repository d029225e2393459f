"""Events with idempotency keys under faults: sent again until they are answered, raced, contradicted; and what must become of them."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.faults.ledger import Outcome, Request

if TYPE_CHECKING:
    from tests.faults.checker import Verdict
    from tests.faults.load import Account, Client

_TRIES = 4
_RACE_SHARE, _RIVAL_SHARE = 0.3, 0.15
_PAUSE_SECONDS = 0.3
_CONFLICT = "IDEMPOTENCY_CONFLICT"


def bodies(request: Request, event: Any) -> list[dict[str, Any]]:
    """The request's events, made by ``event`` of each marker."""
    return [event(marker, idempotencyKey=key) for marker, key in zip(request.markers, request.keys, strict=True)]


async def insist(poster: Client, account: Account, rng: random.Random, events: int, event: Any) -> Request:
    """Send events with keys until they are answered, sometimes twice at once, sometimes followed by others under the same key."""
    request = poster.ledger.sent(account.workspace_id, events, is_keyed=True)
    sent = bodies(request, event)
    body = sent if events > 1 else sent[0]
    racing = [request, poster.ledger.again(request)] if rng.random() < _RACE_SHARE else [request]
    ended = await asyncio.gather(*(poster.send(account, each, body) for each in racing))
    for _ in range(_TRIES):
        if all(each.outcome is not Outcome.UNKNOWN for each in ended):
            break
        await asyncio.sleep(_PAUSE_SECONDS)
        ended = [await poster.send(account, poster.ledger.again(request), body)]
    if events == 1 and rng.random() < _RIVAL_SHARE:
        rival = poster.ledger.rival(request)
        await poster.send(account, rival, bodies(rival, event)[0])
    return ended[-1]


def check(
    requests: Iterable[Request],
    found: Mapping[str, Sequence[str]],
    rejected: Mapping[str, str],
    aliases: Mapping[str, str],
    verdict: Verdict,
) -> None:
    """One event a key, and every id that was ever told leads to it, or is rejected for another one's sake.

    ``found`` holds the ids of stored events by marker, ``aliases`` the id that each leads to.
    """
    sendings: defaultdict[tuple[str, ...], list[Request]] = defaultdict(list)
    markers_of: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for request in requests:
        sendings[request.markers].append(request)
        for marker, key in zip(request.markers, request.keys, strict=True):
            markers_of[request.workspace_id, key].add(marker)
    for (_, key), markers in markers_of.items():
        stored = [event_id for marker in markers for event_id in found.get(marker, ())]
        if len(stored) > 1:
            verdict.blame(f"key {key} stands for {len(stored)} events: {stored}")
    for sent, group in sendings.items():
        _check_sendings(sent, group, found, verdict)
        for request in group:
            _check_answer(request, found, rejected, aliases, markers_of, verdict)
    verdict.counts["events under a key"] += len(markers_of)
    verdict.counts["aliases"] += len(aliases)


def _check_sendings(markers: tuple[str, ...], group: Sequence[Request], found: Mapping[str, Sequence[str]], verdict: Verdict) -> None:
    counts = [len(found.get(marker, ())) for marker in markers]
    if min(counts) != max(counts):
        verdict.blame(f"a batch under keys is stored in part: {markers[0]} {counts}")
    if max(counts) and all(each.outcome is Outcome.REFUSED for each in group):
        verdict.blame(f"refused and stored: {markers[0]}")
    if len(group) > 1:
        verdict.counts["requests sent again under their key"] += len(group) - 1


def _check_answer(
    request: Request,
    found: Mapping[str, Sequence[str]],
    rejected: Mapping[str, str],
    aliases: Mapping[str, str],
    markers_of: Mapping[tuple[str, str], set[str]],
    verdict: Verdict,
) -> None:
    rivals = [markers_of[request.workspace_id, key] - {marker} for marker, key in zip(request.markers, request.keys, strict=True)]
    if request.answer == "409" and not any(rivals):
        verdict.blame(f"a conflict without another content: {request.markers[0]}")
    if request.answer.isdigit() and request.answer not in ("200", "202", "409", "503"):
        verdict.blame(f"{request.markers[0]}: no fault explains the answer {request.answer}")
    if request.outcome is not Outcome.ACCEPTED:
        return
    for marker, told, others in zip(request.markers, request.ids, rivals, strict=True):
        stored = found.get(marker, ())
        is_beaten = rejected.get(told) == _CONFLICT and any(found.get(other) for other in others)
        if told not in stored and aliases.get(told) not in stored and not is_beaten:
            verdict.blame(f"accepted event {marker} was told id {told}, which leads nowhere; stored are {list(stored)}")
