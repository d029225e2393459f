"""What each process that serves does besides."""

from __future__ import annotations

import resource

from ops.serve import Message, Receive, Scope, Send, serving


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody asks it anything."""
    message: Message = await receive()
    assert message["type"] == "lifespan.startup", scope
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def test_a_process_with_other_work_may_open_as_many_files_as_the_system_lets_it() -> None:
    """Each connection to an endpoint is one, and many systems begin at 1,024."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        async with serving(app, host="127.0.0.1", port=0):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
