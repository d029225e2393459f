"""Who tries what, and what is told of it in the audit (contract §8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from ops.auth import Principal, User
from schemas.audit import Entry, Outcome
from schemas.context import request_context
from schemas.ids import is_uuid
from schemas.incoming import MAX_EXTRACTED_BYTES
from schemas.keys import key_prefix, parse_key
from schemas.problems import Problem
from schemas.topics import Region

_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request for a management action, and who is behind it. ``company_id`` is ``None`` when the key told of nobody."""

    action: str
    region: Region
    company_id: str | None
    actor: Mapping[str, Any]
    trace_id: str
    context: bytes | None

    def done(self, target: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> Entry:
        """The entry of an action that is carried out."""
        return self._entry(Outcome.SUCCESS, target, metadata)

    def refused(self, target: Mapping[str, Any] | None, problem: Problem) -> Entry:
        """The entry of a refusal. What the caller sent is not in it but for the target's id: it may be anything."""
        return self._entry(Outcome.DENIED, target, {"status": problem.status, "code": problem.code.value, "reason": problem.sentence})

    def failed(self, target: Mapping[str, Any] | None, problem: Problem) -> Entry:
        """The entry of what went wrong on our side."""
        return self._entry(Outcome.FAILURE, target, {"status": problem.status, "code": problem.code.value})

    def _entry(self, outcome: Outcome, target: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> Entry:
        return Entry(self.action, outcome, self.actor, self.trace_id, target, metadata, self.context)


def attempt(request: Request, action: str, caller: Principal | None, *, address: str, regions: Sequence[Region]) -> Attempt:
    """The attempt that a request is. Without a caller it is the operator's: of the region its key names, else the first one served.

    A user of the dashboard who works for no company, or for none that there is, stands in the request's state.
    """
    agent = request.headers.get("user-agent")
    context = request_context(address, None if agent is None else agent.encode("latin-1"))
    trace: str = request.state.trace_id
    user: User | None = getattr(request.state, "user", None)
    if caller is None and user is not None:
        region, company_id = getattr(request.state, "about", (regions[0], None))
        return Attempt(action, region, company_id, actor_of(user), trace, context)
    if caller is None:
        region, actor = _stranger(request.headers.get("authorization", ""))
        return Attempt(action, region if region is not None and region in regions else regions[0], None, actor, trace, context)
    actor = {"id": caller.key_id, "type": "key", "scope": caller.scope.name} if caller.user is None else actor_of(caller.user)
    return Attempt(action, caller.region, caller.company_id, actor, trace, context)


def actor_of(user: User) -> Mapping[str, Any]:
    """A user of the dashboard, as an entry names him: cut to what an event has room for, and then told whole beside it."""
    names = {"id": user.id, "email": user.email, "role": user.role}
    cut = {name: value.encode()[:MAX_EXTRACTED_BYTES].decode(errors="ignore") for name, value in names.items()}
    whole = {f"{name}InFull": value for name, value in names.items() if value != cut[name]}
    return {**cut, "type": "user", **whole}


def kind_of(path: str) -> str:
    """What an id in a path is one of: ``key`` for ``/v1/keys/{id}/rotate``, ``key`` for ``/dashboard/keys/{id}`` too."""
    nouns = [step for step in path.split("/")[2:] if step != "admin"]
    return "company" if nouns[0] == "companies" else nouns[0].removesuffix("s")


def target_of(request: Request, kind: str) -> Mapping[str, Any] | None:
    """What the path names, if that could be an id at all."""
    found: str = request.path_params.get("id", "")
    return {"id": found, "type": kind} if is_uuid(found) else None


def _stranger(authorization: str) -> tuple[Region | None, Mapping[str, Any]]:
    """Whoever sent a bad key, or none: of a key's text, only what anybody may see is told."""
    text = authorization[len(_BEARER) :].strip(" ")
    try:
        name = parse_key(text)
    except ValueError:
        return None, {"type": "anonymous"}
    return name.region, {"type": "key", "name": key_prefix(text)}
