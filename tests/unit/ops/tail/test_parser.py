"""Server-sent events: the standard's own examples, and whatever a network may make of a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.tail.parser import MAX_BYTES, Message, Overlong, Parser

NEWLINES = ("\n", "\r", "\r\n")
ONE_LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
MESSAGES = st.lists(st.builds(Message, ONE_LINE.filter(bool), st.lists(ONE_LINE, min_size=1, max_size=3).map("\n".join), ONE_LINE))


def parsed(*pieces: bytes) -> list[Message]:
    parser = Parser()
    return [message for piece in pieces for message in parser.feed(piece)]


def written(messages: list[Message], newline: str) -> bytes:
    """As a server may send them: with comments, and fields in any order."""
    lines = []
    for number, message in enumerate(messages):
        data = [f"data: {line}" for line in message.data.split("\n")]
        lines += [f":{number}", f"id: {message.id}", *data, f"event: {message.event}", ""]
    return "".join(line + newline for line in lines).encode()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [Message("message", "YHOO\n+2\n10", "")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [Message("message", "first event", "1"), Message("message", "second event", ""), Message("message", " third event", "")],
        ),
        # The last block has no blank line behind it and is never told.
        ("data\n\ndata\ndata\n\ndata:", [Message("message", "", ""), Message("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [Message("message", "test", ""), Message("message", "test", "")]),
        ("event: add\ndata: 73857293\n\n", [Message("add", "73857293", "")]),
    ],
)
def test_the_examples_of_the_standard(stream: str, expected: list[Message]) -> None:
    assert parsed(stream.encode()) == expected


@given(MESSAGES, st.sampled_from(NEWLINES), st.sampled_from((b"", b"\xef\xbb\xbf")))
def test_what_is_written_is_read(messages: list[Message], newline: str, mark: bytes) -> None:
    assert parsed(mark + written(messages, newline)) == messages


@given(MESSAGES, st.sampled_from(NEWLINES), st.lists(st.integers(0, 400)))
def test_it_does_not_matter_where_a_stream_is_cut(messages: list[Message], newline: str, cuts: list[int]) -> None:
    stream = written(messages, newline)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert parsed(*(stream[start:end] for start, end in pairwise(places))) == messages


@given(st.lists(st.sampled_from([b"data", b"id", b":", b" ", b"\r", b"\n", b"\r\n", b"\0", b"x", b"\xff", b"\xef\xbb\xbf", b"retry: 5"])))
def test_any_bytes_are_a_stream_and_mean_the_same_byte_by_byte(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    assert parsed(*(stream[at : at + 1] for at in range(len(stream)))) == parsed(stream)


def test_a_carriage_return_ends_its_line_without_waiting_for_more() -> None:
    assert parsed(b"data: now\r\r") == [Message("message", "now", "")]
    assert parsed(b"data: now\r", b"\n\r", b"\ndata: next\r\n\r\n") == [Message("message", "now", ""), Message("message", "next", "")]


def test_an_id_without_data_moves_the_position_and_is_no_message() -> None:
    """So a stream on which nothing passes the filters can still be resumed where it is."""
    parser = Parser("a")
    assert parser.feed(b": still here\nid: b\n") == []
    assert parser.last_event_id == "a"
    assert parser.feed(b"\n") == []
    assert parser.last_event_id == "b"


def test_an_id_holds_until_the_next_good_one() -> None:
    stream = b"id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\nid: 9\ndata: d\n\n"
    assert [message.id for message in parsed(stream)] == ["7", "7", "7", "9"]


@pytest.mark.parametrize(
    ("line", "seconds"), [("retry: 1500", 1.5), ("retry:0", 0.0), ("retry: 1.5", None), ("retry: \u0663", None), ("retry", None)]
)
def test_only_digits_say_how_long_to_wait(line: str, seconds: float | None) -> None:
    parser = Parser()
    parser.feed(f"{line}\n".encode())
    assert parser.retry_seconds == seconds


@pytest.mark.parametrize("unit", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n", b"data\n" * 65536])
def test_a_message_that_does_not_end_is_given_up(unit: bytes) -> None:
    with pytest.raises(Overlong):
        parsed(*(unit for _ in range(2 * MAX_BYTES // 65536)))
