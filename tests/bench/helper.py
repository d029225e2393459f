"""A helper in a process of its own, so that what it costs is not the bench's: it answers each line of its input with a line of JSON.

It ends when its input does, so it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psutil

_ANSWER_SECONDS = 60.0
_END_SECONDS = 10.0
_MAX_ANSWER_BYTES = 1 << 20


class HelperError(Exception):
    """The helper gave no answer."""


class Helper:
    """The bench's end of it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def ask(self, line: str) -> Any:
        """The helper's answer. Raises ``HelperError``."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await self._process.stdout.readline()
        if not answer:
            raise HelperError(f"a helper ended instead of answering {line!r}; why, it says on stderr")
        return orjson.loads(answer)

    def cpu_seconds(self) -> float:
        """What it has spent so far."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def helper(module: str, *arguments: str) -> AsyncIterator[Helper]:
    """``python -m module arguments``, until the block ends. Raises ``HelperError``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, limit=_MAX_ANSWER_BYTES
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def answer_lines(answer: Callable[[str], Any]) -> None:
    """The helper's end: answer until the input ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        os.write(sys.stdout.fileno(), orjson.dumps(answer(line.decode().strip())) + b"\n")
