#!/usr/bin/env bash
# One consumer of the new protocol (KIP-848) that uses a classic group's id is let in, converts the group, and takes partitions.
#
# Expected: members must agree on how they work. Two classic members with different assignors are kept apart
#   (InconsistentGroupProtocol), so a member of another protocol is refused the more.
# Seen: the broker converts the group online, by default and with nobody asked: the classic member has a rebalance like any other,
#   and half of the partitions are the newcomer's. Consumers of librdkafka's and Java's clients do so by one setting.
# Matters: a script that borrows the id of a pipeline's group to have a look takes half of it out of work, and a pipeline that
#   trusts committed offsets skips what the stranger commits.
# HyreLog: positions are in PostgreSQL (ADR 3), so that nothing is skipped; what the stranger holds stands until it leaves.
#   ops/docs/operations.md says to keep the groups' names to the services by ACL.

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0 confluent-kafka==2.12.1
start_kafka

seen=$("$python" - 2>/dev/null <<'PY'
import asyncio
import os
import threading

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from confluent_kafka import Consumer

BROKER = os.environ["KAFKA"]
GROUP = "finding"


def classic(assignor):
    return AIOKafkaConsumer(
        "events", bootstrap_servers=BROKER, group_id=GROUP, enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
        partition_assignment_strategy=[assignor],
    )


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    await admin.create_topics([NewTopic("events", 2, 1)])
    await admin.close()
    async with classic(RoundRobinPartitionAssignor) as member:
        print("alone:", len(member.assignment()), "of 2 partitions")
        other = classic(RangePartitionAssignor)
        try:
            await other.start()
        except KafkaError as error:
            print("a classic member with another assignor:", type(error).__name__)
        finally:
            await other.stop()
        newcomer = Consumer({"bootstrap.servers": BROKER, "group.id": GROUP, "group.protocol": "consumer", "enable.auto.commit": False})
        newcomer.subscribe(["events"])
        stop = threading.Event()
        polling = threading.Thread(target=lambda: [newcomer.poll(0.1) for _ in iter(stop.is_set, True)])
        polling.start()
        while not (len(member.assignment()) == 1 and len(newcomer.assignment()) == 1):
            await asyncio.sleep(0.2)
        print("a member of the new protocol: has 1 partition, and 1 is left")
        stop.set()
        polling.join()
        newcomer.close()


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
alone: 2 of 2 partitions
a classic member with another assignor: InconsistentGroupProtocolError
a member of the new protocol: has 1 partition, and 1 is left
EOF
