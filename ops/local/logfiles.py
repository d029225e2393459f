"""``hyrelog logs``: what the parts wrote, and what they go on writing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

from ops.local.state import State

_LINES = 50
_POLL_SECONDS = 0.2


def show(state: State, part: str | None, *, follow: bool) -> None:
    """Print the last lines of one part or of all; with ``follow`` until interrupted."""
    found = [path for path in sorted((state.root / "log").glob("*.log")) if part in (None, path.stem)]
    if not found:
        raise SystemExit(f"hyrelog: no log of {part or 'any part'} in {state.root / 'log'}")
    files = [(path.stem, _tail(path)) for path in found]
    try:
        while _print_new(files) or follow:
            time.sleep(_POLL_SECONDS if follow else 0)
    except KeyboardInterrupt:
        return


def _tail(path: Path) -> TextIO:
    """The file, opened where its last lines begin."""
    file = path.open(errors="replace")
    starts = []
    while True:
        starts.append(file.tell())
        if not file.readline():
            break
    file.seek(starts[max(0, len(starts) - 1 - _LINES)])
    return file


def _print_new(files: list[tuple[str, TextIO]]) -> bool:
    """Print every whole line there is by now; whether there was one."""
    printed = False
    for name, file in files:
        for line in iter(file.readline, ""):
            prefix = f"{name:<12} " if len(files) > 1 else ""
            sys.stdout.write(prefix + line)
            printed = True
    sys.stdout.flush()
    return printed
