"""The object store's door, against the local store, plain and with a simulated Glacier, and moto's server; and the tests' store in memory,
where it claims to be like them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from ops.local.environment import Role
from ops.objects import PIECE_BYTES, AlreadyThere, Cold, Lifecycle, Lock, NotThere, ObjectStore, StoreUnavailable, Unsupported, client
from ops.settings import Settings
from schemas.topics import Region
from tests.support.memory_store import MemoryStore
from tests.support.objects import moto_settings, settings_of_nothing
from tests.support.stack import LocalStack

LONG_FROM_NOW = 4_102_444_800_000_000  # 2100-01-01 UTC
REAL = ("local", "moto", "simulated")


@pytest.fixture(scope="module")
def moto(servers: LocalStack) -> Iterator[Settings]:
    with moto_settings(servers.settings(Role.SCHEDULER)) as settings:
        yield settings


@pytest.fixture(scope="module")
def stores(servers: LocalStack, moto: Settings) -> dict[str, ObjectStore]:
    local = servers.settings(Role.SCHEDULER)
    return {
        "local": ObjectStore.of(local.model_copy(update={"restore_simulated_seconds": None}), Region.US),
        "moto": ObjectStore.of(moto, Region.US),
        "simulated": ObjectStore.of(local, Region.US),
        "memory": MemoryStore(),
    }


@pytest.fixture(params=[*REAL, "memory"])
def store(stores: dict[str, ObjectStore], request: pytest.FixtureRequest) -> ObjectStore:
    """Any of them."""
    return stores[request.param]


@pytest.fixture(params=REAL)
def real(stores: dict[str, ObjectStore], request: pytest.FixtureRequest) -> ObjectStore:
    """Those that are servers."""
    return stores[request.param]


@pytest.fixture
def raw(real: ObjectStore, servers: LocalStack, moto: Settings, request: pytest.FixtureRequest) -> Any:
    """boto3's own client of the same store: to look, and to do what others may do to a bucket."""
    return client(moto if request.node.callspec.params["real"] == "moto" else servers.settings(Role.SCHEDULER))


@pytest.fixture
def key() -> str:
    return f"tests/{uuid4()}/object"


def test_what_was_put_is_got(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"0123456789")
    assert store.get(key) == b"0123456789"


def test_an_empty_object_is_an_object(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"")
    head = store.head(key)
    assert (store.get(key), head and head.size) == (b"", 0)


def test_nothing_is_written_twice(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"first")
    with pytest.raises(AlreadyThere):
        store.put_new(key, b"second")
    assert store.get(key) == b"first"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, b"0123456789"),
        (0, 1, b"0"),
        (3, 7, b"3456"),
        (3, None, b"3456789"),
        (None, 4, b"0123"),
        (8, 100, b"89"),
        (4, 4, b""),
        (10, 20, b""),
    ],
)
def test_a_range_is_what_a_slice_is(store: ObjectStore, key: str, start: int | None, end: int | None, expected: bytes) -> None:
    """A shorter answer tells that an object was cut: who reads compares lengths."""
    store.put_new(key, b"0123456789")
    assert store.get(key, start, end) == expected


def test_a_stream_comes_in_small_chunks(store: ObjectStore, key: str) -> None:
    body = os.urandom(1_000_000)
    store.put_new(key, body)
    chunks = list(store.stream(key, 1, None))
    assert (b"".join(chunks), max(map(len, chunks)) <= 256 << 10, len(chunks) > 2) == (body[1:], True, True)


def test_what_is_not_there_is_said_to_be_not_there(store: ObjectStore, key: str) -> None:
    with pytest.raises(NotThere):
        store.get(key)
    assert store.head(key) is None


def test_a_head_tells_size_and_lock(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"locked", lock=Lock("GOVERNANCE", LONG_FROM_NOW))
    head = store.head(key)
    assert head is not None
    assert (head.size, head.storage_class, head.restore, head.locked_until) == (6, "STANDARD", None, LONG_FROM_NOW)


