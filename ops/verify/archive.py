"""Walking the lines of an archive's object of events, from wherever they come: is each the next link, and are they all there?

Pure: lines in, flaws out. The job archive-verification gives it what the part's ranges have to hold, and the salts that open the
groups; ``hyrelog verify FILE`` has neither, and still checks every hash and every link. In one object each workspace has one stretch
of its chain, and workspaces stand in the order of their ids, so a line that was dropped, added, changed or moved is found without either.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from schemas.event import LEAF_VERSION, StoredEvent
from schemas.leaf import ZERO_HASH
from schemas.seal import SealedLine, Unopenable, read_line, restored

_MEMBERS: Final = frozenset(
    (
        *("v", "id", "companyId", "workspaceId", "projectId", "tenantId", "dataRegion", "seq", "prevHash", "timestamp", "receivedAt"),
        *("category", "action", "outcome", "traceId"),
        *("actorCommitment", "resourceCommitment", "contextCommitment", "metadataCommitment"),
    )
)
"""What every leaf holds (contract §5)."""
_HASH: Final = re.compile("[0-9a-f]{64}").fullmatch


class Run(NamedTuple):
    """A stretch of a workspace's chain, both ends inclusive: what an object holds of it, or has to hold."""

    workspace_id: str
    from_seq: int
    to_seq: int
    first_prev_hash: bytes
    first_hash: bytes
    last_hash: bytes


class Flaw(NamedTuple):
    """What is wrong with a line of events; lines count from 1."""

    line: int
    message: str
    workspace_id: str | None = None
    seq: int | None = None

    def __str__(self) -> str:
        where = "" if self.workspace_id is None else f" (workspace {self.workspace_id} seq {self.seq})"
        return f"line {self.line}{where}: {self.message}"


