"""Checking the lines of an export, one after the other (pure): each event by itself, and what stands together as a chain.

A group is put into its canonical form again (RFC 8785) and compared with its commitment, not cut out of the line. So a file that another
tool has written anew, with other white space or members in another order, still verifies, as long as it says the same; and nothing has to
be looked for in a text that its producer has chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final

import orjson

from schemas.canonical import InvalidJson, canonical, check_duplicates
from schemas.event import GROUPS, LEAF_VERSION, SALT_BYTES
from schemas.leaf import ZERO_HASH

_NO_HASH: Final = ZERO_HASH.hex()
_SALT_DIGITS: Final = 2 * SALT_BYTES


class BadLine(Exception):
    """The line is not an intact event of the export, because of this field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(slots=True)
class Stretch:
    """What of a workspace is in the file, as a manifest tells it: all of it, or one of the runs that the manifest tells apart."""

    workspace_id: str
    first_seq: int
    first_prev_hash: str
    first_hash: str
    rows: int = 0
    last_seq: int = 0
    last_hash: str = ""

    def told(self) -> dict[str, Any]:
        """In the manifest's terms."""
        first = {"firstSeq": self.first_seq, "firstPrevHash": self.first_prev_hash, "firstHash": self.first_hash}
        return {"workspaceId": self.workspace_id, "rows": str(self.rows), **first, "lastSeq": self.last_seq, "lastHash": self.last_hash}


