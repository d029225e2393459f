"""Restoring cold objects: S3's own calls against moto's server, and the simulated Glacier on the local store. Both are held to the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from moto.moto_api import state_manager

from ops.local.environment import Role
from ops.objects import (
    Cold,
    Denied,
    Lock,
    NotThere,
    ObjectStore,
    Restoration,
    SimulatedGlacier,
    StoreUnavailable,
    Unsupported,
    Warm,
    client,
)
from ops.settings import Settings
from schemas.archive import COLD_TAG
from schemas.restore import Tier
from schemas.retention import DAY_MICROS
from schemas.topics import Region
from tests.support.keys import FakeClock
from tests.support.objects import moto_settings
from tests.support.stack import LocalStack

LONG_FROM_NOW = 4_102_444_800_000_000  # 2100-01-01 UTC
SECONDS = 120
_MOTOS = "s3::keyrestore"


class Case(NamedTuple):
    """A store that restores, and how its restorations come to their end."""

    store: ObjectStore
    settings: Settings
    finish: Callable[[], None]


@pytest.fixture
def local(servers: LocalStack) -> Settings:
    return servers.settings(Role.SCHEDULER).model_copy(update={"restore_simulated_seconds": SECONDS})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["moto", "simulated"])
def case(local: Settings, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "simulated":
        yield Case(ObjectStore.of(local, Region.US, clock), local, lambda: _pass(clock, SECONDS))
        return
    with moto_settings(local) as settings:
        state_manager.set_transition(_MOTOS, {"progression": "manual", "times": 1})
        yield Case(ObjectStore.of(settings, Region.US), settings, lambda: state_manager.unset_transition(_MOTOS))
        state_manager.unset_transition(_MOTOS)


@pytest.fixture
def key() -> str:
    return f"tests/{uuid4()}/object"


def _pass(clock: FakeClock, seconds: float) -> None:
    clock.now += seconds


def _restoration(store: ObjectStore, key: str) -> Restoration | None:
    head = store.head(key)
    assert head is not None
    assert head.storage_class == "GLACIER"
    return head.restore


def _under_way(case: Case, key: str) -> None:
    case.store.put_new(key, b"cold", storage_class="GLACIER")
    case.store.restore(key, days=3, tier=Tier.STANDARD)
    assert _restoration(case.store, key) == Restoration(True, None)


def test_what_is_cold_is_readable_once_it_was_restored(case: Case, key: str) -> None:
    case.store.put_new(key, b"cold", storage_class="GLACIER")
    assert _restoration(case.store, key) is None
    case.store.restore(key, days=3, tier=Tier.BULK)
    assert _restoration(case.store, key) == Restoration(True, None)
    case.finish()
    found = _restoration(case.store, key)
    assert found is not None
    assert not found.ongoing
    assert (case.store.get(key), case.store.get(key, 1, 3)) == (b"cold", b"ol")


def test_until_then_it_is_not(case: Case, key: str) -> None:
    if isinstance(case.store, SimulatedGlacier):
        _under_way(case, key)
    else:  # moto's objects count how often somebody looked
        case.store.put_new(key, b"cold", storage_class="GLACIER")
    with pytest.raises(Cold):
        case.store.get(key)


def test_asking_for_what_is_under_way_is_no_error(case: Case, key: str) -> None:
    _under_way(case, key)
    case.store.restore(key, days=3, tier=Tier.STANDARD)
    case.finish()
    assert case.store.get(key) == b"cold"


def test_what_is_restored_is_asked_for_again_to_be_longer_so(case: Case, key: str) -> None:
    _under_way(case, key)
    case.finish()
    ends = []
    for days in (3, 5):
        case.store.restore(key, days=days, tier=Tier.EXPEDITED)
        found = _restoration(case.store, key)
        assert found is not None
        ends.append(found.expires_at or 0)
    assert round((ends[1] - ends[0]) / DAY_MICROS) == 2


def test_a_warm_object_has_nothing_to_restore(case: Case, key: str) -> None:
    case.store.put_new(key, b"warm")
    with pytest.raises(Warm):
        case.store.restore(key, days=3, tier=Tier.STANDARD)
    assert case.store.get(key) == b"warm"


def test_nor_has_one_that_is_not_there(case: Case, key: str) -> None:
    with pytest.raises(NotThere):
        case.store.restore(key, days=3, tier=Tier.STANDARD)


def test_restored_or_not_it_is_removed_whole(case: Case, key: str) -> None:
    _under_way(case, key)
    assert case.store.delete(key) is True
    case.store.put_new(key, b"another")
    assert case.store.get(key) == b"another"


@pytest.fixture
def glacier(local: Settings, clock: FakeClock) -> ObjectStore:
    """The simulated one."""
    return ObjectStore.of(local, Region.US, clock)


def test_a_simulated_restoration_ends(glacier: ObjectStore, clock: FakeClock, key: str) -> None:
    """Moto's never do."""
    glacier.put_new(key, b"cold", storage_class="GLACIER")
    glacier.restore(key, days=1, tier=Tier.STANDARD)
    _pass(clock, SECONDS + 24 * 3600 - 1)
    assert glacier.get(key) == b"cold"
    _pass(clock, 1)
    assert _restoration(glacier, key) is None
    with pytest.raises(Cold):
        glacier.get(key)


