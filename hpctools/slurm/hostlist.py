"""Lists of node names in Slurm's short form: gpu[001-064,070],login1, rack[1-2]node[01-16].

The same as `scontrol show hostnames` and `scontrol show hostlist` do (src/common/hostlist.c),
without running a program for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hpctools.errors import ParseError

# hostlist.c: MAX_RANGE, the most names that one pair of brackets may stand for.
MAX_RANGE = 64 * 1024

# One name: text, any number of brackets, text. Text behind the last bracket (node[1-3]-ib) is Slurm's
# since 23.11; older releases refuse it.
_WORD = re.compile(r"(?:[^\s,\[\]]*\[[^\s\[\]]*\])+[^\s,\[\]]*(?=,|$)|[^\s,\[\]]+(?=,|$)")
_PART = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
_NUMBERED = re.compile(r"(.*?)([0-9]{1,20})", re.DOTALL)


def expand(text: str) -> list[str]:
    """Every name, in the order of the text, repetitions kept. Raises ParseError.

    The width of a range is that of its first number: [08-10] is 08, 09, 10.
    """
    names: list[str] = []
    for word in _words(text):
        names.extend(_product(word, text) if "[" in word else [word])
        if len(names) > MAX_RANGE * 16:
            raise ParseError("a list of node names (too many)", text)
    return names


def about(text: str) -> int:
    """How many names expand(text) would give, at most, without making one; 0 where it cannot be read."""
    total = 0
    for word in _WORD.findall(text):
        names = 1
        for _, some in _PART.findall(word):
            ranges = (match for one in some.split(",") if (match := _RANGE.fullmatch(one)))
            names *= sum(max(0, int(match[2] or match[1]) - int(match[1])) + 1 for match in ranges)
        total += names
    return total


def fold(names: Iterable[str]) -> str:
    """The short form of names, in their order: expand(fold(names)) is list(names) again.

    Only neighbours are put together, so sort them first for the shortest text. Raises ParseError
    for what cannot be a node's name.
    """
    words: list[str] = []
    group = ""
    ranges: list[tuple[str, str]] = []
    for name in names:
        if not name or re.search(r"[\s,\[\]]", name):
            raise ParseError("the name of a node", name)
        match = _NUMBERED.fullmatch(name)
        prefix, number = match.groups() if match else (name, "")
        if not number or not ranges or prefix != group:
            words += _folded(group, ranges)
            group, ranges = prefix, []
        if not number:
            words.append(name)
        elif ranges and number == _next(ranges[-1]) and _count(ranges[-1]) < MAX_RANGE:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ",".join([*words, *_folded(group, ranges)])


def _words(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        # Slurm passes over empty words: "a,,b" is a and b.
        if text[place] == ",":
            place += 1
            continue
        match = _WORD.match(text, place)
        if not match:
            raise ParseError("a list of node names", text)
        yield match[0]
        place = match.end()


def _product(word: str, text: str) -> list[str]:
    """The names that a word with brackets stands for, in Slurm's order: the last bracket runs
    fastest, then the first, the second and so on.
    """
    names = [""]
    *firsts, (last, ranges) = _PART.findall(word)
    for prefix, some in firsts:
        numbers = _all_numbers(some, len(names), text)
        names = [f"{name}{prefix}{number}" for number in numbers for name in names]
    numbers = _all_numbers(ranges, len(names), text)
    suffix = word.rpartition("]")[2]
    return [f"{name}{last}{number}{suffix}" for name in names for number in numbers]


def _all_numbers(ranges: str, names: int, text: str) -> list[str]:
    numbers = [number for one in ranges.split(",") for number in _numbers(one, text)]
    if names * len(numbers) > MAX_RANGE * 16:
        raise ParseError("a list of node names (too many)", text)
    return numbers


def _numbers(one: str, text: str) -> list[str]:
    match = _RANGE.fullmatch(one)
    if not match:
        raise ParseError("a list of node names", text)
    low, high = match[1], match[2] or match[1]
    if not 0 <= int(high) - int(low) < MAX_RANGE:
        raise ParseError("a list of node names (a range goes upwards, up to 65,536 names)", text)
    return [f"{number:0{len(low)}}" for number in range(int(low), int(high) + 1)]


def _next(one: tuple[str, str]) -> str:
    low, high = one
    return f"{int(high) + 1:0{len(low)}}"


def _count(one: tuple[str, str]) -> int:
    return int(one[1]) - int(one[0]) + 1


def _folded(prefix: str, ranges: list[tuple[str, str]]) -> list[str]:
    if not ranges:
        return []
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return [prefix + ranges[0][0]]
    return [f"{prefix}[{','.join(low if low == high else f'{low}-{high}' for low, high in ranges)}]"]
