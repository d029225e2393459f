"""Who serves beside others, and counts alone, is told to the operator."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from ops import replicas as module
from ops.replicas import Replicas, process_name


class FakeProcesses:
    """So many processes serve."""

    def __init__(self, count: int) -> None:
        self.number = count

    async def count(self) -> int:
        return self.number


async def test_alone_there_is_nothing_to_tell() -> None:
    replicas = Replicas(FakeProcesses(1), None)
    with capture_logs() as logged:
        await replicas.look()
    assert replicas.notices() == []
    assert logged == []


async def test_beside_others_it_is_logged_once_and_told_until_they_are_gone() -> None:
    processes = FakeProcesses(3)
    replicas = Replicas(processes, None)
    with capture_logs() as logged:
        for _ in range(3):
            await replicas.look()
    notice = "rate limits: 3 processes serve and each counts alone, set RATE_LIMIT_STORE_URL"
    assert replicas.notices() == [notice]
    assert [line["event"] for line in logged] == [notice]
    processes.number = 1
    await replicas.look()
    assert replicas.notices() == []


def test_the_apps_of_one_process_are_one() -> None:
    services = [process_name("hyrelog-ingest"), process_name("hyrelog-api")]
    assert [name.split(" ")[0] for name in services] == ["hyrelog-ingest", "hyrelog-api"]
    assert len({name.split(" ")[1] for name in services}) == 1


async def test_a_look_that_fails_is_logged_and_the_next_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the notice would be gone for good, and nobody told."""
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)

    class Stumbling(FakeProcesses):
        async def count(self) -> int:
            self.number += 1
            if self.number == 1:
                raise RuntimeError("not of the database")
            return self.number

    replicas = Replicas(Stumbling(0), None)
    with capture_logs() as logged:
        replicas.start()
        async with asyncio.timeout(5):
            while not replicas.notices():
                await asyncio.sleep(0)
        await replicas.stop()
    assert "other processes are not seen" in [line["event"] for line in logged]
