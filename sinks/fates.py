"""What can become of an event in a sink: it is taken, tried again later, or put aside for good."""

from __future__ import annotations


class Retry(Exception):
    """Not now: try the same events again after so many seconds. Nothing behind them is taken before."""

    def __init__(self, after: float) -> None:
        super().__init__(f"again after {after} s")
        self.after = after


class Dead(Exception):
    """Never: the reason is kept as a dead letter, and the sink goes on behind it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
