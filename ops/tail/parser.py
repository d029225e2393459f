"""Server-sent events out of pieces of bytes (WHATWG HTML §9.2.5 and §9.2.6), however the pieces are cut."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_BYTES: Final = 4 << 20
"""Of one message: many times the largest event there can be."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Overlong(Exception):
    """The stream holds a message that is none of ours: it does not end."""


class Message(NamedTuple):
    """An event as the stream tells it; ``id`` is where the stream is behind it."""

    event: str
    data: str
    id: str


class Parser:
    """One connection's stream. What is unfinished when the connection ends is to be thrown away with the parser, as §9.2.6 says."""

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        """Where the stream is: a message without data moves it too."""
        self.retry_seconds: float | None = None
        """How long the server asks to wait before a reconnect."""
        self._unended = b""
        self._skips_line_feed = False
        self._is_first_line = True
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []
        self._held = 0

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that this piece completes. Raises ``Overlong``."""
        if self._skips_line_feed and piece:  # a CR ends its line at once; this may be the other half of a CRLF
            piece = piece.removeprefix(b"\n")
            self._skips_line_feed = False
        lines = (self._unended + piece).splitlines(keepends=True)
        is_whole = not lines or lines[-1].endswith((b"\n", b"\r"))
        self._unended = b"" if is_whole else lines.pop()
        if lines and is_whole:
            self._skips_line_feed = lines[-1].endswith(b"\r")
        messages = [message for line in lines if (message := self._line(line.rstrip(b"\r\n"))) is not None]
        if self._held + len(self._unended) > MAX_BYTES:
            raise Overlong
        return messages

    def _line(self, line: bytes) -> Message | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.decode(errors="replace").partition(":")
        self._field(name, value.removeprefix(" "))
        return None

    def _field(self, name: str, value: str) -> None:
        match name:
            case "data":
                self._data.append(value)
                self._held += len(value) + 1
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_seconds = int(value) / 1000
            case _:
                pass  # a comment, which is a field without a name, or a field of the future

    def _dispatch(self) -> Message | None:
        self.last_event_id = self._id
        event, data, has_data = self._event or "message", "\n".join(self._data), bool(self._data)
        self._event, self._data, self._held = "", [], 0
        return Message(event, data, self._id) if has_data else None
