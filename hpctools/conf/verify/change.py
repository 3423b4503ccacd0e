"""One edit of a candidate's file, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass

from hpctools.conf.candidate import Conf
from hpctools.conf.verify import secrets
from hpctools.conf.verify.value import Replacement
from hpctools.slurm import conf_text
from hpctools.slurm.conf_text import Edit, Line, Pair


@dataclass(frozen=True)
class Change:
    edit: Edit
    told: Replacement


def replaced(conf: Conf, line: Line, pair: Pair, new: str, kind: str) -> Change:
    """Another value for a pair; "" takes the pair out, and leaves its lines in number."""
    old = secrets.shown(pair.key, pair.value)
    told = Replacement(pair.path, pair.line, pair.key, old, new, kind)
    if new:
        return Change(conf_text.set_value(pair, new), told)
    return Change(Edit(pair.key_start, pair.end, _line_ends(conf, line, pair.key_start, pair.end)), told)


def left_out(conf: Conf, line: Line, kind: str) -> Change:
    """A whole line taken out, but for its comment and its line ends."""
    first, last = line.pairs[0], line.pairs[-1]
    old = " ".join(f"{pair.key}={pair.value}" for pair in line.pairs)
    edit = Edit(first.key_start, last.end, _line_ends(conf, line, first.key_start, last.end))
    return Change(edit, Replacement(line.path, line.number, first.key, old, "", kind))


def added(line: Line, key: str, new: str, kind: str) -> Change:
    """A pair more in a line."""
    end = line.pairs[-1].end
    return Change(Edit(end, end, f" {key}={new}"), Replacement(line.path, line.number, key, "", new, kind))


def _line_ends(conf: Conf, line: Line, start: int, end: int) -> str:
    text = next(file.text for file in conf.files if file.path == line.path)
    return "\n" * text.count("\n", start, end)
