"""An object store in memory, for tests that try thousands of things; it passes the tests of the real ones (test_objects.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ops.objects import AlreadyThere, Cold, Head, Lock, NotThere, ObjectStore

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class _Kept:
    body: bytes
    storage_class: str
    lock: Lock | None
    tags: Mapping[str, str]


class MemoryStore(ObjectStore):
    """A bucket. It has no parts of uploads and no versions: what needs them needs a real store."""

    def __init__(self) -> None:
        super().__init__(None, "memory")
        self.objects: dict[str, _Kept] = {}
        self.writes = 0

    def put_new(
        self, key: str, body: bytes, *, tags: Mapping[str, str] = _NO_TAGS, storage_class: str = "STANDARD", lock: Lock | None = None
    ) -> None:
        if key in self.objects:
            raise AlreadyThere(key)
        self.writes += 1
        self.objects[key] = _Kept(bytes(body), storage_class, lock, dict(tags))

    def stream(self, key: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:
        if key not in self.objects:
            raise NotThere(key)
        kept = self.objects[key]
        if kept.storage_class == "GLACIER":
            raise Cold(key)
        body = kept.body[start:end]
        yield from (body[at : at + (256 << 10)] for at in range(0, len(body), 256 << 10))

    def head(self, key: str) -> Head | None:
        if key not in self.objects:
            return None
        kept = self.objects[key]
        return Head(len(kept.body), kept.storage_class, None, None if kept.lock is None else kept.lock.until)

    def delete(self, key: str) -> bool:
        if key in self.objects and self.objects[key].lock is not None:
            return False
        self.objects.pop(key, None)
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))
