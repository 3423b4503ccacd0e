"""What several parts of policy.yaml are written in: names, times, settings of slurm.conf, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hpctools.conf.policy import Limits
from hpctools.errors import ParseError
from hpctools.inventory.reading import Reader, shown
from hpctools.slurm import tres, units
from hpctools.slurm.yaml_text import Value

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_KEY = re.compile(r"[A-Za-z0-9_]+")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# slurm.conf(5), AccountingStorageTRES: cpu, gres/gpu, gres/gpu:h100, license/matlab, ...
_TRES = re.compile(r"[a-z]+(/[A-Za-z0-9_.+-]+(:[A-Za-z0-9_.+-]+)?)?")


def seconds(text: str) -> int:
    """120, 120s, 5m, 2h or 7d in seconds. Raises ParseError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if not match:
        raise ParseError("a number of seconds", text)
    return int(match[1]) * _SECONDS[match[2]]


def read_seconds(value: Value | None, what: str, reader: Reader) -> int:
    """A number of seconds, or one with a unit: 120, 120s, 5m, 1h, 7d."""
    return reader.parsed(value, what, seconds, 0)


def read_time(value: Value | None, what: str, reader: Reader) -> int | None:
    """A duration of Slurm's (7-00:00:00, 1:00:00, minutes alone); None for UNLIMITED, and without one."""
    return reader.parsed(value, what, units.parse_duration_s, None)


def read_settings(
    value: Value | None, what: str, reader: Reader, elsewhere: Mapping[str, str]
) -> Mapping[str, str]:
    """Further keys of slurm.conf with their values. elsewhere: lower-cased keys that have a place of their
    own in the policy, and where; a second place would win over it unseen.
    """
    found = {}
    for key, below in reader.entries(value, f"{what}: settings").items():
        if not _KEY.fullmatch(key):
            reader.say(below, f"{what}: settings: {key} is no key of slurm.conf")
        if place := elsewhere.get(key.lower()):
            reader.say(below, f"{what}: settings: {key} has a place of its own", f"say it in {place}")
        text = reader.text(below, f"{what}: settings: {key}")
        # YAML's yes and no are Slurm's, too.
        found[key] = {"true": "YES", "false": "NO"}.get(text.lower(), text) if below.kind == "bool" else text
        if "\n" in text or '"' in text:
            reader.say(
                below, f"{what}: settings: {key}: a value of slurm.conf has no line end and no double quote"
            )
    return found


def read_limits(fields: Mapping[str, Value], known: frozenset[str], what: str, reader: Reader) -> Limits:
    """The limits among fields, in Slurm's text: TRES as a mapping or as gres/gpu=8,cpu=64."""
    found = {}
    for key, value in fields.items():
        if key not in known:
            continue
        if "TRES" in key:
            found[key] = _tres(value, f"{what}: {key}", reader)
        elif "Wall" in key:
            limit_s = read_time(value, f"{what}: {key}", reader)
            found[key] = units.format_duration(limit_s) if limit_s is not None else "-1"
        else:
            found[key] = str(reader.integer(value, f"{what}: {key}", 0, 0, 2**31 - 1))
    return found


def _tres(value: Value, what: str, reader: Reader) -> str:
    if isinstance(value.value, Mapping):
        text = ",".join(f"{name}={reader.text(amount, what)}" for name, amount in value.value.items())
    else:
        text = reader.text(value, what)
    try:
        amounts = tres.parse(text)
    except (ParseError, ValueError):  # Python reads no number of thousands of digits
        amounts = {}
    if not amounts or not all(_TRES.fullmatch(name) for name in amounts):
        reader.say(value, f"{what}: {shown(text)} is not a list of TRES", "gres/gpu=8,cpu=64")
    return text


def check_name(name: str, value: Value, what: str, reader: Reader) -> None:
    """That name is one that every tool can take."""
    if not _NAME.fullmatch(name):
        reader.say(value, f"{what}: letters, digits, . - and _ make a name")


def check_database_name(name: str, value: Value, what: str, reader: Reader) -> None:
    """That name is one of an account, user or QOS: sacctmgr turns capital letters into small ones."""
    check_name(name, value, what, reader)
    if name != name.lower():
        reader.say(value, f"{what}: sacctmgr knows small letters only", name.lower())