def test_a_locked_object_stays(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"locked", lock=Lock("GOVERNANCE", LONG_FROM_NOW))
    assert store.delete(key) is False
    assert store.get(key) == b"locked"


def test_a_deleted_object_is_gone_and_its_name_free(store: ObjectStore, key: str) -> None:
    store.put_new(key, b"first")
    assert store.delete(key) is True
    assert store.head(key) is None
    store.put_new(key, b"second")
    assert store.get(key) == b"second"


def test_deleting_what_is_not_there_changes_nothing(store: ObjectStore, key: str) -> None:
    assert store.delete(key) is True


def test_names_that_only_begin_alike_are_left_alone(store: ObjectStore, key: str) -> None:
    for name in (key, f"{key}-0002", f"{key}.more"):
        store.put_new(name, b"x")
    assert store.delete(key) is True
    assert list(store.keys(key)) == [f"{key}-0002", f"{key}.more"]


def test_names_are_listed_in_order(store: ObjectStore, key: str) -> None:
    for number in (2, 1, 3):
        store.put_new(f"{key}/{number}", b"x")
    store.put_new(f"{key}-other", b"x")
    assert list(store.keys(f"{key}/")) == [f"{key}/{number}" for number in (1, 2, 3)]


def test_all_versions_and_markers_go(real: ObjectStore, raw: Any, key: str) -> None:
    """An older version left behind would be found by whoever lists versions: an erased or expired one must not."""
    for body in (b"one", b"two"):
        raw.put_object(Bucket=real.bucket, Key=key, Body=body)
    raw.delete_object(Bucket=real.bucket, Key=key)
    raw.put_object(Bucket=real.bucket, Key=key, Body=b"three")
    raw.delete_object(Bucket=real.bucket, Key=key)
    assert real.delete(key) is True
    left = raw.list_object_versions(Bucket=real.bucket, Prefix=key)
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []


def test_a_lock_on_an_older_version_keeps_the_object_deleted(real: ObjectStore, raw: Any, key: str) -> None:
    real.put_new(key, b"locked", lock=Lock("GOVERNANCE", LONG_FROM_NOW))
    raw.delete_object(Bucket=real.bucket, Key=key)
    assert real.delete(key) is False
    assert real.head(key) is None


def test_a_legal_hold_is_a_lock(real: ObjectStore, raw: Any, key: str) -> None:
    real.put_new(key, b"held")
    raw.put_object_legal_hold(Bucket=real.bucket, Key=key, LegalHold={"Status": "ON"})
    assert real.delete(key) is False
    raw.put_object_legal_hold(Bucket=real.bucket, Key=key, LegalHold={"Status": "OFF"})
    assert real.delete(key) is True


def test_more_names_than_a_page_holds(stores: dict[str, ObjectStore], key: str) -> None:
    store, expected = stores["local"], [f"{key}/{number:04d}" for number in range(1005)]
    for name in expected:
        store.put_new(name, b"")
    assert list(store.keys(f"{key}/")) == expected


@pytest.mark.parametrize("size", [0, 10, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES + 5])
def test_an_upload_of_any_size_is_one_object(real: ObjectStore, key: str, size: int) -> None:
    body = os.urandom(size)
    with real.upload_new(key) as upload:
        for at in range(0, size, 1_000_003):
            upload.write(body[at : at + 1_000_003])
        assert real.head(key) is None
        upload.finish()
    assert real.get(key) == body
    assert real.abandon_uploads(key) == 0


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10], ids=["one piece", "two parts"])
def test_an_upload_never_writes_over_an_object(real: ObjectStore, key: str, size: int) -> None:
    real.put_new(key, b"first")
    with real.upload_new(key) as upload:
        upload.write(bytes(size))
        with pytest.raises(AlreadyThere):
            upload.finish()
    assert real.get(key) == b"first"
    assert real.abandon_uploads(key) == 0


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10], ids=["one piece", "two parts"])
def test_an_upload_that_is_not_finished_leaves_nothing(real: ObjectStore, key: str, size: int) -> None:
    with real.upload_new(key) as upload:
        upload.write(bytes(size))
    assert real.head(key) is None
    assert real.abandon_uploads(key) == 0


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10], ids=["one piece", "two parts"])
def test_an_upload_has_its_tags(real: ObjectStore, raw: Any, key: str, size: int) -> None:
    with real.upload_new(key, tags={"hyrelog-cold-after": "180", "a b": "c=d"}) as upload:
        upload.write(bytes(size))
        upload.finish()
    tags = raw.get_object_tagging(Bucket=real.bucket, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"hyrelog-cold-after": "180", "a b": "c=d"}


