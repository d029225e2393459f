"""What a stack remembers."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.local import ports
from ops.local.state import DEFAULT_PORTS, State


def test_ports_and_secrets_are_the_same_after_a_restart(tmp_path: Path) -> None:
    first = State(tmp_path)
    made = first.port("kafka"), first.secret("internal_token")
    again = State(tmp_path)
    assert (again.port("kafka"), again.secret("internal_token")) == made


def test_several_processes_agree_on_one_secret(tmp_path: Path) -> None:
    """Each had read the file before anybody decided."""
    states = [State(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda state: state.secret("s3"), states))) == 1


def test_only_the_owner_can_read_the_secrets(tmp_path: Path) -> None:
    State(tmp_path).secret("s3")
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_stack_of_the_tests_leaves_the_demos_ports_alone(tmp_path: Path) -> None:
    state = State(tmp_path, fixed_ports=False)
    chosen = {state.port(name) for name in DEFAULT_PORTS}
    assert len(chosen) == len(DEFAULT_PORTS)
    assert not chosen & set(DEFAULT_PORTS.values())


def test_a_moved_port_is_another_one(tmp_path: Path) -> None:
    state = State(tmp_path, fixed_ports=False)
    before = state.port("s3")
    state.move_port("s3")
    assert state.port("s3") != before
    assert State(tmp_path).port("s3") == state.port("s3")


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.pick(port) != port
    assert ports.is_free(port)
