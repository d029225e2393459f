#!/usr/bin/env bash
# An aiokafka consumer does not notice that its topic was deleted and made anew: it goes on at its old offset, past new records.
#
# Expected: a topic that was made anew is another topic (it has another id, KIP-516); whoever was reading the old one gets an error,
#   or its offsets are reset.
# Seen: aiokafka asks by name. As soon as the new log is longer than the old position, it reads on there: what was written to
#   the new topic below that offset is never told, and there is no error and no warning.
# Matters: a topic remade in an incident costs each consumer as many new events as it had read old ones.
# HyreLog: ops/kafka.py asks for topic ids by a request of its own; the worker and the sinks store them with their positions, the
#   tail (api/tail/hub.py) compares them while it reads. The worker's positions go on rising by an offset base (hyrelog unpark).

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka

seen=$("$python" - <<'PY'
import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

WHERE = {"bootstrap_servers": os.environ["KAFKA"]}
EVENTS = TopicPartition("events", 0)


async def write(kind, count):
    async with AIOKafkaProducer(**WHERE) as producer:
        for number in range(count):
            await producer.send_and_wait("events", f"{kind} {number}".encode(), partition=0)


async def make(admin):
    while (await admin.create_topics([NewTopic("events", 1, 1)])).topic_errors[0][1]:
        await asyncio.sleep(0.2)


async def read(consumer, until):
    values = []
    while until not in values:
        values.append((await consumer.getone()).value.decode())
    return values


async def main():
    admin = AIOKafkaAdminClient(**WHERE)
    await admin.start()
    await make(admin)
    await write("old", 3)
    async with AIOKafkaConsumer(**WHERE, auto_offset_reset="none", metadata_max_age_ms=1000) as consumer:
        consumer.assign([EVENTS])
        consumer.seek(EVENTS, 0)
        print("read:", ", ".join(await read(consumer, "old 2")))
        consumer.pause(EVENTS)
        await asyncio.sleep(1)
        await admin.delete_topics(["events"])
        await make(admin)
        await write("new", 6)
        await asyncio.sleep(3)
        consumer.resume(EVENTS)
        print("read:", ", ".join(await read(consumer, "new 5")))
    await admin.close()


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
read: old 0, old 1, old 2
read: new 3, new 4, new 5
EOF
