"""Exceptions as text for the log: where it happened and what kind it was, never the data it happened to.

Database drivers and validators quote values in what they say (``Key (workspace_id, key)=(…)``, ``Failing row contains``,
``invalid input for query argument $3: …``), and these may be secret or personal. Of those, only kind and SQLSTATE are kept.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from structlog.typing import ExcInfo

_QUOTING = frozenset({"asyncpg", "psycopg", "psycopg2", "sqlalchemy", "pydantic", "pydantic_core", "fastapi"})
_MAX_CHAIN = 5
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def text_of(exc_info: ExcInfo) -> str:
    """The traceback, with what led to it first."""
    return "\n".join(_lines(exc_info[1], _MAX_CHAIN))


def summary(error: BaseException) -> str:
    """Kind and message; of libraries that quote data, kind and SQLSTATE."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] not in _QUOTING:
        return f"{name}: {error}" if str(error) else name
    state = getattr(error, "sqlstate", None)
    return f"{name}: SQLSTATE {state}" if state else name


def _lines(error: BaseException, depth: int) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and depth:
        yield from _lines(before, depth - 1)
        yield _CAUSE if error.__cause__ else _CONTEXT
    yield "Traceback (most recent call last):"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
    yield summary(error)
    if isinstance(error, BaseExceptionGroup) and depth:
        for each in error.exceptions:
            yield from _lines(each, depth - 1)
