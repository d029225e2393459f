"""What a download's content comes to: its bytes one after the other, and what the manifest says of them."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

from api.exports.coding import Coder
from api.exports.encoders import Encoder
from api.exports.rows import Result
from api.exports.source import Batch


class Content:
    """One file on its way. ``most``: its rows at most; ``offset``: so many bytes of it are left out of what is sent.

    To be used in threads, one call at a time.
    """

    def __init__(self, encoder: Encoder, coder: Coder, most: int | None, offset: int) -> None:
        self.rows = 0
        self.truncated = False
        """Whether there was more than ``most``."""
        self.origins: Counter[str] = Counter()
        """Rows by where they came from: hot or archive."""
        self._encoder = encoder
        self._coder = coder
        self._most = most
        self._offset = offset
        self._size = 0
        self._sha256 = sha256()
        self._workspaces: dict[str, dict[str, Any]] = {}

    def begin(self) -> bytes:
        """What to send first."""
        return self._sent(self._encoder.begin())

    def add(self, batch: Batch) -> bytes:
        """What to send of a batch; once it is ``truncated``, there is nothing more to add."""
        if self._most is not None and len(batch) > self._most - self.rows:
            self.truncated = True
            batch = batch.first(self._most - self.rows)
        if not len(batch):
            return b""
        self.rows += len(batch)
        self.origins["hot"] += len(batch.rows)
        self.origins["archive"] += len(batch.events)
        self._note(batch)
        return self._sent(self._encoder.encode(batch))

    def end(self) -> bytes:
        """What to send last."""
        return self._sent(self._encoder.end()) + self._coder.flush()

    def result(self) -> Result:
        """Of the whole content, what was left out included."""
        return Result(self._size, self._sha256.digest(), list(self._workspaces.values()))

    def _sent(self, piece: bytes) -> bytes:
        self._sha256.update(piece)
        left_out = min(len(piece), max(0, self._offset - self._size))
        self._size += len(piece)
        return self._coder.compress(piece[left_out:]) if left_out < len(piece) else b""

    def _note(self, batch: Batch) -> None:
        first, last = _link(batch, 0), _link(batch, -1)
        known = self._workspaces.get(batch.workspace_id)
        if known is None:
            start = {"firstSeq": first[0], "firstPrevHash": first[1].hex(), "firstHash": first[2].hex()}
            known = self._workspaces[batch.workspace_id] = {"workspaceId": batch.workspace_id, "rows": "0", **start}
        known.update(rows=str(int(known["rows"]) + len(batch)), lastSeq=last[0], lastHash=last[2].hex())


def _link(batch: Batch, at: int) -> tuple[int, bytes, bytes]:
    if batch.rows:
        seq, prev_hash, own = batch.rows[at][:3]
        return seq, prev_hash, own
    event = batch.events[at]
    return event.seq, event.prev_hash, event.hash
