"""Numbers of slurm.conf that slurmctld refuses, or puts others in their place (read_config.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

_MAX_JOB_ID = 0x03FF_FFFF
_DEFAULT_MAX_JOB_ID = 0x03FF_0000
_HIGHEST = 2**32 - 1


@dataclass(frozen=True)
class _Range:
    """What a number may be: low and high are in it. since: the first release that looks."""

    key: str
    low: int = 0
    high: int = _HIGHEST
    since: str = "22.05"


_REFUSED = (
    _Range("MaxDBDMsgs", low=10_000),
    _Range("MaxJobCount", low=1),
    _Range("MaxStepCount", low=1),
    _Range("FirstJobId", low=1),
    _Range("PropagatePrioProcess", high=2),
    _Range("MaxNodeCount", high=64 * 1024, since="24.11"),
)
# Slurm logs an error and takes its default, or the nearest value.
_RESET = (
    _Range("SchedulerTimeSlice", low=5),
    _Range("TreeWidth", low=1),
    _Range("MaxJobId", high=_MAX_JOB_ID),
    _Range("MaxArraySize", high=4_000_001),
    _Range("EpilogMsgTime", high=1_000_000, since="25.11"),
    _Range("KeepAliveTime", high=2**31 - 1),
)
# Words of SchedulerParameters with the most that they may be.
_MOST = {"max_script_size": ("22.05", 512 * 1024**2), "max_submit_line_size": ("23.11", 2 * 1024**2)}
_SUSPEND_TIME_CHECKED_SINCE = "23.02"


@rule("number-refused", "fatal")
def number_refused(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for pair, allowed in _outside(slurm, _REFUSED, candidate.release):
        yield Problem(pair, f"{pair.key}={pair.value} is refused", _hint(allowed))
    first, last = slurm.get("FirstJobId"), slurm.number("MaxJobId", _DEFAULT_MAX_JOB_ID)
    number = slurm.number("FirstJobId", 1)
    if first and number is not None and last is not None and number > min(last, _MAX_JOB_ID):
        yield Problem(first, f"FirstJobId={first.value} is above MaxJobId ({last})", "a lower number")
    for pair, word, most in _too_much(slurm, candidate.release):
        yield Problem(pair, f"{word} is above the {most:,} that slurmctld takes", "a lower number")
    time, port = slurm.get("SuspendTime"), slurm.get("SlurmctldPort")
    if time and at_least(candidate.release, _SUSPEND_TIME_CHECKED_SINCE) and is_too_long(time.value):
        yield Problem(time, f"SuspendTime={time.value} is refused", "seconds, INFINITE or -1")
    if port and not _is_port_range(port.value):
        yield Problem(port, f"SlurmctldPort={port.value} is refused", "6817, or a range: 6817-6820")


@rule("number-reset", "error")
def number_reset(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for pair, allowed in _outside(slurm, _RESET, candidate.release):
        yield Problem(pair, f"{pair.key}={pair.value} cannot be: Slurm takes another", _hint(allowed))
    for key in ("SlurmctldDebug", "SlurmdDebug", "SlurmctldSyslogDebug", "SlurmdSyslogDebug"):
        debug = slurm.get(key)
        level = re.match(r"[0-9]{1,9}", debug.value) if debug else None
        if debug and level and int(level[0]) % 2**16 > _HIGHEST_LEVEL:
            yield Problem(debug, f"{key}={debug.value} is taken for debug5", "info, debug, debug2 ...")


# LOG_LEVEL_END: debug5 is one less.
_HIGHEST_LEVEL = 10


def is_too_long(text: str) -> bool:
    """Whether a SuspendTime is refused: strtoul, where a negative number is a huge one."""
    number = re.match(r"\s*(-?)\+?0*([0-9]*)", text, re.ASCII)
    if text == "-1" or not number or not number[2]:
        return False
    return bool(number[1]) or len(number[2]) > 10 or int(number[2]) > _HIGHEST


def _outside(slurm: Conf, ranges: tuple[_Range, ...], release: str) -> Iterator[tuple[Pair, _Range]]:
    for allowed in ranges:
        pair = slurm.get(allowed.key)
        value = slurm.number(allowed.key, allowed.low)
        if pair and value is not None and at_least(release, allowed.since):
            if not allowed.low <= value <= allowed.high:
                yield pair, allowed


def _hint(allowed: _Range) -> str:
    return f"at least {allowed.low}" if allowed.high == _HIGHEST else f"{allowed.low} to {allowed.high}"


def _too_much(slurm: Conf, release: str) -> Iterator[tuple[Pair, str, int]]:
    pair = slurm.get("SchedulerParameters")
    for word, (since, most) in _MOST.items() if pair else ():
        if pair and at_least(release, since):
            number = re.search(rf"{word}=\s*\+?([0-9]+)", pair.value, re.IGNORECASE | re.ASCII)
            if number and most < int(number[1][:18]) < 2**31:
                yield pair, word, most


def _is_port_range(text: str) -> bool:
    match = re.fullmatch(
        r"\s*\+?([0-9]{1,18})(?:-\s*\+?([0-9]{1,18})(?:[^0-9].*)?)?", text, re.ASCII | re.DOTALL
    )
    if not match or int(match[1]) == 0:
        return False
    return match[2] is None or int(match[2]) > int(match[1])
