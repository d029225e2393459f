#!/usr/bin/env bash
# Faust commits the offset of an event whose agent raised, so it never comes again.
#
# Expected: an event is acknowledged once its agent is through with it. One that ends in an exception is delivered again, to the
#   restarted agent or to the next worker: "at least once", as Kafka's own consumers do it.
# Seen: a stream acknowledges in a `finally`. The supervisor restarts the agent behind the failed event, the commit passes it, and
#   a second worker of the same group gets nothing.
# Matters: a database that is away for the time of one event loses that event for good, in silence.
# HyreLog: streams/app.py retries in place and keeps its position in PostgreSQL, in the transaction that stores the events
#   (ADR 3); Faust's commit is a hint.

. "$(dirname "$0")/lib.sh"
python_packages faust-streaming==0.15.3 aiokafka==0.14.0
start_kafka

seen=$("$python" - 2>/dev/null <<'PY'
import asyncio
import os
import tempfile

import faust
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BROKER = os.environ["KAFKA"]
EVENTS = 6


async def work(name, failing, until):
    """Run a worker of the group until its condition holds; returns the events that its agent was through with."""
    app = faust.App(
        "finding", broker=f"kafka://{BROKER}", value_serializer="raw", key_serializer="raw", web_enabled=False, datadir=tempfile.mkdtemp(),
        topic_allow_declare=False, topic_disable_leader=True, table_standby_replicas=0, broker_commit_interval=0.2, origin=name,
    )
    done, failed = [], []

    @app.agent(app.topic("events", value_serializer="raw", key_serializer="raw"))
    async def store(stream):
        async for value in stream:
            if value == failing:
                failed.append(value.decode())
                raise ConnectionError("the database is away")
            done.append(value.decode())

    async with app:
        while not await until():
            await asyncio.sleep(0.2)
    return done, failed


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    await admin.create_topics([NewTopic("events", 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=BROKER) as producer:

        async def committed():
            found = await admin.list_consumer_group_offsets("finding")
            return getattr(found.get(TopicPartition("events", 0)), "offset", -1)

        async def first_is_through():
            return await committed() >= EVENTS

        async def second_is_through():
            return await committed() >= EVENTS + 1

        for number in range(EVENTS):
            await producer.send_and_wait("events", b"%d" % number)
        done, failed = await work("first", b"2", first_is_through)
        print("first worker: stored", *done, "- failed", *failed, "- committed", await committed(), "of", EVENTS)
        await producer.send_and_wait("events", b"%d" % EVENTS)
        done, _ = await work("second", None, second_is_through)
        print("second worker, and one event more: stored", *done)
    await admin.close()


asyncio.run(asyncio.wait_for(main(), 120))
PY
)
conclude "$seen" <<'EOF'
first worker: stored 0 1 3 4 5 - failed 2 - committed 6 of 6
second worker, and one event more: stored 6
EOF
