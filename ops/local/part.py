"""What the stack knows of each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack.

    ``command`` makes the part's files and returns its arguments; it runs before every start, when the
    part is down, so it may also clear what a killed predecessor left behind. ``ready`` never raises.
    """

    name: str
    command: Callable[[], Sequence[str]]
    ready: Callable[[], bool]
    cwd: Path
    ports: tuple[str, ...] = ()  # names of its ports; the first one is where it serves
    environ: Callable[[], Mapping[str, str]] = field(default=dict)
    user: str | None = None
    stop_signal: Signals = SIGTERM
    stop_seconds: float = 30.0
    ready_seconds: float = 60.0
