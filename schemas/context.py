"""The ``context`` group: what is known of the request that an event came with."""

from __future__ import annotations

import orjson

_MAX_AGENT_CHARACTERS = 512


def request_context(address: str | None, user_agent: bytes | None) -> bytes | None:
    """``ipAddress`` and ``userAgent``, canonical; ``None`` when nothing is known. User agents are cut at 512 characters."""
    members = {}
    if address:
        members["ipAddress"] = address
    if user_agent:
        # Header bytes need not be UTF-8; Latin-1 takes any, and a NUL can't come in through an HTTP parser.
        members["userAgent"] = user_agent.decode("latin-1")[:_MAX_AGENT_CHARACTERS]
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS) if members else None
