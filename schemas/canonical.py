"""Strict JSON in, canonical JSON out (RFC 7493 in, RFC 8785 out).

``canonical`` gives exactly the bytes of the ``rfc8785`` package. Sorted orjson does so twenty times
faster (1.75 against 32 µs an event), but differs for whole-number and tiny floats and for keys
beyond the Basic Multilingual Plane: those few values go to the package. ``tests/unit/schemas``
compares the two by hypothesis.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import rfc8785

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
# From here up to MAX_INTEGER a fraction is written the same by orjson and ECMAScript: plain decimals.
_PLAIN_FRACTION = 1e-3

Path = tuple[str | int, ...]
Writer = Callable[[Any], bytes]


class InvalidJson(ValueError):
    """A value that may not be committed to. ``path`` leads to it: keys and indexes from the root."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


def parse(data: bytes) -> Any:
    """The JSON value in ``data`` (UTF-8). Raises ``InvalidJson``: syntax, UTF-8, lone surrogates, NaN, infinities.

    Duplicate keys are not seen here: ``check_duplicates`` compares the text with what came of it.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise InvalidJson(f"nested more than {MAX_DEPTH} levels deep") from None


def canonical(value: Any) -> bytes:
    """The RFC 8785 form of a parsed value. Raises as ``encode``."""
    return encode(value)[0]


def encode(value: Any) -> tuple[bytes, Writer]:
    """The RFC 8785 form of a parsed value, and the writer that is right for it and so for every part of it.

    Whole floats within the value become integers, which are equal and are written faster.
    Raises ``InvalidJson``: nesting over 32 levels, integral numbers beyond ±(2^53-1), U+0000.
    """
    odd_float = _scan(value, 1) if type(value) in (dict, list) else _scan_alone(value)
    write: Writer = rfc8785.dumps if odd_float else _dumps
    text = write(value)
    if not text.isascii() and _has_astral_key(value):
        write = rfc8785.dumps
        text = write(value)
    if b"\\u0000" in text:
        _refuse_nul(value, ())
    return text, write


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def may_have_duplicates(data: bytes, colons: int) -> bool:
    """Whether ``check_duplicates`` has to read the text again, which takes 0.3 s a MiB."""
    return data.count(b":") != colons or b"\\u003" in data


def check_duplicates(data: bytes, colons: int) -> None:
    """Raise ``InvalidJson`` when an object in ``data`` names a key twice; ``colons`` counts ``:`` in its canonical form.

    Parsers keep the last of two equal keys, so a duplicate takes at least one colon away. Only a text
    whose count differs, or that hides colons in escapes, is read again by the slow, exact parser.
    """
    if not may_have_duplicates(data, colons):
        return
    try:
        _find_duplicate(json.loads(data, object_pairs_hook=_Pairs), ())
    except RecursionError:
        raise InvalidJson(f"nested more than {MAX_DEPTH} levels deep") from None


def _scan(container: dict[str, Any] | list[Any], depth: int) -> bool:
    """Whether a tiny fraction is in it, which orjson writes differently. Written for speed: once per event, every value."""
    if depth > MAX_DEPTH:
        raise InvalidJson(f"nested more than {MAX_DEPTH} levels deep")
    odd = whole = False
    item: Any = None
    try:
        for item in container.values() if type(container) is dict else container:
            kind = type(item)
            if kind is str or item is None or kind is bool:
                continue
            if kind is int or kind is float:
                if not -MAX_INTEGER <= item <= MAX_INTEGER:  # every double out there is integral
                    raise InvalidJson("numbers of integral value must lie within ±(2^53-1)")
                if kind is float:
                    whole = item.is_integer() or whole
                    odd = 0 < abs(item) < _PLAIN_FRACTION or odd
            else:
                odd = _scan(item, depth + 1) or odd
    except InvalidJson as error:
        error.path = (_key_of(container, item), *error.path)
        raise
    if whole:
        _make_whole(container)
    return odd


def _scan_alone(value: Any) -> bool:
    try:
        return _scan([value], 0) or type(value) is float
    except InvalidJson as error:
        raise InvalidJson(error.message) from None  # there is no container, so no path


def _make_whole(container: dict[str, Any] | list[Any]) -> None:
    """Put integers in place of whole floats: RFC 8785 writes 1.0 as 1 and -0.0 as 0, and so does orjson then."""
    keys: Iterable[Any] = list(container) if isinstance(container, dict) else range(len(container))
    for key in keys:
        item = container[key]
        if type(item) is float and item.is_integer():
            container[key] = int(item)


def _key_of(container: dict[str, Any] | list[Any], item: Any) -> str | int:
    pairs = container.items() if isinstance(container, dict) else enumerate(container)
    return next(key for key, value in pairs if value is item)


def _has_astral_key(value: Any) -> bool:
    if type(value) is dict:
        return any(max(key, default="") > "\uffff" for key in value) or any(map(_has_astral_key, value.values()))
    return type(value) is list and any(map(_has_astral_key, value))


def _refuse_nul(value: Any, path: Path) -> None:
    if isinstance(value, str) and "\0" in value:
        raise InvalidJson("U+0000 is not allowed in strings", path)
    if isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                raise InvalidJson("U+0000 is not allowed in keys", (*path, key.replace("\0", "\\u0000")))
            _refuse_nul(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_nul(item, (*path, index))


class _Pairs(list[tuple[str, Any]]):
    """An object as its members in order, repeats included."""


def _find_duplicate(value: Any, path: Path) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            if key in seen:
                raise InvalidJson("the key stands twice in one object", (*path, key))
            seen.add(key)
            _find_duplicate(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find_duplicate(item, (*path, index))
