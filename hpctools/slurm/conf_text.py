"""Slurm's .conf files, without loss: what the daemons read in them, and where each piece of it stands.

The grammar is that of src/common/parse_config.c. Comments, order, spaces, line ends and bytes that
are no UTF-8 stay as they are: `parse(data).to_bytes()` is data, and an edit changes only the
characters of the value that it replaces.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from hpctools.errors import HpctoolsError, ParseError

# keyvalue_pattern of parse_config.c. Slurm's character classes are ASCII's: the daemons run in the C
# locale.
_PAIR = re.compile(r'\s*([A-Za-z0-9_.]+)\s*([-+*/]?)=\s*(?:"([^"]*)"|(\S+))(?=\s|\Z)', re.ASCII)
# _parse_include_directive: at the very start of the line, any case.
_INCLUDE = re.compile(r"include\s+(\S*)", re.ASCII | re.IGNORECASE)
# _strip_comments: from the first # that is not escaped.
_COMMENT = re.compile(r"(?<!\\)(?:\\\\)*(#.*)", re.DOTALL)
# _strip_continuation: an odd number of backslashes, then spaces, then nothing.
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*(\\)\s*\Z", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Pair(NamedTuple):
    """key=value. value: as Slurm takes it, without quotes and escapes; line: from 1.

    start, end: where the value stands in the text, quotes included; key_start: where the key does.
    """

    key: str
    operator: str
    value: str
    path: str
    line: int
    key_start: int
    start: int
    end: int


class Line(NamedTuple):
    """One line as Slurm reads it: continued ones put together. Lines without content are not kept.

    number: of its first line in the file, from 1. start, end: its place in the text, with the line's
    end. include: the file that it includes, else None. rest: what follows its pairs and is none: the
    daemons refuse a file with such a line.
    """

    path: str
    number: int
    start: int
    end: int
    pairs: tuple[Pair, ...]
    include: str | None = None
    rest: str = ""

    @property
    def key(self) -> str:
        """The key that it begins with, "" where there is none."""
        return self.pairs[0].key if self.pairs else ""

    @property
    def line(self) -> int:
        return self.number

    def get(self, key: str) -> Pair | None:
        """The pair of key in any case; of several the last, which is the one that counts."""
        key = key.lower()
        return next((pair for pair in reversed(self.pairs) if pair.key.lower() == key), None)

    def value(self, key: str) -> str | None:
        pair = self.get(key)
        return pair.value if pair else None


@dataclass(frozen=True, order=True)
class Edit:
    """Put text in place of the characters from start to end."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class ConfFile:
    """One file. path: as the user named it. lines: those with content, in the file's order."""

    path: str
    text: str
    lines: tuple[Line, ...]

    def to_bytes(self) -> bytes:
        return self.text.encode("utf-8", "surrogateescape")

    def all(self, key: str) -> tuple[Line, ...]:
        """The lines that begin with key (NodeName, Name, ...), in their order; key in any case."""
        return self._by_key.get(key.lower(), ())

    def get(self, key: str) -> Pair | None:
        """The pair of the last line that begins with key."""
        lines = self.all(key)
        return lines[-1].pairs[0] if lines else None

    def edited(self, edits: Iterable[Edit]) -> ConfFile:
        """The file after edits, which may stand in any order. Raises ValueError where two overlap."""
        return parse(apply(self.text, edits).encode("utf-8", "surrogateescape"), self.path)

    def set(self, key: str, value: str) -> ConfFile:
        """The file with key=value: the last such line's value changed, or a line added at the end."""
        pair = self.get(key)
        return self.edited([set_value(pair, value) if pair else self.append(f"{key}={quoted(value)}")])

    def append(self, line: str) -> Edit:
        """The edit that adds a line at the end, with the line end that the file uses."""
        newline = "\r\n" if "\r\n" in self.text else "\n"
        before = newline if self.text and not self.text.endswith("\n") else ""
        # A continued last line would take the new one in.
        if self.lines and self.lines[-1].end == len(self.text) and _CONTINUED.search(self.text):
            before += newline
        return Edit(len(self.text), len(self.text), before + line + newline)

    @cached_property
    def _by_key(self) -> dict[str, tuple[Line, ...]]:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.key.lower(), []).append(line)
        return {key: tuple(lines) for key, lines in found.items()}