def test_what_the_lifecycle_might_have_moved_is_cold_from_when_it_is_asked_for(glacier: ObjectStore, clock: FakeClock, key: str) -> None:
    glacier.put_new(key, b"tagged", tags={COLD_TAG: "180"})
    assert glacier.get(key) == b"tagged"
    glacier.restore(key, days=1, tier=Tier.STANDARD)
    with pytest.raises(Cold):
        glacier.get(key)
    _pass(clock, SECONDS)
    assert glacier.get(key) == b"tagged"


def test_every_process_sees_the_same(glacier: ObjectStore, local: Settings, clock: FakeClock, key: str) -> None:
    glacier.put_new(key, b"cold", storage_class="GLACIER")
    glacier.restore(key, days=1, tier=Tier.STANDARD)
    assert _restoration(ObjectStore.of(local, Region.US, clock), key) == Restoration(True, None)


def test_what_is_kept_of_it_is_no_object_of_ours(glacier: ObjectStore, local: Settings, key: str) -> None:
    glacier.put_new(key, b"cold", storage_class="GLACIER")
    assert [name for name in glacier.keys("") if key in name] == [key]
    plain = ObjectStore.of(local.model_copy(update={"restore_simulated_seconds": None}), Region.US)
    assert [name for name in plain.keys("") if key in name] == [f"simulated-glacier/{key}", key]
    glacier.delete(key)
    assert [name for name in plain.keys("") if key in name] == []


def test_while_it_is_locked_it_stays_cold(glacier: ObjectStore, key: str) -> None:
    glacier.put_new(key, b"cold", storage_class="GLACIER", lock=Lock("GOVERNANCE", LONG_FROM_NOW))
    assert glacier.delete(key) is False
    with pytest.raises(Cold):
        glacier.get(key)


def test_a_cold_upload_is_not_simulated(glacier: ObjectStore, key: str) -> None:
    with pytest.raises(Unsupported):
        glacier.upload_new(key, storage_class="GLACIER")


def test_a_store_without_cold_storage_says_so(local: Settings, key: str) -> None:
    plain = ObjectStore.of(local.model_copy(update={"restore_simulated_seconds": None}), Region.US)
    plain.put_new(key, b"x")
    with pytest.raises(Unsupported):
        plain.restore(key, days=1, tier=Tier.STANDARD)


class _Refusing:
    """A client that is answered with an error of S3's."""

    def __init__(self, code: str, status: int) -> None:
        self._error = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "RestoreObject")

    def restore_object(self, **_request: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("GlacierExpeditedRetrievalNotAvailable", 503, StoreUnavailable),
        ("SlowDown", 503, StoreUnavailable),
        ("AccessDenied", 403, Denied),
        ("NoSuchKey", 404, NotThere),
        ("InvalidObjectState", 403, Warm),
        ("NotImplemented", 501, Unsupported),
    ],
)
def test_what_s3_may_answer(code: str, status: int, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        ObjectStore(_Refusing(code, status), "bucket").restore("key", days=1, tier=Tier.EXPEDITED)


def test_s3_says_that_it_is_at_it() -> None:
    """Moto does not: it begins anew."""
    ObjectStore(_Refusing("RestoreAlreadyInProgress", 409), "bucket").restore("key", days=1, tier=Tier.STANDARD)


def test_the_request_is_s3s(local: Settings, key: str) -> None:
    """The names of tiers are its own."""
    asked: list[dict[str, Any]] = []
    with moto_settings(local) as settings:
        raw = client(settings)
        raw.meta.events.register("provide-client-params.s3.RestoreObject", lambda params, **_: asked.append(params))
        store = ObjectStore(raw, settings.bucket(Region.US))
        store.put_new(key, b"cold", storage_class="GLACIER")
        for tier in Tier:
            store.restore(key, days=30, tier=tier)
    sent = [params["RestoreRequest"] for params in asked]
    assert sent == [{"Days": 30, "GlacierJobParameters": {"Tier": name}} for name in ("Expedited", "Standard", "Bulk")]
