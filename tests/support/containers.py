"""The stack's servers from testcontainers, on the ports and with the secrets of a stack's state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from testcontainers.core.container import DockerContainer

from ops.local.environment import Role, object_store
from ops.local.kafka import part as kafka_part
from ops.local.postgres import part as postgres_part
from ops.local.s3 import part as s3_part
from ops.local.state import State

_READY_SECONDS = 120.0
_IMAGES = {"kafka": "apache/kafka:4.4.0", "postgres": "postgres:18", "s3": "versity/versitygw:v1.8.0"}


@contextmanager
def servers_in_containers(state: State) -> Iterator[None]:
    """Run the three servers until the block ends."""
    parts = (kafka_part(state), postgres_part(state), s3_part(state))
    with ExitStack() as running:
        for container in (_kafka(state), _postgres(state), _s3(state)):
            running.enter_context(container)
        for part in parts:
            _wait(part.name, part.ready)
        yield


def _wait(name: str, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the container of {name} was not ready within {_READY_SECONDS:.0f} s")
        time.sleep(0.2)


def _kafka(state: State) -> DockerContainer:
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{state.port('kafka')}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_MESSAGE_MAX_BYTES": str(16 << 20),
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    return _container("kafka", settings).with_bind_ports(9092, state.port("kafka"))


def _postgres(state: State) -> DockerContainer:
    settings = {
        "POSTGRES_USER": str(Role.SUPERUSER),
        "POSTGRES_PASSWORD": state.secret(f"postgres.{Role.SUPERUSER}"),
        "POSTGRES_DB": "postgres",
    }
    return _container("postgres", settings).with_bind_ports(5432, state.port("postgres"))


def _s3(state: State) -> DockerContainer:
    store = object_store(state)
    settings = {"ROOT_ACCESS_KEY_ID": store["S3_ACCESS_KEY_ID"], "ROOT_SECRET_ACCESS_KEY": store["S3_SECRET_ACCESS_KEY"]}
    script = "mkdir -p /objects /versions && exec versitygw posix --versioning-dir /versions /objects"
    shell = _container("s3", settings).with_kwargs(entrypoint=["/bin/sh", "-c"]).with_command([script])
    return shell.with_bind_ports(7070, state.port("s3"))


def _container(name: str, settings: dict[str, str]) -> DockerContainer:
    container = DockerContainer(_IMAGES[name])
    for variable, value in settings.items():
        container.with_env(variable, value)
    return container