@pytest.mark.parametrize("size", [10, PIECE_BYTES + 10], ids=["one piece", "two parts"])
def test_an_upload_has_its_lock(stores: dict[str, ObjectStore], key: str, size: int) -> None:
    """Moto's server forgets the lock of an upload in parts."""
    store = stores["local"]
    with store.upload_new(key, lock=Lock("COMPLIANCE", LONG_FROM_NOW)) as upload:
        upload.write(bytes(size))
        upload.finish()
    head = store.head(key)
    assert head is not None
    assert (head.locked_until, store.delete(key)) == (LONG_FROM_NOW, False)


def test_what_others_left_half_uploaded_is_aborted(real: ObjectStore, key: str) -> None:
    """A killed process leaves its parts in the store, which are paid for and seen by nobody."""
    left = [real.upload_new(name) for name in (key, key, f"{key}-0002")]
    for upload in left:
        upload.write(bytes(PIECE_BYTES))
    assert (real.abandon_uploads(key), real.abandon_uploads(key), real.abandon_uploads(f"{key}-0002")) == (2, 0, 1)


def test_an_upload_that_somebody_aborted_can_be_tried_again(real: ObjectStore, key: str) -> None:
    with real.upload_new(key) as upload:
        upload.write(bytes(PIECE_BYTES))
        real.abandon_uploads(key)
        with pytest.raises(StoreUnavailable):
            upload.finish()


def test_an_upload_finished_by_a_try_whose_answer_was_lost_is_there(real: ObjectStore, raw: Any, key: str) -> None:
    with real.upload_new(key) as upload:
        upload.write(bytes(PIECE_BYTES))
        real.put_new(key, bytes(PIECE_BYTES))
        real.abandon_uploads(key)
        with pytest.raises(AlreadyThere):
            upload.finish()


def test_a_cold_object_is_not_read(stores: dict[str, ObjectStore], key: str) -> None:
    """The local store by itself has no cold classes: it reads everything at once."""
    for store in (stores["moto"], stores["simulated"], stores["memory"]):
        store.put_new(key, b"cold", storage_class="GLACIER")
        head = store.head(key)
        assert head is not None
        assert head.storage_class == "GLACIER"
        with pytest.raises(Cold):
            store.get(key)


def test_a_store_that_is_away_is_unavailable(servers: LocalStack, key: str) -> None:
    away = ObjectStore.of(settings_of_nothing(servers.settings(Role.SCHEDULER)), Region.US)
    for action in (lambda: away.get(key), lambda: away.put_new(key, b""), lambda: away.delete(key), lambda: away.head(key)):
        with pytest.raises(StoreUnavailable):
            action()


def test_a_bucket_that_is_not_there_is_no_answer_about_objects(servers: LocalStack, key: str) -> None:
    """A wrong setting must not look like lost archives."""
    nowhere = ObjectStore(client(servers.settings(Role.SCHEDULER)), "hyrelog-of-nobody")
    with pytest.raises(StoreUnavailable):
        nowhere.get(key)


def test_what_the_local_store_can_not_do_is_told(stores: dict[str, ObjectStore]) -> None:
    with pytest.raises(Unsupported):
        stores["local"].lifecycle()
    with pytest.raises(Unsupported):
        stores["local"].put_lifecycle(Lifecycle([], None))