class Flawed(Exception):
    """A line is not what has to stand there."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(str(flaw))
        self.flaw = flaw


class LinesWalk:
    """One walk over the lines of one object. ``runs`` is what they held so far, ``lines`` how many there were."""

    def __init__(self, expected: Sequence[Run] | None = None) -> None:
        """``expected`` are the part's ranges in the order of its lines; ``None`` where nobody knows them."""
        self.lines = 0
        self.runs: list[Run] = []
        self.company_id: str | None = None
        self._last = Run("", 0, 0, b"", b"", b"")
        self._left = None if expected is None else deque(expected)

    def flaws(self, lines: Iterable[bytes]) -> Iterator[Flaw]:
        """Walk the lines to their end: the first flaw of each workspace, as what comes behind it in its chain hangs in the air."""
        told: set[str | None] = set()
        for line in lines:
            try:
                self.check(line)
            except Flawed as found:
                if found.flaw.workspace_id not in told:
                    yield found.flaw
                told.add(found.flaw.workspace_id)
        try:
            self.end()
        except Flawed as found:
            if not told:
                yield found.flaw

    def check(self, line: bytes) -> SealedLine:
        """The next line, taken apart. Raises ``Flawed``, after which the walk can go on."""
        self.lines += 1
        try:
            read = read_line(line)
        except Unopenable as error:
            raise Flawed(Flaw(self.lines, str(error))) from None
        fields = read.fields
        if fields.keys() != _MEMBERS or fields["v"] != LEAF_VERSION:
            raise Flawed(Flaw(self.lines, "is no leaf of a layout known here"))
        workspace_id, seq, prev_hash = fields["workspaceId"], fields["seq"], fields["prevHash"]
        if not (type(workspace_id) is str and type(seq) is int and type(prev_hash) is str and _HASH(prev_hash)):
            raise Flawed(Flaw(self.lines, "has no place in a chain"))
        wrong = self._company(fields["companyId"]) or self._place(workspace_id, seq) or self._link(workspace_id, seq, prev_hash)
        computed = sha256(b"\0" + read.leaf).digest()
        if wrong is None and computed != read.hash:
            wrong = f"hash is {read.hash.hex()}, the leaf's is {computed.hex()}"
        wrong = self._ends(seq, prev_hash, read.hash, wrong)
        self._note(workspace_id, seq, prev_hash, read.hash)
        if wrong is not None:
            raise Flawed(Flaw(self.lines, wrong, workspace_id, seq))
        return read

    def end(self) -> None:
        """There are no more lines. Raises ``Flawed`` when there have to be."""
        if self._left:
            raise Flawed(Flaw(self.lines + 1, "is missing, and whatever has to come behind it", *self._due(self._left)))

    def _company(self, company_id: str) -> str | None:
        if self.company_id is None:
            self.company_id = company_id
        return None if company_id == self.company_id else f"companyId is {company_id}, of the lines before it {self.company_id}"

    def _place(self, workspace_id: str, seq: int) -> str | None:
        last = self._last
        if self._left is None:
            if workspace_id < last.workspace_id:
                return f"stands behind those of workspace {last.workspace_id}"
            return f"seq {seq} follows {last.to_seq}" if workspace_id == last.workspace_id and seq != last.to_seq + 1 else None
        if not self._left:
            return "is one too many"
        workspace, place = self._due(self._left)
        if (workspace_id, seq) == (workspace, place):
            return None
        return f"seq {seq} stands where {place} has to be" + ("" if workspace_id == workspace else f" of workspace {workspace}")

    def _link(self, workspace_id: str, seq: int, prev_hash: str) -> str | None:
        last = self._last
        if workspace_id == last.workspace_id and seq == last.to_seq + 1:
            before = last.last_hash
        elif seq == 1:
            before = ZERO_HASH
        else:
            return None
        return None if prev_hash == before.hex() else f"prevHash is {prev_hash}, the hash before it is {before.hex()}"

    def _ends(self, seq: int, prev_hash: str, found: bytes, wrong: str | None) -> str | None:
        """What was found so far, or what differs from the ends of the range as they were marked."""
        if wrong is not None or not self._left:
            return wrong
        due = self._left[0]
        if seq == due.from_seq and prev_hash != due.first_prev_hash.hex():
            return f"prevHash is {prev_hash}, marked was {due.first_prev_hash.hex()}"
        if seq == due.from_seq and found != due.first_hash:
            return f"hash is {found.hex()}, marked was {due.first_hash.hex()}"
        if seq == due.to_seq and found != due.last_hash:
            return f"hash is {found.hex()}, marked was {due.last_hash.hex()}"
        return None

    def _due(self, left: deque[Run]) -> tuple[str, int]:
        """The event that has to come next."""
        due, last = left[0], self._last
        if last.workspace_id == due.workspace_id and due.from_seq <= last.to_seq < due.to_seq:
            return due.workspace_id, last.to_seq + 1
        return due.workspace_id, due.from_seq

    def _note(self, workspace_id: str, seq: int, prev_hash: str, found: bytes) -> None:
        """Stand behind this line, whether it is right or not: of a line that was dropped, all behind it are not to be told too."""
        last = self._last
        if last.workspace_id == workspace_id and last.to_seq + 1 == seq:
            self.runs[-1] = self._last = Run(workspace_id, last.from_seq, seq, last.first_prev_hash, last.first_hash, found)
        else:
            self._last = Run(workspace_id, seq, seq, bytes.fromhex(prev_hash), found, found)
            self.runs.append(self._last)
        while self._left and (self._left[0].workspace_id, self._left[0].to_seq) <= (workspace_id, seq):
            self._left.popleft()


def opened(read: SealedLine, line: int, salts: bytes) -> StoredEvent:
    """The event of a line that was checked, every group opened with its salt and held against its commitment. Raises ``Flawed``."""
    try:
        return restored(read, salts)
    except Unopenable as error:
        raise Flawed(Flaw(line, str(error), read.fields["workspaceId"], read.fields["seq"])) from None
