"""What can be asked of an event, as numbers: one 64-bit token for each filter value and each word it holds.

The search table keeps the tokens of an event in one array under one index, so that any combination of filters and
words is one look-up. A token is XXH3-64 of ``field, NUL, value``, seeded from the company's id: two companies share none.
Tokens are stored, so what these functions give never changes (golden values in tests/unit/schemas/test_tokens.py).
"""

from __future__ import annotations

import re
import struct
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final

import orjson
import xxhash

from schemas.canonical import canonical
from schemas.event import Group, StoredEvent

MAX_WORDS: Final = 2000
"""Distinct words of one event that can be found; those after them can't."""
MAX_TEXT: Final = 16_384
"""Characters of one event's text that words are taken from. Normalising may make eighteen of one (U+FDFA)."""
_LONGEST_RUN: Final = 30
"""Non-starters in a row that text has at most: Unicode's Stream-Safe Text Format (UAX #15 §13)."""
_HALFWIDTH_MARKS: Final = (0xFF9E, 0xFF9F)
"""The only non-starters after normalisation that are no marks by category."""
_SHORT: Final = 1000
_WORD: Final = "word"
_WORDS = re.compile(r"[^\W_]+").findall


def field_token(company_id: str, field: str, value: str) -> int:
    """The token of a filter: a signed 64-bit number. ``field`` is the filter's name in the query (``actorId``), ids are as text.

    Of actions a prefix is a value too, written as in the query: ``user.*``.
    """
    return _tokens(company_id, ((field, value),))[0]


def word_tokens(company_id: str, words: Iterable[str]) -> list[int]:
    """The tokens of words as ``words`` gives them, in their order."""
    return list(_tokens(company_id, ((_WORD, word) for word in words)))


def words(text: str) -> list[str]:
    """The distinct words of a text, in its order: runs of letters and digits, case-folded and compatibility-normalised (NFKC)."""
    folded = text.lower() if text.isascii() else _normal(_normal(_stream_safe(text)).casefold())
    return list(dict.fromkeys(_WORDS(folded)))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _stream_safe(text: str) -> str:
    """Without what is above 30 non-starters in a row: sorting a run takes time that grows with its square, 14 s of one event's."""
    return text if len(text) < _SHORT else _long_runs().sub(lambda run: run[0][:_LONGEST_RUN], text)


@cache
def _long_runs() -> re.Pattern[str]:
    marks = (chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M" or code in _HALFWIDTH_MARKS)
    non_starters = [mark for mark in marks if all(map(unicodedata.combining, unicodedata.normalize("NFKD", mark)))]
    return re.compile(f"[{''.join(non_starters)}]{{{_LONGEST_RUN + 1},}}")


def event_tokens(event: StoredEvent) -> list[int]:
    """Every token of the event, sorted, each once. Words come from action and from the values, not the member names, of
    actor, resource and metadata: strings and numbers at any depth, up to ``MAX_TEXT`` and ``MAX_WORDS``. An erased group has none.
    """
    actor, resource, metadata = _value(event.actor), _value(event.resource), _value(event.metadata)
    texts = [event.action]
    for group in (actor, resource, metadata):
        _collect(group, texts)
    pairs = [
        ("workspaceId", event.workspace_id),
        ("category", event.category),
        ("traceId", event.trace_id),
        *(("action", value) for value in _action_values(event.action)),
        *((field, value) for field, value in _optional(event, actor, resource) if isinstance(value, str)),
        *((_WORD, word) for word in words("\n".join(texts)[:MAX_TEXT])[:MAX_WORDS]),
    ]
    return sorted(set(_tokens(event.company_id, pairs)))


def _optional(event: StoredEvent, actor: Any, resource: Any) -> tuple[tuple[str, Any], ...]:
    return (
        ("projectId", event.project_id),
        ("tenantId", event.tenant_id),
        ("outcome", event.outcome),
        ("actorId", actor.get("id")),
        ("actorEmail", actor.get("email")),
        ("resourceType", resource.get("type")),
        ("resourceId", resource.get("id")),
    )


def _action_values(action: str) -> list[str]:
    """The action itself, and for each of its dots what a query for everything below it asks for."""
    return [action, *(f"{action[: dot.end()]}*" for dot in re.finditer(r"\.", action))]


def _value(group: Group | None) -> Any:
    return {} if group is None or group.value is None else orjson.loads(group.value)


def _collect(container: Any, texts: list[str]) -> None:
    """Append the text of every string and number below."""
    for item in container.values() if type(container) is dict else container:
        kind = type(item)
        if kind is str:
            texts.append(item)
        elif kind is dict or kind is list:
            _collect(item, texts)
        elif kind is int:
            texts.append(str(item))
        elif kind is float:
            texts.append(canonical(item).decode())


@lru_cache(maxsize=10_000)
def _seed(company_id: str) -> int:
    return xxhash.xxh3_64_intdigest(company_id.encode())


def _tokens(company_id: str, pairs: Iterable[tuple[str, str]]) -> tuple[int, ...]:
    seed, digest = _seed(company_id), xxhash.xxh3_64_digest
    digests = [digest(f"{field}\0{value}".encode(), seed) for field, value in pairs]
    return struct.unpack(f">{len(digests)}q", b"".join(digests))
