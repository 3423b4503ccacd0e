"""Values of settings: from the text that somebody wrote, as Slurm wants them.

Each reader takes the whole text or raises ParseError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import units

Value = str | int | bool

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Only as a whole part of a path: a name that somebody gave a folder keeps its $.
_VARIABLE = re.compile(r"(?:(?<=/)|^)\$([A-Za-z_][A-Za-z0-9_]*)(?=/|$)")
_GPUS = re.compile(r"(?:([A-Za-z0-9_.-]+):)?([0-9]{1,4})")
_ARRAY = re.compile(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?", re.ASCII)
_DASHES = re.compile(r"[a-z][a-z0-9-]*")
# bash refuses to set them, and the script would go on without.
_READONLY = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise ParseError("a whole number from 1 on", text)
    return int(text)


def amount(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdigit() and int(text) < 10**9):
        raise ParseError("a whole number", text)
    return int(text)


def word(text: str) -> str:
    """Text that is there."""
    if not text.strip():
        raise ParseError("a name", text)
    return text


def path(text: str) -> str:
    """A path that is there; ~ is the home folder."""
    return os.path.expanduser(word(text))


def folder(text: str) -> str:
    """A path; ~ is the home folder, a part $NAME a variable: of a site, /scratch/$USER/runs."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or (_user() if match[1] == "USER" else "")
        if not found:
            raise ParseError(f"a folder: there is no variable {match[1]}", text)
        return found

    return _VARIABLE.sub(value, path(text))


def _user() -> str:
    """Who we are where USER is not set: in cron jobs, in containers."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def gpus(text: str) -> str:
    """How many GPUs, N or TYPE:N as sbatch takes it."""
    match = _GPUS.fullmatch(text)
    if not match:
        raise ParseError("a number of GPUs", text)
    return f"{match[1]}:{int(match[2])}" if match[1] else str(int(match[2]))


def gpu_type(text: str) -> str:
    """The type of a GPU, as gres.conf names it."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", text):
        raise ParseError("a type of GPU", text)
    return text


def duration(text: str) -> str:
    """A time limit as Slurm writes it; 0 is none, as in sbatch(1)."""
    return units.format_duration(units.parse_duration_s(text) or None)


def memory(text: str) -> str:
    """Memory of one node as Slurm writes it; 0 is all."""
    megabytes = units.parse_memory_mb(text)
    return units.format_memory(megabytes) if megabytes else "0"


def array(text: str) -> str:
    """Task ids of an array."""
    if not _ARRAY.fullmatch(text):
        raise ParseError("a list of task ids", text)
    return text


def flag(text: str) -> bool:
    """Yes or no, as YAML 1.1 and people write it."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ParseError("yes or no", text)


def one_of(*choices: str) -> Callable[[str], str]:
    """A reader of one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ParseError(f"one of {', '.join(choices)}", text)
        return text

    return read


def variable_name(text: str) -> str:
    """The name of an environment variable that a job may be given."""
    if not _NAME.fullmatch(text):
        raise ParseError("a name of a variable", text)
    if text in _READONLY:
        raise ParseError("a variable that can be set (bash keeps it for itself)", text)
    return text


def dotted_name(text: str) -> str:
    """A name in parts: a.b."""
    if not all(_NAME.fullmatch(part) for part in text.split(".")):
        raise ParseError("a name of a variable, a or a.b", text)
    return text


def sbatch_name(text: str) -> str:
    """The long name of an option of sbatch, without its dashes."""
    plain = text.removeprefix("--")
    if not _DASHES.fullmatch(plain):
        raise ParseError("a long option of sbatch", text)
    return plain


# Options of sbatch that would break what hpctools relies on, and what to use instead.
OWNED: Mapping[str, str] = MappingProxyType(
    {
        "job-name": "use --name",
        "chdir": "the job runs where it is submitted",
        "error": "both outputs go to one log; use --output",
        "input": "ranks have no input",
        "open-mode": "logs are always appended to, for jobs that are requeued",
        "parsable": "hpctools reads the answer",
        "quiet": "hpctools reads the answer",
        "test-only": "use --test-only",
        "wait": "use --follow",
        "wrap": "use --command",
        "ntasks": "use --nodes and --ranks-per-node",
        "ntasks-per-node": "use --ranks-per-node",
        "ntasks-per-gpu": "use --ranks-per-node",
        "gpus": "use --gpus-per-node",
        "gpus-per-task": "it hides the GPUs of a node's ranks from each other; use --gpus-per-node",
        "gpus-per-socket": "use --gpus-per-node",
        "help": "see sbatch --help",
        "usage": "see sbatch --help",
        "version": "see sbatch --version",
    }
)
