"""Events become requests to whoever wants them, each attempt on record: the sink and its dispatcher on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from standardwebhooks import Webhook

from ops.settings import Settings
from tests.support.delivering import add_hook, attempts, dispatching, due, owned_chain, settings_for
from tests.support.managing import Database
from tests.support.receiver import Receiver, receiving
from tests.support.sinking import Topic, open_topic, persist, until
from tests.support.stack import LocalStack


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
async def topic(servers: LocalStack) -> AsyncIterator[Topic]:
    async with open_topic(servers) as opened:
        yield opened


@pytest.fixture
def settings(servers: LocalStack, receiver: Receiver) -> Settings:
    return settings_for(servers, receiver.port)


async def test_an_event_is_posted_signed_and_its_attempt_recorded(
    servers: LocalStack, settings: Settings, topic: Topic, receiver: Receiver, superuser: Database
) -> None:
    chain = owned_chain(servers)
    hook = await add_hook(superuser, settings, chain, receiver.url("/hook"))
    async with dispatching(settings):
        events = await persist(superuser, chain, chain.events(3))
        await topic.announce(events)
        got = await receiver.until("/hook", 3)

        async def is_done() -> bool:
            return await due(superuser, hook) == 0

        await until(is_done)
    for each in got:
        Webhook(hook.secret).verify(each.body, dict(each.headers))
    made = await attempts(superuser, hook)
    print(made[0], got[0])
    assert [each["state"] for each in made] == ["SUCCEEDED"] * 3
