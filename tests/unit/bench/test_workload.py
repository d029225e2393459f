"""What the bench posts must be what the service takes, and of the size it says."""

from __future__ import annotations

import orjson
import pytest

from schemas.canonical import parse
from schemas.incoming import read
from tests.bench.workload import body, event, request

NOW = 1_800_000_000_000_000


def test_an_event_keeps_the_rules_and_has_every_group() -> None:
    read_back = read(parse(body(7, 1)), NOW)
    assert None not in (read_back.actor, read_back.resource, read_back.metadata, read_back.actor_email)
    assert 450 <= len(body(7, 1)) <= 650


def test_a_batch_holds_that_many_different_events() -> None:
    assert orjson.loads(body(200, 100)) == [event(number) for number in range(200, 300)]


@pytest.mark.parametrize(("batch", "path"), [(1, b"/v1/events"), (100, b"/v1/events/batch")])
def test_a_request_goes_where_its_size_belongs(batch: int, path: bytes) -> None:
    content = body(0, batch)
    head, _, sent = request("hlk_us_ws_x", content, batch=batch).partition(b"\r\n\r\n")
    assert head.startswith(b"POST " + path + b" HTTP/1.1\r\n")
    assert b"\r\nContent-Length: %d" % len(content) in head
    assert sent == content
