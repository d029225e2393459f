"""What regions of one process share of a consumer group, and what they do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import pytest

from ops.kafka import KafkaError, LogView, Topic, TopicMismatch, TopicPartition
from ops.settings import Settings
from schemas.topics import Region
from sinks.consumer import GroupMember, TopicConsumer, group_of, members

TOPICS = {"us": Topic(UUID(int=1), 8), "eu": Topic(UUID(int=2), 8)}


class _Consumer(TopicConsumer):
    """Its tasks wait for ever. ``answer`` is what a look finds, or raises."""

    def __init__(self, region: Region) -> None:
        super().__init__("search", region, region.lower())
        self.answer: bool | Exception = True
        self.errors: list[Exception] = []

    async def work(self, partition: int) -> None:
        await asyncio.Event().wait()

    async def look(self, topics: Mapping[str, Topic]) -> bool:
        assert topics is TOPICS
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def note(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def running(self) -> set[int]:
        return set(self._tasks)


class _View:
    """The brokers answer."""

    async def topics(self) -> Mapping[str, Topic]:
        return TOPICS


def _settings(**bootstraps: str) -> Settings:
    return cast("Settings", SimpleNamespace(kafka=lambda region: bootstraps[region.lower()]))


@pytest.fixture
async def pair() -> AsyncIterator[tuple[GroupMember, _Consumer, _Consumer]]:
    """A member that was given partitions of both regions."""
    us, eu = _Consumer(Region.US), _Consumer(Region.EU)
    member = GroupMember("search", _settings(us="one", eu="one"), [us, eu])
    member._view = cast("LogView", _View())
    member._assign({TopicPartition("us", 0), TopicPartition("us", 1), TopicPartition("eu", 5)})
    yield member, us, eu
    member._revoke(set())
    assert (us.running, eu.running) == (set(), set())


async def test_each_region_gets_its_own_partitions(pair: tuple[GroupMember, _Consumer, _Consumer]) -> None:
    _member, us, eu = pair
    assert (us.running, eu.running) == ({0, 1}, {5})


async def test_a_region_whose_topic_is_not_what_it_should_be_is_not_read_until_it_is(
    pair: tuple[GroupMember, _Consumer, _Consumer],
) -> None:
    """Neither from a rebalance on, and the others are read."""
    member, us, eu = pair
    eu.answer = TopicMismatch("8 partitions")
    await member._look()
    assert (us.running, eu.running, eu.errors, member._is_settled) == ({0, 1}, set(), [eu.answer], False)
    member._assign({TopicPartition("us", 0), TopicPartition("eu", 6)})
    assert eu.running == set()
    eu.answer = True
    await member._look()
    assert (eu.running, member._is_settled) == ({6}, True)


async def test_a_region_whose_logs_are_not_told_of_is_read_on(pair: tuple[GroupMember, _Consumer, _Consumer]) -> None:
    """One partition without a leader is no reason to stop the others."""
    member, us, eu = pair
    eu.answer = KafkaError()
    await member._look()
    assert (us.running, eu.running, eu.errors) == ({0, 1}, {5}, [eu.answer])


async def test_when_no_region_is_answered_the_member_begins_anew(pair: tuple[GroupMember, _Consumer, _Consumer]) -> None:
    member, us, eu = pair
    us.answer = eu.answer = TopicMismatch("missing")
    with pytest.raises(TopicMismatch):
        await member._look()


async def test_there_is_one_member_for_each_cluster() -> None:
    consumers = [_Consumer(region) for region in (Region.US, Region.EU, Region.UK)]
    found = members("search", _settings(us="one", eu="another", uk="one"), consumers)
    assert [[each.region for each in member._consumers] for member in found] == [[Region.US, Region.UK], [Region.EU]]


def test_processes_of_the_same_regions_are_one_group_in_whatever_order_they_name_them() -> None:
    """Those of other regions are none of it: their restarts would move its partitions."""
    assert group_of("search", [Region.US, Region.EU]) == group_of("search", [Region.EU, Region.US]) == "hyrelog.search.eu.us"
    assert group_of("search", [Region.US]) == "hyrelog.search.us"
