"""In which order a company's stored events are told: in each partition as they lay there, across partitions by when they were received."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from api.tail.position import Place


class Key(NamedTuple):
    """A stored event without what it says."""

    workspace_id: str
    seq: int
    partition: int
    place: Place
    received_at: int
    is_asked: bool
    size: int = 0
    """Of what it says, in bytes."""


class Most(NamedTuple):
    """How much a page holds: so many keys, and of what is asked for so many events and bytes, but one event at least."""

    keys: int
    events: int
    size: int

    def cut(self, keys: list[Key], is_told: Callable[[Key], bool]) -> list[Key]:
        """The first of the keys, as many as fit."""
        events = size = 0
        for number, key in enumerate(keys[: self.keys]):
            if not is_told(key):
                continue
            events, size = events + 1, size + key.size
            if events > self.events or (size > self.size and events > 1):
                return keys[:number]
        return keys[: self.keys]


def merged(keys: Iterable[Key], limit: int) -> tuple[list[Key], bool]:
    """The keys that can be told now, in the order of telling, and whether these are all there are.

    ``keys`` are the next ones of each workspace, in order of seq; of a workspace with ``limit`` of them there may be more. A
    position names one place a partition, so nothing may be told before what lies in front of it there, of any workspace.
    """
    found: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        found[key.workspace_id].append(key)
    known_up_to: dict[int, Place] = {}
    for ours in found.values():
        last = ours[-1]
        if len(ours) >= limit:
            known_up_to[last.partition] = min(last.place, known_up_to.get(last.partition, last.place))
    by_partition: dict[int, list[Key]] = defaultdict(list)
    for ours in found.values():
        for key in ours:
            if key.partition not in known_up_to or key.place <= known_up_to[key.partition]:
                by_partition[key.partition].append(key)
    queues = [sorted(queue, key=lambda key: key.place) for queue in by_partition.values()]
    return list(heapq.merge(*queues, key=lambda key: key.received_at)), not known_up_to
