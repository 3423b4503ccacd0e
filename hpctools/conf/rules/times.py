"""Durations in slurm.conf as time_str2secs of parse_time.c reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule

_UNLIMITED = frozenset({"-1", "infinite", "unlimited"})
_KEYS = ("PriorityDecayHalfLife", "PriorityMaxAge", "PriorityCalcPeriod", "PreemptExemptTime")


@rule("bad-time", "fatal")
def bad_time(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for key in _KEYS if slurm else ():
        pair = slurm.get(key) if slurm else None
        if not pair:
            continue
        if not is_time(pair.value):
            message = f"{pair.key}={pair.value} is no duration: {_FORMS}"
            yield Problem(pair, message, _mended(pair.value))
        elif key == "PriorityCalcPeriod" and is_nothing(pair.value):
            yield Problem(pair, f"{pair.key}={pair.value}: at least a minute is needed", "5")


_FORMS = "Slurm reads minutes, hours:minutes:seconds, days-hours[:minutes[:seconds]]"


def is_time(text: str) -> bool:
    return text.lower() in _UNLIMITED or _is_timespec(text)


def is_nothing(text: str) -> bool:
    """Whether a duration is none at all, or without limit."""
    return text.lower() in _UNLIMITED or not re.search(r"[1-9]", text)


def _is_timespec(text: str) -> bool:
    """_is_valid_timespec: digits, a dash, then up to two colons, and a number for each place they make."""
    if re.fullmatch(r"[0-9:-]+", text, re.ASCII) is None:
        return False
    before, dash, clock = text.partition("-")
    colons = text.count(":")
    if "-" in clock or (dash and ":" in before) or colons > 2:
        return False
    numbers = len(re.findall(r"[0-9]+", text, re.ASCII))
    # A colon asks for a number on each of its sides, a dash with colons for one before it.
    needed = colons + 1 + (1 if dash else 0) if colons else 1
    return numbers >= needed


def _mended(text: str) -> str:
    """7d, 24h, 30m as Slurm would read them."""
    match = re.fullmatch(r"([0-9]{1,6})\s*([dhm])[a-z]*", text, re.ASCII | re.IGNORECASE)
    if not match:
        return ""
    unit = match[2].lower()
    return {"d": f"{match[1]}-0", "h": f"{match[1]}:00:00", "m": match[1]}[unit]
