"""CSV (RFC 4180) for people and their spreadsheets, which take a cell that begins with = + - @ for a formula, or tab, CR or LF for another
cell that may be one. Some drop white space in front first, and to some full-width signs (\uff1d \uff0b \uff0d \uff20) are the same as ours.

Such cells get an apostrophe in front, and so do strings within the JSON of groups: there are tools that unfold it. What was changed
can't be told from what was so before, hence nothing of it verifies; ``raw`` leaves all as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from schemas.event import SALT_BYTES, Group, StoredEvent, format_time

COLUMNS: Final = (
    "id",
    "companyId",
    "workspaceId",
    "projectId",
    "tenantId",
    "dataRegion",
    "seq",
    "timestamp",
    "receivedAt",
    "category",
    "action",
    "outcome",
    "actor",
    "resource",
    "context",
    "metadata",
    "traceId",
    "prevHash",
    "hash",
    "erasedAt",
)
"""As in the JSON of an event; groups are their canonical JSON."""
HEADER: Final = (",".join(COLUMNS) + "\r\n").encode()

_NEEDS_QUOTES = re.compile(r'[",\r\n]').search
_SIGNS: Final = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"[\t\r\n]|\s*{_SIGNS}").match
# In canonical JSON a quote behind one of { [ , : begins a string, or else it is the end of one that ends so: then what is behind it is
# one of , : ] } and no formula. Control characters stand there as escapes, of white space these.
_STRING = re.compile(rf'([{{\[,:]")(?=\\[trn]|(?:\s|\\[trnf]|\\u000b|\\u001[c-f])*{_SIGNS})')

_STARTS: Final = ('"=', '"+', '"-', '"@', r'"\t', r'"\r', r'"\n', '" ', r'"\f', r'"\u00')


def neutral(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA(text) else text


def neutral_json(text: str) -> str:
    """Canonical JSON in which no string is one, neither a value nor a member's name."""
    # Nearly no event has any, and looking for these few takes a fifth of what the pattern takes.
    if text.isascii() and not any(start in text for start in _STARTS):
        return text
    return _STRING.sub(r"\1'", text)


def quoted(text: str) -> str:
    """The cell as RFC 4180 §2.5 to §2.7 wants it."""
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES(text) else text


def of_events(events: Iterable[StoredEvent], *, raw: bool) -> bytes:
    """The events' lines. Absent and erased are empty cells."""
    return "".join([_line(event, raw) for event in events]).encode()


def _line(event: StoredEvent, raw: bool) -> str:
    text = _raw_text if raw else _text
    group = _raw_group if raw else _group
    return (
        f"{event.id},{event.company_id},{event.workspace_id},{event.project_id or ''},{text(event.tenant_id)},{event.data_region},"
        f"{event.seq},{format_time(event.timestamp)},{format_time(event.received_at)},{text(event.category)},{text(event.action)},"
        f"{event.outcome or ''},{group(event.actor)},{group(event.resource)},{group(event.context)},{group(event.metadata)},"
        f"{event.trace_id},{event.prev_hash.hex()},{event.hash.hex()},"
        f"{'' if event.erased_at is None else format_time(event.erased_at)}\r\n"
    )


@lru_cache(maxsize=4096)
def _text(value: str | None) -> str:
    return "" if value is None else quoted(neutral(value))


@lru_cache(maxsize=4096)
def _raw_text(value: str | None) -> str:
    return "" if value is None else quoted(value)


def _group(group: Group | None) -> str:
    if group is None or group.sealed is None:
        return ""
    return '"' + neutral_json(group.sealed[SALT_BYTES:].decode()).replace('"', '""') + '"'


def _raw_group(group: Group | None) -> str:
    if group is None or group.sealed is None:
        return ""
    return '"' + group.sealed[SALT_BYTES:].decode().replace('"', '""') + '"'