@dataclass(slots=True)
class ExportWalk:
    """A file of events, as far as it has been read."""

    filtered: bool | None = None
    """Whether events are left out in between: ``None`` when nobody has said so. If not, a hole is a finding."""
    told_holes: frozenset[tuple[str, int, int]] = frozenset()
    """Those between the manifest's runs: of which workspace, behind and in front of which seq. They are where they should be."""
    rows: int = 0
    unproven: int = 0
    """Rows without ``verification``: of them, only the links were checked."""
    holes: int = 0
    first_hole: str = ""
    stretches: list[Stretch] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        """The next line, without its line feed. Raises ``BadLine``."""
        event = _parsed(line)
        try:
            if "verification" in event:
                _check_event(event)
            else:
                self.unproven += 1
            self._link(event["workspaceId"], event["seq"], event["prevHash"], event["hash"])
        except KeyError as error:
            raise BadLine(str(error.args[0]), "is missing") from None
        except (TypeError, AttributeError):
            raise BadLine("line", "is no event of an export: a member is of another kind") from None
        self.rows += 1

    def _link(self, workspace: str, seq: int, prev_hash: str, own: str) -> None:
        if type(workspace) is not str or type(seq) is not int or type(prev_hash) is not str or type(own) is not str:
            raise TypeError
        last = self.stretches[-1] if self.stretches else None
        if last is None or workspace != last.workspace_id:
            if last is not None and workspace < last.workspace_id:
                raise BadLine("workspaceId", f"is out of order: {workspace} follows {last.workspace_id}")
            if seq < 1 or (seq == 1 and prev_hash != _NO_HASH):
                raise BadLine("prevHash" if seq == 1 else "seq", "is none that a chain begins with")
            last = self._begin(workspace, seq, prev_hash, own)
        elif seq == last.last_seq + 1:
            if prev_hash != last.last_hash:
                raise BadLine("prevHash", f"is {prev_hash}, the hash before it is {last.last_hash}")
        elif (workspace, last.last_seq, seq) in self.told_holes:
            last = self._begin(workspace, seq, prev_hash, own)
        else:
            self._hole(last.last_seq, seq)
        last.rows, last.last_seq, last.last_hash = last.rows + 1, seq, own

    def _begin(self, workspace: str, seq: int, prev_hash: str, own: str) -> Stretch:
        begun = Stretch(workspace, seq, prev_hash, own)
        self.stretches.append(begun)
        return begun

    def _hole(self, before: int, seq: int) -> None:
        if seq <= before or self.filtered is False:
            raise BadLine("seq", f"{seq} follows {before}")
        self.holes += 1
        self.first_hole = self.first_hole or f"seq {seq} follows {before}"

    def against(self, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Where the manifest tells the chains otherwise, as (field, message)."""
        if "workspaces" not in manifest:
            return
        told = manifest["workspaces"]
        for ours, theirs in zip(self.stretches, told, strict=False):
            for name, value in ours.told().items():
                if str(theirs.get(name)) != str(value):
                    yield f"workspaces.{name}", f"is {value} of workspace {ours.workspace_id}, the manifest says {theirs.get(name)}"
        if len(told) != len(self.stretches):
            yield "workspaces", f"there are {len(self.stretches)}, the manifest says {len(told)}"


def told_holes(manifest: Mapping[str, Any]) -> frozenset[tuple[str, int, int]]:
    """Where a manifest that is not of a filtered export says that events are missing: as ``ExportWalk`` wants it."""
    found = set()
    for one, next_one in pairwise(manifest.get("workspaces", ())):
        workspace, last, first = one.get("workspaceId"), one.get("lastSeq"), next_one.get("firstSeq")
        if type(workspace) is str and workspace == next_one.get("workspaceId") and type(last) is type(first) is int and first > last + 1:
            found.add((workspace, last, first))
    return frozenset(found)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
        if type(event) is not dict:
            raise BadLine("line", "is no event of an export")
        # Whoever reads the first of two equal members would read another event than was checked.
        check_duplicates(line, orjson.dumps(event).count(b":"))
    except InvalidJson as error:
        raise BadLine("line", f"{'.'.join(map(str, error.path)) or 'it'}: {error.message}") from None
    except TypeError:  # orjson reads deeper than it writes
        raise BadLine("line", "is nested too deep") from None
    except orjson.JSONDecodeError as error:
        raise BadLine("line", f"is not JSON: {error.msg} (column {error.colno})") from None
    return event


def _check_event(event: dict[str, Any]) -> None:
    """Groups, commitments, leaf and hash. Raises ``BadLine``, and ``KeyError`` for what is missing."""
    proof = event["verification"]
    if proof["v"] != LEAF_VERSION:
        raise BadLine("verification.v", f"is {proof['v']}, a layout unknown here")
    commitments, salts = proof["commitments"], proof["salts"]
    for name in GROUPS:
        value, salt, commitment = event[name], salts[name], commitments[name]
        if value is not None:
            _check_group(name, value, salt, commitment)
        elif salt is not None:
            raise BadLine(name, "is missing, though its salt is there")
        elif commitment is not None and event.get("erasedAt") is None:
            raise BadLine(name, "is missing, though it was never erased")
    # In the order of RFC 8785, which orjson writes such values by: a dict keeps it, so nothing is to be sorted.
    leaf = orjson.dumps(
        {
            "action": event["action"],
            "actorCommitment": commitments["actor"],
            "category": event["category"],
            "companyId": event["companyId"],
            "contextCommitment": commitments["context"],
            "dataRegion": event["dataRegion"],
            "id": event["id"],
            "metadataCommitment": commitments["metadata"],
            "outcome": event["outcome"],
            "prevHash": event["prevHash"],
            "projectId": event["projectId"],
            "receivedAt": event["receivedAt"],
            "resourceCommitment": commitments["resource"],
            "seq": event["seq"],
            "tenantId": event["tenantId"],
            "timestamp": event["timestamp"],
            "traceId": event["traceId"],
            "v": proof["v"],
            "workspaceId": event["workspaceId"],
        }
    )
    computed = sha256(b"\0" + leaf).hexdigest()
    if event["hash"] != computed:
        raise BadLine("hash", f"is {event['hash']}, the leaf's is {computed}")


def _check_group(name: str, value: Any, salt: Any, commitment: Any) -> None:
    if commitment is None:
        raise BadLine(name, "holds a value that nothing commits to")
    if type(value) is not dict or type(salt) is not str or len(salt) != _SALT_DIGITS:
        raise BadLine(name, "has no salt" if type(value) is dict else "is no JSON object")
    try:
        start = bytes.fromhex(salt)
        # For nearly all values sorted orjson is RFC 8785; where it is not, no hash will fit by chance, and the exact way decides.
        if sha256(start + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest() == commitment:
            return
        found = sha256(start + canonical(value)).hexdigest()
    except ValueError as error:
        raise BadLine(name, f"can't be committed to: {error}") from None
    if found != commitment:
        raise BadLine(name, "does not match its commitment")
