"""Authentication: what a key is good for, for how long, and while its database is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ops.addresses import network
from ops.auth import INGEST_POLICY, Authenticator, CachePolicy, LapsedKey
from ops.metrics import Metrics
from ops.store import KeyRow
from schemas.keys import Scope, hash_key, make_key
from schemas.problems import Forbidden, Unauthorized, Unavailable
from schemas.topics import Region
from tests.support.keys import ADDRESS, COMPANY, HEADER, KEY, NO_LIMITS, PREVIOUS, SECRET, WORKSPACE, FakeClock, FakeKeys, header

IMPATIENT = CachePolicy(wait=0.05, outlive_outage=900.0)


class Case:
    """An authenticator with its fakes."""

    def __init__(self, policy: CachePolicy = INGEST_POLICY, keys: FakeKeys | None = None) -> None:
        self.clock = FakeClock()
        self.keys = keys or FakeKeys()
        self.metrics = Metrics(CollectorRegistry())
        self.auth = Authenticator(self.keys, (SECRET, PREVIOUS), clock=self.clock, metrics=self.metrics, policy=policy)

    async def settle(self) -> None:
        """Let background look-ups end."""
        await asyncio.gather(*self.auth._lookups.values(), return_exceptions=True)

    def postgres_is_away(self, region: Region = Region.EU) -> None:
        self.keys.failing[region] = ConnectionRefusedError


async def test_a_known_key_names_its_holder() -> None:
    case = Case()
    case.keys.add()
    principal = await case.auth.authenticate(HEADER, ADDRESS)
    assert (principal.region, principal.scope, principal.company_id, principal.workspace_id) == (
        Region.EU,
        Scope.WORKSPACE,
        COMPANY,
        WORKSPACE,
    )


async def test_a_hit_is_served_without_asking_again() -> None:
    case = Case()
    case.keys.add()
    assert case.auth.cached(HEADER, ADDRESS) is None
    principal = await case.auth.authenticate(HEADER, ADDRESS)
    assert case.auth.cached(HEADER, ADDRESS) == principal
    assert await case.auth.authenticate(HEADER, ADDRESS) == principal
    assert case.keys.asked == [Region.EU]


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Basic " + KEY.encode(), b"Bearer hlk_eu_ws_zz", b"Bearer \xff", KEY.encode()])
async def test_what_is_no_key_never_reaches_a_database(header: bytes | None) -> None:
    case = Case()
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(header, ADDRESS)
    assert case.keys.asked == []


async def test_the_scheme_is_case_insensitive() -> None:
    """RFC 9110 §11.1."""
    case = Case()
    case.keys.add()
    assert (await case.auth.authenticate(b"bEARER " + KEY.encode(), ADDRESS)).key_id == "key-1"


async def test_all_spellings_of_a_key_are_one_look_up() -> None:
    case = Case()
    case.keys.add()
    for scheme in (b"Bearer ", b"bearer ", b"BEARER ", b"bEaReR "):
        await case.auth.authenticate(scheme + KEY.encode(), ADDRESS)
        assert case.auth.cached(scheme + KEY.encode(), ADDRESS) is not None
        assert case.auth.met_before(scheme + KEY.encode())
    assert case.keys.asked == [Region.EU]


@pytest.mark.parametrize("header", [b"Bearer  " + KEY.encode(), HEADER + b" ", HEADER.upper(), b"Digest " + KEY.encode()])
async def test_any_other_spelling_is_no_key_though_the_key_is_known(header: bytes) -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    assert case.auth.cached(header, ADDRESS) is None
    assert not case.auth.met_before(header)
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(header, ADDRESS)
    assert case.keys.asked == [Region.EU]


async def test_an_unknown_key_is_asked_for_once_in_ten_seconds() -> None:
    case = Case()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await case.auth.authenticate(HEADER, ADDRESS)
    assert len(case.keys.asked) == 1
    case.keys.add()
    case.clock.now += 10
    assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"


async def test_misses_cannot_push_out_hits() -> None:
    case = Case(CachePolicy(max_hits=1, max_misses=2))
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    for number in range(5):
        with pytest.raises(Unauthorized):
            await case.auth.authenticate(b"Bearer " + make_key(Region.EU, Scope.WORKSPACE, bytes([number] * 24)).encode(), ADDRESS)
    assert case.auth.cached(HEADER, ADDRESS) is not None
    assert len(case.auth._misses) == 2


async def test_a_revocation_takes_effect_within_ten_seconds() -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.rows.clear()
    case.clock.now += 10
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(HEADER, ADDRESS)


@pytest.mark.parametrize("known", [True, False])
async def test_ten_seconds_begin_with_the_question_and_not_with_the_answer(known: bool) -> None:
    case = Case()
    if known:
        case.keys.add()
    case.keys.gate.clear()
    request = asyncio.ensure_future(case.auth.authenticate(HEADER, ADDRESS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    case.clock.now += 3
    case.keys.gate.set()
    await asyncio.gather(request, return_exceptions=True)
    case.clock.now += 7
    assert case.auth.cached(HEADER, ADDRESS) is None
    case.keys.add()
    assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"
    assert len(case.keys.asked) == 2


async def test_a_hit_in_use_is_refreshed_behind_the_request_and_sees_a_revocation() -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.rows.clear()
    case.clock.now += 8
    assert case.auth.cached(HEADER, ADDRESS) is not None
    await case.settle()
    assert case.auth.cached(HEADER, ADDRESS) is None


async def test_a_key_expires_on_the_moment_though_cached() -> None:
    case = Case()
    case.keys.add(expires_at=case.clock.micros() + 5_000_000)
    await case.auth.authenticate(HEADER, ADDRESS)
    case.clock.now += 4.9
    assert case.auth.cached(HEADER, ADDRESS) is not None
    case.clock.now += 0.1
    assert case.auth.cached(HEADER, ADDRESS) is None
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_a_key_hashed_with_the_previous_secret_is_found() -> None:
    case = Case()
    case.keys.add(secret=PREVIOUS)
    assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"


async def test_a_row_of_another_scope_than_the_keys_name_is_not_its_row() -> None:
    case = Case()
    case.keys.rows[Region.EU, hash_key(SECRET, KEY)] = KeyRow("key-1", COMPANY, None, None, NO_LIMITS)
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_concurrent_requests_with_one_key_share_one_look_up() -> None:
    case = Case()
    case.keys.add()
    case.keys.gate.clear()
    requests = [asyncio.ensure_future(case.auth.authenticate(HEADER, ADDRESS)) for _ in range(20)]
    await asyncio.sleep(0)
    case.keys.gate.set()
    assert len({principal.key_id for principal in await asyncio.gather(*requests)}) == 1
    assert len(case.keys.asked) == 1


async def test_a_legacy_key_is_searched_in_every_region_and_then_only_in_its_own() -> None:
    case = Case(keys=FakeKeys(Region.US, Region.EU, Region.UK))
    legacy = "hlk_ws_" + "7" * 48
    case.keys.add(legacy, region=Region.UK)
    assert (await case.auth.authenticate(b"Bearer " + legacy.encode(), ADDRESS)).region is Region.UK
    assert sorted(case.keys.asked) == [Region.EU, Region.UK, Region.US]
    case.clock.now += 8
    case.auth.cached(b"Bearer " + legacy.encode(), ADDRESS)
    await case.settle()
    assert case.keys.asked[3:] == [Region.UK]


async def test_a_legacy_key_that_no_reachable_region_knows_is_503_while_one_is_away() -> None:
    case = Case(keys=FakeKeys(Region.US, Region.EU))
    case.postgres_is_away(Region.US)
    with pytest.raises(Unavailable):
        await case.auth.authenticate(b"Bearer hlk_ws_" + b"7" * 48, ADDRESS)


async def test_a_key_of_a_region_not_served_here_is_refused_without_a_look_up() -> None:
    case = Case()
    with pytest.raises(Unauthorized, match="region US"):
        await case.auth.authenticate(b"Bearer " + make_key(Region.US, Scope.WORKSPACE, bytes(24)).encode(), ADDRESS)


async def test_a_known_key_stays_good_for_ingest_while_postgres_is_away_for_fifteen_minutes() -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.postgres_is_away()
    for _ in range(89):
        case.clock.now += 10
        assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"
    case.clock.now += 10
    with pytest.raises(Unavailable):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_its_expiry_holds_while_postgres_is_away() -> None:
    case = Case()
    case.keys.add(expires_at=case.clock.micros() + 60_000_000)
    await case.auth.authenticate(HEADER, ADDRESS)
    case.postgres_is_away()
    case.clock.now += 59
    await case.auth.authenticate(HEADER, ADDRESS)
    case.clock.now += 1
    with pytest.raises(Unavailable):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_a_key_not_seen_before_is_503_and_never_401_while_postgres_is_away() -> None:
    case = Case()
    case.postgres_is_away()
    with pytest.raises(Unavailable) as caught:
        await case.auth.authenticate(HEADER, ADDRESS)
    assert caught.value.retry_after
    case.keys.failing.clear()
    case.keys.add()
    assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"


async def test_queries_do_not_outlive_their_database() -> None:
    case = Case(CachePolicy())
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.postgres_is_away()
    case.clock.now += 10
    with pytest.raises(Unavailable):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_a_slow_database_holds_a_known_key_up_once_and_not_again() -> None:
    case = Case(IMPATIENT)
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.gate.clear()
    case.clock.now += 10
    assert (await case.auth.authenticate(HEADER, ADDRESS)).key_id == "key-1"
    assert case.auth.cached(HEADER, ADDRESS) is not None
    case.keys.gate.set()
    await case.settle()


async def test_revocation_takes_effect_when_the_database_is_back() -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.postgres_is_away()
    case.clock.now += 10
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.failing.clear()
    case.keys.rows.clear()
    case.clock.now += 2
    case.auth.cached(HEADER, ADDRESS)
    await case.settle()
    with pytest.raises(Unauthorized):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_an_error_that_is_no_outage_is_not_hidden_as_one() -> None:
    case = Case()
    case.keys.failing[Region.EU] = lambda: RuntimeError("no such column")
    with pytest.raises(RuntimeError):
        await case.auth.authenticate(HEADER, ADDRESS)


async def test_look_ups_under_way_are_bounded() -> None:
    case = Case(CachePolicy(max_strange_lookups=1))
    case.keys.gate.clear()
    first = asyncio.ensure_future(case.auth.authenticate(HEADER, ADDRESS))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await case.auth.authenticate(b"Bearer " + make_key(Region.EU, Scope.WORKSPACE, bytes(24)).encode(), ADDRESS)
    first.cancel()
    await case.auth.close()
    assert case.auth._lookups == {}


async def test_strangers_do_not_keep_known_keys_from_being_refreshed() -> None:
    case = Case(CachePolicy(max_lookups=3, max_strange_lookups=2))
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.gate.clear()
    strangers = [asyncio.ensure_future(case.auth.authenticate(header(number), ADDRESS)) for number in range(5)]
    await asyncio.sleep(0)
    case.clock.now += 10
    known = asyncio.ensure_future(case.auth.authenticate(HEADER, ADDRESS))
    await asyncio.sleep(0)
    case.keys.gate.set()
    assert (await known).key_id == "key-1"
    refused = await asyncio.gather(*strangers, return_exceptions=True)
    assert [type(each) for each in refused] == [Unauthorized] * 2 + [Unavailable] * 3


@pytest.mark.parametrize("allowed", ["192.0.2.1/32", "192.0.2.0/24", "::ffff:192.0.2.1/128"])
async def test_a_key_is_good_at_the_addresses_of_its_allowlist(allowed: str) -> None:
    case = Case()
    case.keys.add(allowlist=(network("2001:db8::/32"), network(allowed)))
    assert (await case.auth.authenticate(HEADER, "192.0.2.1")).key_id == "key-1"
    assert case.auth.cached(HEADER, "192.0.2.1") is not None
    assert case.auth.cached(HEADER, "2001:db8::7") is not None


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db9::1", ""])
async def test_anywhere_else_it_is_403_and_asks_no_database_again(address: str) -> None:
    case = Case()
    case.keys.add(allowlist=(network("192.0.2.1"), network("2001:db8::/32")))
    for _ in range(3):
        with pytest.raises(Forbidden):
            await case.auth.authenticate(HEADER, address)
        assert case.auth.cached(HEADER, address) is None
    assert case.keys.asked == [Region.EU]


async def test_an_allowlist_holds_while_postgres_is_away() -> None:
    case = Case()
    case.keys.add(allowlist=(network("192.0.2.1"),))
    await case.auth.authenticate(HEADER, "192.0.2.1")
    case.postgres_is_away()
    case.clock.now += 10
    with pytest.raises(Forbidden):
        await case.auth.authenticate(HEADER, "192.0.2.2")
    assert (await case.auth.authenticate(HEADER, "192.0.2.1")).key_id == "key-1"


async def test_a_changed_allowlist_takes_effect_with_the_next_refresh() -> None:
    case = Case()
    case.keys.add()
    await case.auth.authenticate(HEADER, ADDRESS)
    case.keys.add(allowlist=(network("198.51.100.0/24"),))
    case.clock.now += 8
    assert case.auth.cached(HEADER, ADDRESS) is not None
    await case.settle()
    assert case.auth.cached(HEADER, ADDRESS) is None


@pytest.mark.parametrize("end", [{"revoked": True}, {"expires_at": 1}], ids=["revoked", "expired"])
async def test_a_key_that_has_lapsed_tells_the_audit_whose_it_was_and_its_caller_nothing(end: dict[str, Any]) -> None:
    case = Case()
    case.keys.add(**end)
    for _ in range(2):
        with pytest.raises(LapsedKey) as caught:
            await case.auth.authenticate(HEADER, ADDRESS)
        assert caught.value.holder.company_id == COMPANY
        assert caught.value.sentence == Unauthorized().sentence
    assert case.keys.asked == [Region.EU]


async def test_a_holder_has_the_limits_and_the_state_of_its_row() -> None:
    case = Case()
    case.keys.add(archived=True)
    holder = await case.auth.authenticate(HEADER, ADDRESS)
    assert (holder.archived, holder.limits) == (True, NO_LIMITS)
