"""The commands of a document, run as they stand: every fenced ``bash`` block, from top to bottom, as a reader would in one terminal.

What a block needs and what comes of it may stand in an HTML comment right above it, which no reader sees; several are separated by
semicolons (so no value holds one)::

    <!-- needs: the broker is gone; exit: 1; expect: not stored; within: 30 -->

========== ============================================================================================================================
needs      Something that the test does before the block; the same words are the key in ``walk``'s ``prepare``.
exit       The block's exit code, 0 when not said. A block ends at its first command that fails (``set -euo pipefail``).
expect     A piece of what the block prints, on either stream; may stand more than once.
within     The block is run again until it ends and prints as it should, for so many seconds at most: what a reader repeats by hand.
========== ============================================================================================================================

Exported or not, a variable that a block sets is there in the next one, and so are functions and the working directory. Blocks in another
language (``text``, ``yaml``) are not run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from ops.local.envfile import FILE, read_env
from ops.local.environment import inherited
from ops.local.process import wait_for
from ops.local.state import State

ROOT = Path(__file__).parents[2]
BLOCK_SECONDS = 120.0
"""No block may take longer, whatever it waits for."""
_FENCE = re.compile(r"^```bash\n(?P<script>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--\s*(?P<said>[^>]*?)\s*-->\n\n?$")
_KINDS = ("needs", "exit", "expect", "within")
# What a block leaves to the next one. Everything it sets is exported (set -a), so that this has it.
_KEEPING = """\
. "$KEPT"
trap '{ export -p; declare -f; printf "cd %q\\n" "$PWD"; } >"$KEPT"' EXIT
set -aeuo pipefail
"""


class CommandFailed(AssertionError):
    """A block did not end, or did not print, as the document says. The message shows the block, its exit code and its output."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``line`` is where it begins in its document, counted from 1."""

    document: Path
    line: int
    script: str
    needs: str | None = None
    exit: int = 0
    expect: tuple[str, ...] = ()
    within: float = 0.0

    @property
    def place(self) -> str:
        """``ops/docs/operations.md:17``."""
        return f"{self.document}:{self.line}"


def blocks(document: Path) -> list[Block]:
    """The ``bash`` blocks of a Markdown file in their order. Raises ``ValueError`` for a comment that says what no block can be told."""
    text = document.read_text()
    return [_block(document, text, found) for found in _FENCE.finditer(text)]


def _block(document: Path, text: str, found: re.Match[str]) -> Block:
    line = text.count("\n", 0, found.start()) + 1
    comment = _COMMENT.search(text, 0, found.start())
    said: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for pair in comment["said"].split(";") if comment else ():
        kind, _, value = (part.strip() for part in pair.partition(":"))
        if kind not in said or not value or (said[kind] and kind != "expect"):
            raise ValueError(f"{document}:{line}: no block can be told {pair.strip()!r}")
        said[kind].append(value)
    return Block(
        document,
        line,
        found["script"],
        needs=said["needs"][0] if said["needs"] else None,
        exit=int(said["exit"][0]) if said["exit"] else 0,
        expect=tuple(said["expect"]),
        within=float(said["within"][0]) if said["within"] else 0.0,
    )


def stack_environ(state: State, programs: Path | None = None) -> dict[str, str]:
    """What a terminal has in which somebody works on that stack: ``hyrelog`` and ``python``, ``HYRELOG_STATE`` and what ``demo.env`` holds.

    ``programs`` is a directory of more commands, PostgreSQL's for example.
    """
    path = [str(Path(sys.executable).parent), *([str(programs)] if programs else []), os.environ["PATH"]]
    return {
        **inherited(),
        "HYRELOG_STATE": str(state.root),
        **read_env(state.root / FILE),
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(ROOT),  # these sources, wherever the environment's `hyrelog` was installed from
        "COLUMNS": "200",
    }


class Shell:
    """A terminal's worth of state: blocks run in it one after the other, from ``cwd`` on. Closed, nothing of what they started runs on,
    but for what took a session of its own, as the parts of a stack do.
    """

    def __init__(self, environ: Mapping[str, str], cwd: Path = ROOT) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hyrelog-commands-")
        self._kept = Path(self._directory.name) / "kept"
        self._kept.write_text(f"cd {shlex.quote(str(cwd))}\n")
        self._environ = {**environ, "KEPT": str(self._kept)}
        self._sessions: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for session in self._sessions:
            _end(session)
        self._directory.cleanup()

    def set(self, **variables: str) -> None:
        """Set variables, as a block may."""
        with self._kept.open("a") as kept:
            kept.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())

    def run(self, block: Block, seconds: float = BLOCK_SECONDS) -> str:
        """Run a block; what it printed, both streams as they came. Raises :class:`CommandFailed`."""
        code, output = self._once(block.script, seconds)

        def is_good() -> bool:
            return code == block.exit and all(piece in output for piece in block.expect)

        def is_good_now() -> bool:
            nonlocal code, output
            code, output = self._once(block.script, seconds)
            return is_good()

        if is_good() or (block.within and wait_for(is_good_now, block.within)):
            return output
        missing = "".join(f"\nnot printed: {piece}" for piece in block.expect if piece not in output)
        raise CommandFailed(
            f"{block.place}: exit code {code} (expected {block.exit}) of\n\n{block.script}\nwhich printed\n\n{output}{missing}"
        )

    def _once(self, script: str, seconds: float) -> tuple[int | str, str]:
        """Its exit code, or that it did not end; and its output, by way of a file: what runs on behind it would hold a pipe open."""
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(
                ["bash", "-c", _KEEPING + script],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._sessions.append(process.pid)
            code: int | str
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                _end(process.pid)
                process.wait()
                code = f"none within {seconds:.0f} s"
            output.seek(0)
            return code, output.read()


def walk(document: Path, shell: Shell, prepare: Mapping[str, Callable[[], object]]) -> Iterator[tuple[Block, str]]:
    """Run all blocks of a document, doing before each what it ``needs``. Yields each with what it printed.

    Raises :class:`CommandFailed`, also for a need that nobody knows, and for one that no block has.
    """
    found = blocks(document)
    needed = {block.needs for block in found if block.needs}
    if needed != prepare.keys():
        raise CommandFailed(f"{document}: its blocks need {sorted(needed)}, and the test prepares {sorted(prepare)}")
    for block in found:
        if block.needs:
            prepare[block.needs]()
        yield block, shell.run(block)


def _end(session: int) -> None:
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                process.send_signal(signal.SIGKILL)
        except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
            continue
