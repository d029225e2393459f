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

    def __init__(self, encoder: Encoder, coder: Coder, most: int | None, offset: int, *, filtered: bool = False) -> None:
        """``filtered``: events are left out anywhere, so that runs of them mean nothing."""
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
        self._filtered = filtered
        self._runs: list[dict[str, Any]] = []

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
        return Result(self._size, self._sha256.digest(), self._runs)

    def _sent(self, piece: bytes) -> bytes:
        self._sha256.update(piece)
        left_out = min(len(piece), max(0, self._offset - self._size))
        self._size += len(piece)
        return self._coder.compress(piece[left_out:]) if left_out < len(piece) else b""

    def _note(self, batch: Batch) -> None:
        """A batch is of one run: only where one ends and the next one begins, events can be missing in what is not filtered."""
        first, last = _link(batch, 0), _link(batch, -1)
        run = self._runs[-1] if self._runs else None
        if run is None or run["workspaceId"] != batch.workspace_id or not (self._filtered or first[0] == run["lastSeq"] + 1):
            start = {"firstSeq": first[0], "firstPrevHash": first[1].hex(), "firstHash": first[2].hex()}
            run = {"workspaceId": batch.workspace_id, "rows": "0", **start}
            self._runs.append(run)
        run.update(rows=str(int(run["rows"]) + len(batch)), lastSeq=last[0], lastHash=last[2].hex())


def _link(batch: Batch, at: int) -> tuple[int, bytes, bytes]:
    if batch.rows:
        seq, prev_hash, own = batch.rows[at][:3]
        return seq, prev_hash, own
    event = batch.events[at]
    return event.seq, event.prev_hash, event.hash
