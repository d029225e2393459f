"""TCP ports of this machine: is one free, and which one is."""

from __future__ import annotations

import random
import socket

# Below Linux's range for outgoing connections (32768 and up), so that none of those takes the port first.
_CANDIDATES = range(20000, 32000)


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick(preferred: int | None = None, *, avoid: frozenset[int] = frozenset()) -> int:
    """``preferred`` when it is free, else any free port outside ``avoid``. Raises ``OSError`` when there is none."""
    if preferred is not None and preferred not in avoid and is_free(preferred):
        return preferred
    # At random, so that two stacks that start at the same moment choose differently.
    for port in random.sample(_CANDIDATES, k=200):
        if port not in avoid and is_free(port):
            return port
    raise OSError("no free TCP port was found on 127.0.0.1")
