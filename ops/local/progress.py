"""Tells the person at the terminal what goes on; says the same in plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


class Progress(Protocol):
    """Reports steps, which may overlap."""

    def step(self, name: str) -> AbstractContextManager[object]:
        """Show the step as going on until the block ends."""
        ...


class Silent:
    """Says nothing."""

    def step(self, name: str) -> AbstractContextManager[object]:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return nullcontext()


class Lines:
    """One line when a step has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print the step and how long it took."""
        begun = time.monotonic()
        yield
        self._console.print(f"{name}: ready after {time.monotonic() - begun:.1f} s", highlight=False)


class Spinners:
    """A spinner for each step that goes on."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Spin until the block ends, then show a tick."""
        task = self._bars.add_task(name, total=1)
        yield
        self._bars.update(task, completed=1)


@contextmanager
def shown(console: Console) -> Iterator[Progress]:
    """Spinners on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        yield Spinners(bars)
