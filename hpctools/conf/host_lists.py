"""Lists of hosts as the daemons take them: laxer than what is worth writing, and it differs by release.

hostlist.expand() knows the forms that mean something; this tells which of the others slurmctld stops at
(hostlist_create in src/common/hostlist.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.releases import at_least

# Since then an open bracket must be closed; before, its text was a name like any other.
_CLOSED_SINCE = "23.02"
# Since then text may follow the last bracket: node[1-3]-ib.
_SUFFIX_SINCE = "23.11"
# What would be right.
HINT = "such as gpu[1-8] or gpu[01-08,10]"
_SEPARATORS = "\t ,\n"
# strtoul: spaces and a sign before the digits; what follows the first number of two is not looked at.
_NUMBER = re.compile(r"\s*[-+]?([0-9]+)", re.ASCII)
_PAIRS = re.compile(r"\[[^\[\]]*\]")
# Longer numbers overflow in Slurm, in ways not worth telling.
_DIGITS = 19


def why_refused(text: str, release: str) -> str:
    """What slurmctld has against a list of hosts; "" where it takes it."""
    if "[" not in text:
        return ""
    for word in _words(text):
        why = _word(word, release) if "[" in word else ""
        if why:
            return why
    return ""


def has_stray_bracket(text: str) -> bool:
    """Whether a bracket stands in another, or one of two is missing.

    Where slurmctld takes it all the same, the bracket is part of a name. Not so of a word that begins with
    one, which some releases take for no name at all.
    """
    bare = _PAIRS.sub("", text)
    return ("[" in bare or "]" in bare) and not any(word.startswith("[") for word in _words(text))


def count(text: str) -> int | None:
    """How many hosts a list has; None where only Slurm could tell."""
    if not any(character in text for character in "[,\t \n"):
        return 1 if text else 0
    try:
        return len(hostlist.expand(text))
    except ParseError:
        return None


def _words(text: str) -> Iterator[str]:
    """_next_tok: separators within brackets separate nothing, unless the bracket stays open."""
    last = text.rfind("]")
    place = 0
    while place < len(text):
        if text[place] in _SEPARATORS:
            place += 1
            continue
        end = begin = place
        while end < len(text) and text[end] not in _SEPARATORS:
            end = text.index("]", end) + 1 if text[end] == "[" and end < last else end + 1
        place = end
        yield text[begin:end]


def _word(word: str, release: str) -> str:
    prefix, _, last = word.rpartition("[")
    ranges, closed, suffix = last.partition("]")
    if not closed:
        return "a [ has no ]" if at_least(release, _CLOSED_SINCE) else ""
    if suffix and not at_least(release, _SUFFIX_SINCE):
        return f"text behind ] ({suffix}) is understood since {_SUFFIX_SINCE} only"
    inner = re.search(r"\[([^\[]*)\][^\]]*\Z", prefix)
    for some in (ranges, *(inner.groups() if inner else ())):
        for one in some.split(","):
            if why := _range(one):
                return why
    return ""


def _range(text: str) -> str:
    low, _, high = text.partition("-")
    first, second = _NUMBER.match(low), _NUMBER.fullmatch(high)
    whole = second is not None if high else first is not None and first.end() == len(low)
    if first is None or not whole or "x" in text or high.startswith("-"):
        return f"{text[:40] or 'nothing'} in brackets is neither a number nor a range of numbers"
    if second and max(len(first[1]), len(second[1])) <= _DIGITS:
        names = int(second[1]) - int(first[1]) + 1
        if names < 1:
            return f"the range {text} goes downwards"
        if names > hostlist.MAX_RANGE:
            return f"the range {text} has {names:,} names, and one may have {hostlist.MAX_RANGE:,}"
    return ""
