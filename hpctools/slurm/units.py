"""Durations, amounts of memory and points in time as Slurm writes them.

Each text has one parse and one format; the whole text must match.
"""

from __future__ import annotations

import re
import time

from hpctools.errors import ParseError

# Slurm's words for "no limit" (src/common/parse_time.c: time_str2secs, secs2time_str; sinfo says "infinite").
UNLIMITED = frozenset({"UNLIMITED", "INFINITE", "-1"})
# Yes and no in a configuration file, in any case (s_p_handle_boolean of src/common/parse_value.c).
YES = frozenset({"yes", "up", "true", "1"})
NO = frozenset({"no", "down", "false", "0"})
# What stands where a point in time is not known yet.
UNKNOWN_TIME = frozenset({"", "UNKNOWN", "NONE", "N/A", "(NULL)", "INVALID"})

_DAYS = re.compile(r"([0-9]{1,20})-([0-9]{1,20})(?::([0-9]{1,20})(?::([0-9]{1,20}))?)?")
_CLOCK = re.compile(r"(?:([0-9]{1,20}):)?([0-9]{1,20}):([0-9]{1,20})|([0-9]{1,20})")
_MEMORY = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?([KMGTP]?)B?", re.IGNORECASE)
_POINT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:([+-])(\d\d):?(\d\d))?")

# In kilobytes, the smallest unit that Slurm knows.
_UNITS_KB = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3, "P": 1024**4}


def parse_duration_s(text: str) -> int | None:
    """Seconds of a duration, None for one without limit.

    Every form of sbatch(1) --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
    days-hours:minutes, days-hours:minutes:seconds. Raises ParseError.
    """
    word = text.strip()
    if word.upper() in UNLIMITED:
        return None
    if match := _DAYS.fullmatch(word):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if match := _CLOCK.fullmatch(word):
        hours, minutes, seconds, only_minutes = (int(part or 0) for part in match.groups())
        return (hours * 60 + minutes + only_minutes) * 60 + seconds
    raise ParseError("a duration", text)


def format_duration(seconds: int | None) -> str:
    """A duration as Slurm prints it: 01:02:03, 1-02:03:04, UNLIMITED for None."""
    if seconds is None:
        return "UNLIMITED"
    if seconds < 0:
        raise ValueError(f"a duration is not negative: {seconds}")
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{days}-{clock}" if days else clock


def parse_memory_mb(text: str, default_unit: str = "M") -> int:
    """Megabytes (2**20 bytes) of "64G", "62.50G", "1024K"; part of one counts as a whole one.

    A number without unit is in default_unit. Raises ParseError.
    """
    match = _MEMORY.fullmatch(text.strip())
    if not match or (not match[3] and text.strip()[-1] in "bB"):
        raise ParseError("an amount of memory", text)
    whole, decimals, unit = match.groups()
    decimals = decimals or ""
    # In whole numbers, thus exact, and rounded up.
    kilobytes = int(whole + decimals) * _UNITS_KB[unit.upper() or default_unit]
    scale: int = 1024 * 10 ** len(decimals)
    return -(-kilobytes // scale)


def format_memory(mb: int) -> str:
    """Megabytes in the largest unit that holds them exactly: 65536 is "64G", 64000 "64000M"."""
    if mb < 0:
        raise ValueError(f"an amount of memory is not negative: {mb}")
    unit = "M"
    for larger in "GTP":
        if not mb or mb % 1024:
            break
        mb, unit = mb // 1024, larger
    return f"{mb}{unit}"


def parse_count(text: str) -> int:
    """A whole number. Raises ParseError; so for signs, blanks and digits of other scripts."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ParseError("a number", text)
    return int(text)


def parse_time_s(text: str) -> int | None:
    """Seconds since 1970 of a point in time, None where Slurm knows none (Unknown, N/A, None).

    Both as printed under SLURM_TIME_FORMAT=%s and as printed by default: 2026-11-21T14:30:00, which
    is in the time zone of this process unless it carries one. Raises ParseError.
    """
    word = text.strip()
    if word.upper() in UNKNOWN_TIME:
        return None
    if word.isascii() and word.isdigit() and len(word) <= 20:
        # 0 is "not set" in every answer of Slurm.
        return int(word) or None
    match = _POINT.fullmatch(word)
    if not match:
        raise ParseError("a point in time", text)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if match[7] is None:
        return int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    import calendar

    offset = (int(match[8]) * 60 + int(match[9])) * 60
    utc = calendar.timegm((year, month, day, hour, minute, second))
    return utc - offset if match[7] == "+" else utc + offset


def parse_unsigned(text: str, bits: int) -> int:
    """A number of bits 16, 32 or 64 in a configuration file, as s_p_handle_uint16, 32 and 64 of
    src/common/parse_value.c read it: decimal, 0x or octal with a leading 0; k multiplies by 1024 (not
    with 16 bits); "" is 0; UNLIMITED and INFINITE are the highest number (of 32 bits and more, what
    Slurm writes for "no limit"). Raises ParseError.
    """
    highest: int = 2**bits - 1
    if text.upper() in ("UNLIMITED", "INFINITE"):
        return highest
    # strtoul takes as many digits as fit the base: of 08 only the 0, and what is left is a mistake.
    match = re.fullmatch(r"\s*(\+?)(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*|)(k?)", text, re.ASCII | re.IGNORECASE)
    if not match or (match[3] and bits == 16) or (match[1] and not match[2]):
        raise ParseError("a number", text)
    digits = match[2].lower()
    if len(digits) > 64:
        raise ParseError(f"a number up to {highest}", text)
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    amount: int = int(digits or "0", base)
    # Slurm multiplies in 64 bits and looks at the width afterwards.
    amount = amount * 1024 % 2**64 if match[3] and amount < 2**64 else amount
    if amount > highest:
        raise ParseError(f"a number up to {highest}", text)
    return amount
