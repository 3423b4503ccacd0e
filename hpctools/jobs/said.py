"""Text for people's eyes, whatever it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """One line of what is told of a job: a label, and a text.

    sentence: it may be broken into lines; what is none (paths, lines of logs) stands as it is.
    """

    label: str
    text: str
    sentence: bool = True


def visible(text: str) -> str:
    """text with what is no printable character shown as an escape: names of jobs and lines of logs
    may hold bytes that would move a terminal's cursor or change its title.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    # Bytes that are no UTF-8 come as surrogates (PEP 383): \udc9b was the byte 0x9b.
    if 0xDC80 <= ord(char) <= 0xDCFF:
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
