"""What commands print: one thing on stdout, and remarks on stderr.

Whatever comes from a job (its name, its last lines) may hold bytes that move a terminal's cursor,
set its title or rewrite lines above: tables and remarks show such bytes instead of sending them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from hpctools.jobs.said import Said, visible

# Colours say what the word already says; nothing depends on them.
COLOURS = {"good": "green", "bad": "red", "waiting": "yellow", "plain": None}


def remark(text: str) -> None:
    """Say something on stderr that is not the answer; one line, or several."""
    live("")
    for line in text.split("\n"):
        click.echo(f"hpctools: {visible(line)}", err=True)


def live(text: str) -> None:
    """Rewrite the last line of a terminal's stderr; nothing elsewhere. An empty text takes it away."""
    global _live_text
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return
    # Where nothing is to be taken away, half a line of somebody's log may stand.
    if text != _live_text:
        sys.stderr.write(f"\r\x1b[K{shortened(visible(text), (_columns() or 80) - 1)}")
        sys.stderr.flush()
    _live_text = text


_live_text = ""


def coloured(text: str, kind: str = "plain") -> str:
    """text in the colour of its kind (good, bad, waiting), on a terminal and without NO_COLOR."""
    colour = COLOURS[kind]
    if colour is None or os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        return text
    return click.style(text, fg=colour)


def as_json(value: object) -> None:
    """Print value as one JSON document. Bytes that were no UTF-8 become U+FFFD."""
    import json

    click.echo(json.dumps(_utf8(value), indent=2))


def table(
    rows: Sequence[Sequence[str]],
    headers: Sequence[str],
    *,
    kinds: Sequence[str] = (),
    shrink: Sequence[int] = (),
) -> None:
    """Print rows under headers in aligned columns.

    On a terminal (or where COLUMNS is set) a row fits in one line: the columns in shrink give
    way, first the first. Elsewhere every cell is whole. kinds: one a row, colours its line.
    """
    first, *rest = lines(rows, headers, _columns(), shrink)
    click.echo(first)
    for line, kind in zip(rest, kinds or ["plain"] * len(rest), strict=True):
        click.echo(coloured(line, kind))


def lines(
    rows: Sequence[Sequence[str]], headers: Sequence[str], columns: int | None, shrink: Sequence[int] = ()
) -> list[str]:
    """The lines of a table; columns: how wide at most, None for as wide as it is."""
    cells = [[visible(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*cells, strict=True)]
    for index in shrink:
        excess = sum(widths) + 2 * (len(widths) - 1) - (columns or sys.maxsize)
        if excess > 0:
            widths[index] = max(len(headers[index]), 8, widths[index] - excess)
    made = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return [line.rstrip() for line in made]


def display_width(text: str) -> int:
    """How many columns of a terminal text takes: East Asian wide ones two, combining marks none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def shortened(text: str, width: int) -> str:
    """text, its end replaced by … where it is wider than width columns."""
    if display_width(text) <= width:
        return text
    kept = text[:width]
    while kept and display_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def _padded(text: str, width: int) -> str:
    text = shortened(text, width)
    return text + " " * (width - display_width(text))


def _columns() -> int | None:
    import shutil

    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return None
    return shutil.get_terminal_size().columns


def _utf8(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", value)
    if isinstance(value, Mapping):
        return {str(key): _utf8(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_utf8(item) for item in value]
    return value


def paragraphs(said: Iterable[Said], columns: int | None = None, indent: int = 0) -> list[str]:
    """Labels on the left (at least indent columns), texts on the right; sentences are broken into
    lines of 80 columns, up to 100 on a wide terminal.
    """
    import textwrap

    said = list(said)
    indent = max((indent, *(len(one.label) for one in said))) + 2
    room = max(30, (columns or min(_columns() or 80, 100)) - indent)
    made = []
    for one in said:
        text = visible(one.text)
        parts = [text]
        if one.sentence:
            parts = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
        for number, part in enumerate(parts):
            made.append(f"{one.label if number == 0 else '':<{indent}}{part}".rstrip())
    return made
