"""Answers in rows and columns, from squeue and sacct, that no job name can break.

A job's name, comment, command or folder may hold every byte but NUL: newlines, "|", whatever a
fixed delimiter would be. So each command gets a delimiter of its own that nobody could know when
they named their job; every value is followed by it, and the header of the answer tells it again.
"""

from __future__ import annotations

import os
import re

from hpctools.errors import ParseError

# Not a digit or blank first: squeue -O reads those as a column's width. No comma: it ends a column.
_DELIMITER = re.compile(r"~[0-9a-f]{16}~")


def delimiter() -> str:
    """A new delimiter, different in each call."""
    return f"~{os.urandom(8).hex()}~"


def read(text: str, what: str) -> tuple[list[str], list[list[str]]]:
    """The header's words and every row's values. Raises ParseError ("not what")."""
    header, newline, body = text.partition("\n")
    match = _DELIMITER.search(header)
    if not match or not newline:
        raise ParseError(what, text[:200])
    between = match[0]
    names = header.split(between)
    values = body.split(between)
    width = len(names) - 1
    # Each value is followed by the delimiter, each row by a newline after its last delimiter.
    if names[-1].strip() or values[-1].strip("\n") or (len(values) - 1) % width:
        raise ParseError(what, text[-200:])
    found = []
    for start in range(0, len(values) - 1, width):
        row = values[start : start + width]
        if start and not row[0].startswith("\n"):
            raise ParseError(what, between.join(row)[:200])
        row[0] = row[0].lstrip("\n")
        found.append(row)
    return [name.strip() for name in names[:-1]], found