def parse(data: bytes, path: str = "") -> ConfFile:
    """The file that data is; path is kept for messages. Any bytes are a file: what Slurm could not
    read of a line is its rest.
    """
    text = data.decode("utf-8", "surrogateescape")
    return ConfFile(path, text, tuple(_lines(text, path)))


def apply(text: str, edits: Iterable[Edit]) -> str:
    """text after edits. Raises ValueError where two of them overlap."""
    pieces = []
    place = 0
    for edit in sorted(set(edits)):
        if edit.start < place:
            raise ValueError(f"edits overlap at character {edit.start}")
        pieces += [text[place : edit.start], edit.text]
        place = edit.end
    return "".join([*pieces, text[place:]])


def set_value(pair: Pair, value: str) -> Edit:
    """The edit that gives pair another value. Raises ParseError for one that no line can carry."""
    return Edit(pair.start, pair.end, quoted(value))


def without_word(pair: Pair, word: str) -> Edit:
    """The edit that takes a word, with what may follow its =, out of a comma-separated value. What stays
    may be empty, as KEY="": to the daemons that is a key that is not set.
    """
    kept = [one for one in pair.value.split(",") if one.strip().partition("=")[0].lower() != word.lower()]
    return set_value(pair, ",".join(kept))


def remove_pair(line: Line, pair: Pair) -> Edit:
    """The edit that takes one pair, and the space before it, out of its line."""
    ends = [line.start, *(other.end for other in line.pairs if other.end <= pair.key_start)]
    return Edit(ends[-1], pair.end, "")


def remove_line(line: Line) -> Edit:
    """The edit that takes a whole line out, its comment and line end with it."""
    return Edit(line.start, line.end, "")


def quoted(value: str) -> str:
    """value as it is written: quoted where it has spaces, # and backslash escaped.

    Raises ParseError for a value that the grammar cannot carry: one with a line's end or a NUL, one
    with both a space and a double quote, one that begins with a double quote.
    """
    spaced = not value or re.search(r"\s", value, re.ASCII)
    if re.search(r"[\n\0]", value) or '"' in (value if spaced else value[:1]):
        raise ParseError("a value that a line of Slurm's files can carry", value)
    # At a line's end a backslash would continue it; escaped it does not.
    escaped = re.sub(r"[\\#]", r"\\\g<0>", value)
    return f'"{escaped}"' if spaced else escaped


def conf_hash(data: bytes, path: str = "", read: Callable[[str], bytes] | None = None) -> int:
    """The number by which slurmctld tells whether a node has the same slurm.conf.

    (_compute_hash_val of parse_config.c; `scontrol show config` prints it as HASH_VAL where it
    differs.) Every byte counts, comments too. read: the bytes of an Include as it is named in the
    file, with %c replaced; without it includes are passed over, as those with * are.
    """
    return _hash(0, parse(data, path), read)


class IncludeLoop(HpctoolsError):
    """A file that includes itself, directly or through others."""


def include_name(line: Line, cluster_name: str | None) -> str:
    """The name of the file that line includes; %c is the lower-cased ClusterName if it stands above."""
    name = line.include or ""
    return name.replace("%c", cluster_name.lower()) if cluster_name else name


def _lines(text: str, path: str) -> Iterator[Line]:
    number = 1
    start = 0
    # Slurm's lines end in \n and nothing else; a \r before it is a space.
    physical = text.split("\n")
    last = len(physical) - 1
    index = 0
    while index <= last:
        first, begin = index, start
        pieces: list[tuple[int, str]] = []
        while True:
            raw = physical[index]
            start += len(raw) + 1
            content, continued = _content(raw)
            pieces.append((start - len(raw) - 1, content))
            index += 1
            if not continued or index > last:
                break
        end = min(start, len(text))
        number = first + 1
        if any(content and not content.isspace() for _, content in pieces):
            yield _line(path, number, begin, end, pieces)


