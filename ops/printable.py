"""Texts of others for a terminal: what is in them may not steer it."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with what does not print as itself, like escape sequences and marks that turn the writing around, as ``\u001b``.

    Within a JSON text that is the same text.
    """
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
