"""Fetching one export into one file, however often the way there breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

from ops.client import Interrupted, Refused
from ops.export.api import Api, NotYet
from ops.export.part import Origin, Part
from ops.verify.manifest import Manifest, differences

MOST_FAILURES: Final = 10
"""In a row, without a byte or an answer in between."""
_LONGEST_WAIT_SECONDS = 30.0
_FLUSH_BYTES: Final = 8 << 20
Answer = TypeVar("Answer")


class Fetch:
    """One export on its way into a file."""

    def __init__(
        self,
        api: Api,
        part: Part,
        server: str,
        asked: Mapping[str, Any],
        *,
        say: Callable[[str], None],
        show: Callable[[int, int | None], None],
        wait_seconds: float = 1.0,
    ) -> None:
        """``asked`` is the body of the request that makes the export. ``say`` is told what happens to connections, ``show`` bytes and rows
        so far. ``wait_seconds``: before the first try after a failure, and twice as much after each next one.
        """
        self._api = api
        self._part = part
        self._server = server
        self._asked = asked
        self._say = say
        self._show = show
        self._wait_seconds = wait_seconds
        self._failures = 0

    async def run(self) -> dict[str, Any]:
        """The file is there, and is what its manifest says, when this returns the manifest. Raises ``Refused``."""
        job_id = await self._begin()
        for last in (False, True):
            if not self._part.size or not await self._patiently(lambda: self._is_whole(job_id)):
                await self._patiently(lambda: self._download(job_id))
            manifest = await self._patiently(lambda: self._end(job_id))
            wrong = self._difference(manifest)
            if wrong is None:
                self._part.finish(manifest)
                return manifest
            if not last:
                self._say(f"what came is not the export: {wrong}; beginning again")
            self._part.restart()
        raise Refused(f"what came is not the export, twice: {wrong}")

    def _difference(self, manifest: Manifest) -> str | None:
        part = self._part
        found = differences(manifest, rows=part.counter.rows, size=part.size, sha256=part.sha256)
        return next((f"{name} {message}" for name, message in found), None)

    async def _begin(self) -> str:
        """The export whose bytes are there already; else a new one."""
        origin = self._part.origin()
        if origin is None or self._part.size == 0:
            return await self._make()
        if (origin.server, origin.asked) != (self._server, self._asked):
            raise Refused(f"{self._part.path}.part is of another export: name another file, or remove it")
        self._say(f"going on at byte {self._part.size:,} of export {origin.job_id}")
        return origin.job_id

    async def _make(self) -> str:
        job_id = await self._patiently(lambda: self._api.create(self._asked))
        self._part.restart(Origin(self._server, self._asked, job_id))
        return job_id

    async def _download(self, job_id: str) -> None:
        try:
            flushed = self._part.size
            async with aclosing(self._api.download(job_id, self._part.size)) as pieces:
                async for piece in pieces:
                    self._part.write(piece)
                    self._failures = 0
                    self._show(self._part.size, self._part.counter.rows)
                    if self._part.size - flushed > _FLUSH_BYTES:
                        self._part.flush()
                        flushed = self._part.size
        finally:
            self._part.flush()

    async def _end(self, job_id: str) -> dict[str, Any]:
        """The manifest, which is there when the server has sent everything; else go on."""
        try:
            return await self._api.manifest(job_id)
        except NotYet:
            await self._download(job_id)
            return await self._api.manifest(job_id)

    async def _is_whole(self, job_id: str) -> bool:
        """Whether all came before this process began."""
        try:
            return str((await self._api.manifest(job_id))["bytes"]) == str(self._part.size)
        except NotYet:
            return False

    async def _patiently(self, act: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                answer = await act()
            except Interrupted as error:
                self._failures += 1
                if self._failures >= MOST_FAILURES:
                    raise Refused(f"{error}, {self._failures} times in a row; the same command goes on from here") from None
                pause = max(min(self._wait_seconds * 2.0 ** (self._failures - 1), _LONGEST_WAIT_SECONDS), error.retry_after)
                self._say(f"{error}: trying again in {pause:.0f} s")
                await asyncio.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311 - clients that were cut together come back apart
            else:
                self._failures = 0
                return answer
