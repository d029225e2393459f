"""A member of a group that never gets to its brokers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ops.group_reader import GroupReader
from ops.kafka import KafkaError
from ops.local.ports import pick
from ops.settings import Settings
from schemas.topics import Region


def _nothing(*_: object) -> None:
    """Whatever is told."""


async def test_one_that_could_not_join_can_be_let_go() -> None:
    """A consumer that is not closed keeps its connections; a process that waits for its brokers makes one every few seconds."""
    brokers = f"127.0.0.1:{pick()}"
    settings = cast("Settings", SimpleNamespace(kafka=lambda _region: brokers, kafka_security_protocol="PLAINTEXT"))
    reader = GroupReader(
        settings, Region.US, ["topic"], "group", session_seconds=6, on_assigned=_nothing, on_revoked=_nothing, on_change=_nothing
    )
    with pytest.raises(KafkaError):
        await reader.start()
    await reader.stop()
    assert reader._consumer._closed
