"""What the audit relay sends again changes nothing, also when the chain worker meets both at once."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg

from schemas.audit import ENTROPY_BYTES, Entry, Holder, Outcome, record
from schemas.topics import Region
from tests.support.managing import audit_workspace
from tests.support.stack import LocalStack
from tests.support.topic import publish

PATIENCE = 60.0
STORED = "SELECT id FROM events WHERE workspace_id = $1 ORDER BY seq"


async def test_an_entry_that_comes_twice_in_one_chunk_is_stored_once(stack: LocalStack) -> None:
    """Before it is stored and after. Neither is rejected: a rejection would tell the customer of something lost."""
    company = stack.tenant().id
    database = await asyncpg.connect(stack.superuser_url())
    workspace = str(await audit_workspace(database, company))
    holder = Holder(Region.US, str(company), workspace)
    entries = [Entry("test.act", Outcome.SUCCESS, {"type": "test"}, os.urandom(16).hex()) for _ in range(3)]
    first, second, third = (record(each, holder, now=time.time_ns() // 1000, entropy=os.urandom(ENTROPY_BYTES)) for each in entries)
    before = ((first, second, first, second), [first, second])
    after = ((second, first, second, third, third), [first, second, third])
    for sent, stored in (before, after):
        stack.parts.stop("worker-1")
        try:
            await publish(stack, workspace, [each.record for each in sent])
        finally:
            stack.parts.start("worker-1")
        async with asyncio.timeout(PATIENCE):
            while len(rows := await database.fetch(STORED, workspace)) < len(stored):
                await asyncio.sleep(0.1)
        assert [str(row["id"]) for row in rows] == [each.event_id for each in stored]
    stack.parts.wait_ready("worker-1")
    assert await database.fetch("SELECT reason FROM rejected WHERE workspace_id = $1", workspace) == []
    await database.close()
