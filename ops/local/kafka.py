"""Apache Kafka in KRaft mode: one node that is broker and controller at once."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ops.local import tools
from ops.local.environment import inherited
from ops.local.part import Part
from ops.local.probes import kafka_answers
from ops.local.state import State

_MIB = 1 << 20
_LOG4J = """\
Configuration:
  Appenders:
    Console:
      name: stderr
      target: SYSTEM_ERR
      PatternLayout: {pattern: "%d{ISO8601} %-5p %c{1} %m%n"}
  Loggers:
    Root: {level: warn, AppenderRef: {ref: stderr}}
"""


class KafkaError(Exception):
    """The broker's storage could not be formatted."""


def _properties(state: State, data: Path) -> dict[str, object]:
    broker, controller = f"127.0.0.1:{state.port('kafka')}", f"127.0.0.1:{state.port('controller')}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # The largest legal batch is 10 MiB of canonical JSON; the topics' own limit is 16 MiB.
        "message.max.bytes": 16 * _MIB,
        "replica.fetch.max.bytes": 16 * _MIB,
        "socket.request.max.bytes": 100 * _MIB,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may come back once its session is over: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # Of a whole machine's threads each wakes three times a second or more to find nothing to do, and an idle quorum of one
        # writes to its log twice a second.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "group.coordinator.threads": 1,
        "metadata.max.idle.interval.ms": 5000,
    }


def _format(state: State, java: list[str], config: Path, data: Path) -> None:
    """Give the empty log directory its cluster id: 16 bytes in URL-safe base 64, as Kafka writes a UUID."""
    cluster_id = base64.urlsafe_b64encode(bytes.fromhex(state.secret("kafka.cluster"))[:16]).decode().rstrip("=")
    # In one word with its option: one id in 64 begins with a dash.
    argv = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted", f"--cluster-id={cluster_id}", "-c", str(config)]
    made = subprocess.run(argv, cwd=data, env=inherited(), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise KafkaError(f"formatting Kafka's storage failed: {(made.stderr or made.stdout).strip()}")


def _command(state: State) -> Sequence[str]:
    home = state.root / "kafka"
    data = home / "data"
    data.mkdir(parents=True, exist_ok=True)
    config, log4j = home / "server.properties", home / "log4j2.yaml"
    config.write_text("".join(f"{name}={value}\n" for name, value in _properties(state, data).items()))
    log4j.write_text(_LOG4J)
    java = [str(tools.java()), f"-Dlog4j2.configurationFile={log4j}", "-cp", f"{tools.kafka_libraries()}/*"]
    if not (data / "meta.properties").exists():
        _format(state, java, config, data)
    # Serial GC and the first compiler tier: a small heap and a quick start matter more here than peak speed. Nobody reads the JVM's own
    # counters, which it samples twenty times a second.
    flags = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    return [java[0], *flags, *java[1:], "kafka.Kafka", str(config)]


def part(state: State) -> Part:
    """The broker."""
    return Part(
        name="kafka",
        command=lambda: _command(state),
        ready=lambda: kafka_answers(state.port("kafka")),
        cwd=state.root,
        ports=("kafka", "controller"),
        environ=inherited,
    )
