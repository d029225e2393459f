"""The routes of exports, as a client sees them: every answer is what was asked for, or ``Refused``, or ``Interrupted``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson

from ops.client import CONNECT_SECONDS, Access, Interrupted, Refused, refuse
from ops.clock import Clock, SystemClock
from ops.verify.manifest import is_manifest

PATH: Final = "/v1/exports"
_SILENCE_SECONDS = 120.0
"""A server that looks for rows far apart may be silent for a while."""

TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)


class NotYet(Interrupted):
    """There is no manifest: the export has not been downloaded to its end, whatever it looked like."""


class Api:
    """One API, with one key."""

    def __init__(self, session: aiohttp.ClientSession, access: Access, clock: Clock | None = None) -> None:
        """A session that does not unpack by itself: what is hashed and counted are the bytes of the file."""
        self._session = session
        self._access = access
        self._clock = clock or SystemClock()

    async def create(self, asked: Mapping[str, Any]) -> str:
        """Make an export. Returns its id."""
        async with self._request("POST", PATH, json=asked) as answer:
            return str((await self._object(answer, 202))["jobId"])

    async def manifest(self, job_id: str) -> dict[str, Any]:
        """What an export came to. Raises ``NotYet`` too."""
        async with self._request("GET", f"{PATH}/{job_id}/manifest") as answer:
            if answer.status == 409:
                raise NotYet("the server says that the download did not end")
            manifest = await self._object(answer, 200)
        if not is_manifest(manifest):
            raise Refused("what the server sends is no manifest of HyreLog's")
        return manifest

    async def download(self, job_id: str, offset: int) -> AsyncGenerator[bytes]:
        """The file from that byte on. Ends when the server said that this is its end."""
        async with self._request("GET", f"{PATH}/{job_id}/download", params={"offset": str(offset)}) as answer:
            if answer.status != 200:
                await refuse(answer, self._clock.micros())
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise Refused("the server packs what it was asked not to pack")
            async for piece in answer.content.iter_any():
                yield piece

    async def _object(self, answer: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
        if answer.status != status:
            await refuse(answer, self._clock.micros())
        try:
            found: dict[str, Any] = orjson.loads(await answer.read())
            return {**found}
        except (orjson.JSONDecodeError, TypeError):
            raise Refused(f"{answer.status} {answer.reason}, which is no answer of HyreLog's") from None

    @asynccontextmanager
    async def _request(self, method: str, path: str, **arguments: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        # Unpacked on the way, a file that broke off could not be gone on with at a byte. No redirects: they would take the key elsewhere.
        headers = {**self._access.authorization, "Accept-Encoding": "identity"}
        try:
            async with self._session.request(
                method, self._access.route(path), headers=headers, allow_redirects=False, **arguments
            ) as answer:
                yield answer
        except (aiohttp.InvalidURL, aiohttp.ClientConnectorCertificateError) as error:
            raise Refused(str(error)) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Interrupted(f"connection lost ({str(error) or type(error).__name__})") from None
