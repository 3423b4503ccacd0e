"""What the parser takes of each line: keys that a release knows, one pair a line, values of their type.

parse_config.c: a line that it cannot take makes the whole file unreadable, for every daemon and every
command.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import pairwise

from hpctools.conf import topology
from hpctools.conf.candidate import Candidate, Conf, once
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.errors import ParseError
from hpctools.slurm.conf_text import Edit, Line, Pair, remove_line, remove_pair
from hpctools.slurm.releases import RECORDS, TABLES, Key, ever, known
from hpctools.slurm.units import NO, YES, parse_unsigned

_WITHOUT_VALUE = re.compile(r"\s*([\w.]+)\s*[-+*/]?=\s*", re.ASCII)
_BITS = {"UINT16": 16, "UINT32": 32, "UINT64": 64}


@rule("unknown-key", "fatal")
def unknown_key(candidate: Candidate) -> Iterator[Problem]:
    for scope, key, places in _keys(candidate):
        if key in known(scope, candidate.release) or ever(scope, key):
            continue
        names = {one.name.lower(): one.name for one in known(scope, candidate.release).values()}
        near = get_close_matches(key, names, n=1, cutoff=0.75)
        hint = f"did you mean {names[near[0]]}?" if near else _elsewhere(key, scope, candidate.release)
        for line, pair in places:
            yield Problem(pair, f"no release of Slurm has a key {pair.key} {_in(scope, line, pair)}", hint)


@rule("removed-key", "fatal")
def removed_key(candidate: Candidate) -> Iterator[Problem]:
    for scope, key, places in _keys(candidate):
        past = ever(scope, key)
        if not past or key in known(scope, candidate.release):
            continue
        if _newer(scope, key, candidate.release):
            continue
        for line, pair in places:
            hint, edits = _mended(scope, line, pair)
            yield Problem(pair, f"{pair.key} is gone since {past[-1].gone_since}", hint, edits=edits)


@rule("newer-key", "fatal")
def newer_key(candidate: Candidate) -> Iterator[Problem]:
    for scope, key, places in _keys(candidate):
        since = "" if key in known(scope, candidate.release) else _newer(scope, key, candidate.release)
        for line, pair in places if since else ():
            message = f"{pair.key} {_in(scope, line, pair)} is new in {since}; {candidate.release} stops"
            yield Problem(pair, message, "remove it, or run that release", edits=_removal(line, pair))


@rule("defunct-key", "error")
def defunct_key(candidate: Candidate) -> Iterator[Problem]:
    for scope, key, places in _keys(candidate):
        one = known(scope, candidate.release).get(key)
        if one and one.type == "DEFUNCT":
            for line, pair in places:
                hint, edits = _mended(scope, line, pair)
                yield Problem(pair, f"{pair.key} has no effect in {candidate.release}", hint, edits=edits)


@rule("unreadable-line", "fatal")
def unreadable_line(candidate: Candidate) -> Iterator[Problem]:
    for conf in _read(candidate):
        for line in conf.lines:
            if match := _WITHOUT_VALUE.fullmatch(line.rest):
                yield Problem(line, f"{match[1]} has no value", "give it one, or remove it")
            elif line.rest:
                after = f" after {line.pairs[-1].key}" if line.pairs else ""
                message = f"{line.rest[:60]!r}{after} is no key=value"
                hint = "quote a value that has spaces; a comment begins with #"
                if line.rest.startswith("\ufeff"):
                    hint = "remove the byte order mark at its beginning"
                yield Problem(line, message, hint)


@rule("several-keys", "fatal")
def several_keys(candidate: Candidate) -> Iterator[Problem]:
    """Only lines that begin a record (NodeName, PartitionName, ...) may hold further pairs."""
    for conf in _read(candidate):
        records = RECORDS.get(conf.kind, {})
        for line in conf.lines:
            if len(line.pairs) > 1 and line.key.lower() not in records:
                names = ", ".join(pair.key for pair in line.pairs[1:])
                yield Problem(
                    line.pairs[1],
                    f"{names} in the line of {line.key}: Slurm reads one key a line here",
                    "give each a line of its own",
                    edits=tuple(Edit(one.end, next.key_start, "\n") for one, next in pairwise(line.pairs)),
                )


@rule("repeated-key", "error")
def repeated_key(candidate: Candidate) -> Iterator[Problem]:
    for conf in _read(candidate):
        records = RECORDS.get(conf.kind, {})
        keys = known(conf.kind, candidate.release)
        first: dict[str, Line] = {}
        for line in conf.lines:
            key = keys.get(line.key.lower())
            if key and key.type not in ("ARRAY", "RECORD") and line.key.lower() not in records:
                before = first.setdefault(line.key.lower(), line)
                if before is not line:
                    message = f"{line.key} stands in {before.path}:{before.line} already; this one is used"
                    yield Problem(line, message, "keep one of them")
            if len(line.pairs) > len({pair.key.lower() for pair in line.pairs}):
                for index, pair in enumerate(line.pairs):
                    if pair.key.lower() in (other.key.lower() for other in line.pairs[:index]):
                        message = f"{pair.key} stands twice in this line; the last is used"
                        yield Problem(pair, message, "keep one")


@rule("value-type", "fatal")
def value_type(candidate: Candidate) -> Iterator[Problem]:
    for scope, key, places in _keys(candidate):
        one = known(scope, candidate.release).get(key)
        if one and one.type in (*_BITS, "BOOLEAN", "FLOAT"):
            wrong = {value: _wrong(one, value) for value in {pair.value for _, pair in places}}
            for _, pair in places:
                if wrong[pair.value]:
                    yield Problem(pair, f"{pair.key}={pair.value} {wrong[pair.value]}", _right(one))


@rule("include-missing", "fatal")
def include_missing(candidate: Candidate) -> Iterator[Problem]:
    """Of a file judged alone, and of one elsewhere (/etc/slurm/secret), the included one may well be where
    it will be used.
    """
    folders = {os.path.abspath(os.path.dirname(conf.path)) for conf in candidate.confs.values()}
    for line, why in candidate.absent:
        name = line.include or ""
        elsewhere = os.path.isabs(name) and os.path.dirname(name) not in folders
        message = f"Include {name}: {why}"
        if candidate.complete and not elsewhere and why != os.strerror(errno.EACCES):
            missing = why == os.strerror(errno.ENOENT)
            waits = "add the file; slurmctld waits a minute for it, and stops"
            yield Problem(line, message, waits if missing else "remove the line, or name another file")
        else:
            yield Problem(line, message, "what it says was not judged", severity="warning")


def _read(candidate: Candidate) -> Iterator[Conf]:
    """The files that a daemon reads: topology.conf is not one where topology.yaml is there, or no plugin
    asks for it.
    """
    for kind, conf in candidate.confs.items():
        if kind != "topology.conf" or topology.conf_file(candidate) is conf:
            yield conf


def _newer(scope: str, key: str, release: str) -> str:
    """The first release after this one that has a key; "" where none is new then."""
    return next((one.since for one in ever(scope, key) if one.since > release), "")


Keys = list[tuple[str, str, list[tuple[Line, Pair]]]]


@once
def _keys(candidate: Candidate) -> Keys:
    """(scope, lower-cased key, where it stands) of all that the parser looks up. The second pair of a line
    that is no record's is never looked up: several-keys says so.
    """
    every: Keys = []
    for conf in _read(candidate):
        records = RECORDS.get(conf.kind, {})
        found: dict[tuple[str, str], list[tuple[Line, Pair]]] = {}
        for line in conf.lines:
            scope = records.get(line.key.lower(), "")
            for index, pair in enumerate(line.pairs if scope else line.pairs[:1]):
                # gres.conf's table lists the keys of its records only.
                if index or not (scope and conf.kind == "gres.conf"):
                    place = (scope if index else conf.kind, pair.key.lower())
                    found.setdefault(place, []).append((line, pair))
        every += [(scope, key, places) for (scope, key), places in found.items()]
    return every


def _in(scope: str, line: Line, pair: Pair) -> str:
    return f"in {scope}" if pair is line.pairs[0] else f"in a {line.key} line"


def _elsewhere(key: str, scope: str, release: str) -> str:
    records = ("NodeName", "PartitionName")
    own = scope == "slurm.conf" or scope in RECORDS["slurm.conf"].values()
    others = ("slurm.conf", *(records if own else ()), "slurmdbd.conf", "cgroup.conf", "gres.conf", *records)
    for other in others:
        if other != scope and key.lower() in known(other, release):
            place = f"a {other} line" if other[0].isupper() else other
            return f"it belongs into {place}"
    return "remove it, or correct its name"


def _removal(line: Line, pair: Pair) -> tuple[Edit, ...]:
    return (remove_line(line) if pair is line.pairs[0] else remove_pair(line, pair),)


def _mended(scope: str, line: Line, pair: Pair) -> tuple[str, tuple[Edit, ...]]:
    """What to do about a key that is gone, and the edits that do it where they are safe."""
    action, hint = _gone().get((scope, pair.key.lower()), ("", "remove it"))
    if action == "remove":
        return hint, _removal(line, pair)
    return hint, ()


@cache
def _gone() -> dict[tuple[str, str], tuple[str, str]]:
    _, *rows = (TABLES / "gone.tsv").read_text().splitlines()
    cells = (row.split("\t") for row in rows)
    return {(scope, key.lower()): (action, hint) for scope, key, action, hint in cells}


def _wrong(key: Key, value: str) -> str:
    """What parse_value.c has against a value of the key's type; "" for nothing."""
    if key.type in _BITS:
        try:
            parse_unsigned(value, _BITS[key.type])
        except ParseError as error:
            return f"is not {error.what}"
    if key.type == "BOOLEAN" and value.lower() not in YES | NO:
        return "is neither yes nor no"
    if key.type == "FLOAT" and value.upper() not in ("UNLIMITED", "INFINITE") and not _is_float(value):
        return "is no number"
    return ""


def _right(key: Key) -> str:
    if key.type == "BOOLEAN":
        return "yes or no"
    return "megabytes, without a unit" if "mem" in key.name.lower() else "digits only"


def _is_float(text: str) -> bool:
    """Whether strtof takes all of text."""
    if re.fullmatch(r"\s*[+-]?0x[0-9a-f]*\.?[0-9a-f]*(p[+-]?[0-9]+)?", text, re.ASCII | re.IGNORECASE):
        return True
    # Python's float takes more than C's in two ways: underscores, and spaces behind.
    if not text.isascii() or "_" in text or text != text.rstrip():
        return False
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
