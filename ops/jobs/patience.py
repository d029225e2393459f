"""Steps of a job that are tried again while PostgreSQL or the object store is away for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from ops import db

Result = TypeVar("Result")
_ATTEMPTS = 6
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0
_ROLLED_BACK = "40"
_LOCK_NOT_AVAILABLE = "55P03"


async def patiently(step: Callable[[], Awaitable[Result]]) -> Result:
    """Call a step that may be done twice, again after some seconds if need be. Raises what the last attempt did."""
    attempts = AsyncRetrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential(_FIRST_PAUSE, max=_LAST_PAUSE),
        stop=stop_after_attempt(_ATTEMPTS),
        reraise=True,
    )

    async def call() -> Result:  # as the library tells what is asynchronous by how it was defined
        return await step()

    result: Result = await attempts(call)
    return result


def _is_transient(error: BaseException) -> bool:
    state = db.sqlstate(error) or ""
    return db.is_unavailable(error) or state.startswith(_ROLLED_BACK) or state == _LOCK_NOT_AVAILABLE
