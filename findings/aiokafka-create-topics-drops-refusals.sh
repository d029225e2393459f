#!/usr/bin/env bash
# aiokafka's create_topics() returns normally when the broker has refused every topic.
#
# Expected: a refusal is an exception, as it is in Kafka's Java client and in kafka-python: aiokafka.errors has a class for
#   each, TopicAlreadyExistsError among them, which looks made to be caught here.
# Seen: the refusals lie as numbers in the answer's topic_errors, which nobody has to look at. delete_topics() does the same.
# Matters: "create the topic unless it exists", with an except for the second half, makes nothing where the replication factor,
#   a quota, a policy of a managed Kafka or a missing right forbids it, and says so nowhere: what shows is the next step,
#   a producer that waits for metadata until its time is over.
# HyreLog: ops/kafka.py reads topic_errors, and names topic and refusal.

. "$(dirname "$0")/lib.sh"
python_packages aiokafka==0.14.0
start_kafka

seen=$("$python" - <<'PY'
import asyncio
import os

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=os.environ["KAFKA"])
    await admin.start()

    async def create(what, topic):
        answer = await admin.create_topics([topic])
        print(f"{what}: no exception; in the answer:", *[for_code(code).__name__ for _, code, *_ in answer.topic_errors])

    await create("a new topic", NewTopic("audit", 1, 1))
    await create("the same again", NewTopic("audit", 1, 1))
    await create("3 replicas on 1 broker", NewTopic("events", 1, 3))
    await create("a setting that there is not", NewTopic("events", 1, 1, topic_configs={"retention.days": "7"}))
    print("topics then:", await admin.list_topics())
    answer = await admin.delete_topics(["events"])
    print("deleting one that there is not: no exception; in the answer:", *[for_code(code).__name__ for _, code in answer.topic_error_codes])
    await admin.close()


asyncio.run(asyncio.wait_for(main(), 60))
PY
)
conclude "$seen" <<'EOF'
a new topic: no exception; in the answer: NoError
the same again: no exception; in the answer: TopicAlreadyExistsError
3 replicas on 1 broker: no exception; in the answer: InvalidReplicationFactorError
a setting that there is not: no exception; in the answer: InvalidConfigurationError
topics then: ['audit']
deleting one that there is not: no exception; in the answer: UnknownTopicOrPartitionError
EOF
