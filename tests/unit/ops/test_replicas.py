"""Who serves beside others, and counts alone, is told to the operator."""

from __future__ import annotations

import pytest

from ops.replicas import Replicas, process_name


class FakeProcesses:
    """So many processes serve."""

    def __init__(self, count: int) -> None:
        self.number = count

    async def count(self) -> int:
        return self.number


async def test_alone_there_is_nothing_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    replicas = Replicas(FakeProcesses(1), None)
    await replicas.look()
    assert replicas.notices() == []
    assert capsys.readouterr().out == ""


async def test_beside_others_it_is_logged_once_and_told_until_they_are_gone(capsys: pytest.CaptureFixture[str]) -> None:
    processes = FakeProcesses(3)
    replicas = Replicas(processes, None)
    for _ in range(3):
        await replicas.look()
    notice = "rate limits: 3 processes serve and each counts alone, set RATE_LIMIT_STORE_URL"
    assert replicas.notices() == [notice]
    assert capsys.readouterr().out.count(notice) == 1
    processes.number = 1
    await replicas.look()
    assert replicas.notices() == []


def test_the_apps_of_one_process_are_one() -> None:
    services = [process_name("hyrelog-ingest"), process_name("hyrelog-api")]
    assert [name.split(" ")[0] for name in services] == ["hyrelog-ingest", "hyrelog-api"]
    assert len({name.split(" ")[1] for name in services}) == 1