def _content(raw: str) -> tuple[str, bool]:
    """A line without its comment and its sign of continuation, and whether it had one."""
    # fgets gives the whole line, but a C string ends at its first NUL.
    nul = raw.find("\0")
    if nul >= 0:
        raw = raw[:nul]
    if "#" in raw:
        comment = _COMMENT.search(raw)
        if comment:
            raw = raw[: comment.start(1)]
    if "\\" in raw:
        sign = _CONTINUED.search(raw)
        if sign:
            return raw[: sign.start(1)], True
    return raw, False


def _line(path: str, number: int, start: int, end: int, pieces: Sequence[tuple[int, str]]) -> Line:
    raw = "".join(content for _, content in pieces)
    if len(pieces) == 1 and "\\" not in raw:
        return _read(path, number, start, end, raw, None, pieces)
    # Where the characters of raw stand in the text, and of them those that escapes leave.
    where = [place + offset for place, content in pieces for offset in range(len(content))]
    text, spans = [], []
    for match in re.finditer(r"\\?(.)", raw, re.DOTALL):
        text.append(match[1])
        spans.append((where[match.start()], where[match.end() - 1] + 1))
    return _read(path, number, start, end, "".join(text), spans, pieces)


def _read(
    path: str,
    number: int,
    start: int,
    end: int,
    text: str,
    spans: Sequence[tuple[int, int]] | None,
    pieces: Sequence[tuple[int, str]],
) -> Line:
    """text: the line as Slurm sees it; spans: where its characters stand, None where they follow on."""
    include = _INCLUDE.match(text)
    if include:
        return Line(path, number, start, end, (), include[1], text[include.end() :].strip())
    base = pieces[0][0]
    starts = [place for place, _ in pieces]
    pairs = []
    place = 0
    while match := _PAIR.match(text, place):
        is_quoted = match[3] is not None
        low, high = (match.start(3) - 1, match.end(3) + 1) if is_quoted else match.span(4)
        key = match.start(1)
        if spans is None:
            key, low, high = key + base, low + base, high + base
            line = number
        else:
            key, low, high = spans[key][0], spans[low][0], spans[high - 1][1]
            line = number + bisect_right(starts, key) - 1
        value = match[3] if is_quoted else match[4]
        pairs.append(Pair(match[1], match[2], value, path, line, key, low, high))
        place = match.end()
    return Line(path, number, start, end, tuple(pairs), None, text[place:].strip())


# What eight steps of _compute_hash_val do to the bits 8 to 15; the others are only moved.
def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 8
        for _ in range(8):
            value = (value << 1) ^ 4129 if value & 0x8000 else value << 1
        table.append((value ^ (byte << 16)) & 0xFFFFFFFF)
    return table


_TABLE = _table()


def _hash(
    value: int,
    file: ConfFile,
    read: Callable[[str], bytes] | None,
    above: Sequence[str] = (),
    cluster: str | None = None,
) -> int:
    if file.path in above:
        raise IncludeLoop(f"{above[-1]}: includes {file.path}, which includes it")
    place = 0
    for line in file.lines:
        if line.key.lower() == "clustername":
            cluster = line.pairs[0].value
        if line.include is None or read is None or "*" in line.include:
            continue
        value = _hash_text(value, file.text[place : line.end])
        place = line.end
        name = include_name(line, cluster)
        value = _hash(value, parse(read(name), name), read, [*above, file.path], cluster)
    return _hash_text(value, file.text[place:])


def _hash_text(value: int, text: str) -> int:
    # A C string ends at its first NUL: what follows it in its line does not count.
    for byte in re.sub(rb"\0[^\n]*\n?", b"", text.encode("utf-8", "surrogateescape")):
        # char is signed: a byte from 128 sets all the bits above it.
        value ^= (byte - 256 if byte > 127 else byte) << 8 & 0xFFFFFFFF
        value = (value << 8 ^ _TABLE[value >> 8 & 0xFF]) & 0xFFFFFFFF
    return value
