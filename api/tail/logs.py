"""What the logs of all channels of a process share: how much they may hold, in all and each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from api.tail.position import Positions


class Log(Protocol):
    """A channel's."""

    bytes_held: int

    def forget_half(self) -> None:
        """Drop the older half of it. Its readers that needed that are cut off, or read again what is stored."""


@dataclass
class Logs:
    """``size`` is how many events may wait for a client, ``most`` how many bytes all logs may hold."""

    positions: Positions
    size: int
    most: int
    held: int = 0
    logs: set[Log] = field(default_factory=set)

    def add(self, log: Log) -> None:
        """Count it from now on."""
        self.logs.add(log)

    def drop(self, log: Log) -> None:
        """Count it no more."""
        if log in self.logs:
            self.logs.discard(log)
            self.held -= log.bytes_held

    def count(self, log: Log, more: int) -> None:
        """It holds so many bytes more, or less."""
        log.bytes_held += more
        if log in self.logs:
            self.held += more
            if more > 0 and self.held > self.most:
                self._forget()

    def _forget(self) -> None:
        """Go well below the most, from the largest on, so that this is seldom needed."""
        for log in sorted(self.logs, key=lambda log: log.bytes_held, reverse=True):
            if self.held <= self.most * 7 // 8:
                return
            log.forget_half()
