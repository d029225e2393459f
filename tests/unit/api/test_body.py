"""Bodies of the API: read strictly, in bounded time and memory, and documented as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import Field
from starlette.requests import Request

from api import body
from api.page import render
from schemas.problems import PayloadTooLarge, RequestTimeout, UnsupportedMediaType, ValidationFailed

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Wish(body.Body):
    """What is wished for."""

    first_name: str = Field(min_length=1)
    seconds: int = 3600


class Empty(body.Body):
    """All of it may be left out."""

    seconds: int = 3600


def sent(*pieces: bytes) -> Receive:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces] + [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def request(receive: Receive, **headers: str) -> Request:
    named = {"content_type": "application/json"} | headers
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "headers": pairs}, receive)


async def test_a_body_comes_in_pieces_and_is_read_by_its_public_names() -> None:
    found = await body.read(request(sent(b'{"firstName":', b'"Ada"}')), Wish, seconds=1)
    assert (found.first_name, found.seconds) == ("Ada", 3600)


async def test_where_all_may_be_left_out_the_body_may() -> None:
    assert (await body.read(request(sent(), content_type=""), Empty, seconds=1)).seconds == 3600


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"{}", "firstName"),
        (b'{"firstName": "Ada", "first_name": "Ada"}', "first_name"),
        (b'{"firstName": "Ada", "seconds": "1"}', "seconds"),
        (b'{"firstName": "Ada", "seconds": true}', "seconds"),
        (b'{"firstName": "Ada", "seconds": 1.5}', "seconds"),
        (b'{"firstName": "Ada", "firstName": "Eve"}', "firstName"),
        (b'{"firstName": "\\u0000"}', "firstName"),
        (b'{"firstName": "\\ud800"}', None),
        (b'{"firstName": "\xff"}', None),
        (b"null", None),
    ],
)
async def test_what_is_wrong_is_named(text: bytes, field: str | None) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await body.read(request(sent(text)), Wish, seconds=1)
    assert caught.value.details[0].field == field


async def test_a_large_body_is_not_taken_in() -> None:
    with pytest.raises(PayloadTooLarge):
        await body.read(request(sent(*[b" " * 1024] * 65)), Wish, seconds=1)


async def test_a_slow_body_is_not_waited_for() -> None:
    with pytest.raises(RequestTimeout):
        await body.read(request(never), Wish, seconds=0.01)


async def test_a_client_that_hangs_up_in_mid_body_was_too_slow() -> None:
    """A refusal like any other, so that it is audited, and no fault of ours."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    with pytest.raises(RequestTimeout):
        await body.read(request(receive), Wish, seconds=1)


@pytest.mark.parametrize("headers", [{"content_type": "text/plain"}, {"content_type": ""}, {"content_encoding": "gzip"}])
async def test_a_body_is_plain_json(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaType):
        await body.read(request(sent(b'{"firstName": "Ada"}'), **headers), Wish, seconds=1)


@pytest.mark.parametrize(("model", "required"), [(Wish, True), (Empty, False)])
def test_the_document_and_its_page_tell_what_is_read(model: type[body.Body], required: bool) -> None:
    extra = body.documented(model)["requestBody"]
    assert extra["required"] is required
    operation = {"requestBody": extra, "responses": {}}
    document = {
        "info": {"title": "T", "version": "1", "description": ""},
        "paths": {"/x": {"post": operation}},
        "components": {"schemas": {}},
    }
    page = render(document)
    assert all(name in page for name in extra["content"]["application/json"]["schema"]["properties"])
