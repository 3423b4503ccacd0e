"""Apptainer, or Singularity: which one is here, how it runs an image, what its failures mean."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from hpctools import process
from hpctools.errors import CommandError, HpctoolsError, NotFound
from hpctools.images import store
from hpctools.images.store import Say

PROGRAMS = ("apptainer", "singularity")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LABEL = re.compile(r"(FATAL|ERROR|WARNING|INFO)\s*:\s*")
# What they say, in lower case, and what is to be done.
_HINTS = (
    (
        ("no such host", "connection refused", "i/o timeout", "network is unreachable", "handshake timeout"),
        "the registry is not reached from this host; try one with a way out, such as a login node",
    ),
    (("no space left", "quota exceeded"), "{room}"),
    (
        ("unauthorized", "authentication required", "access denied", "denied:"),
        "the registry wants a login, or has no such image: {program} registry login --help",
    ),
    (
        ("manifest unknown", "name unknown", "status code: 404", "status code 404", "statuscode: 404"),
        "the registry has no such image or tag",
    ),
    (("server gave http response to https",), "the registry speaks no TLS: {upper}_NOHTTPS=1 allows that"),
)
_ROOM = (
    "no room in {cache} or in {temporary}, where it is unpacked;"
    " {upper}_TMPDIR=FOLDER names another place for that"
)
_SYS_RESOURCE = 24  # linux/capability.h


def find(runtime: str = "") -> str:
    """The name of the program, runtime if that is one. Raises NotFound where none is installed here."""
    wanted = (runtime,) if runtime in PROGRAMS else PROGRAMS
    for name in wanted:
        if shutil.which(name):
            return name
    raise NotFound(f"{' or '.join(wanted)} is not on this host's PATH; images are made and run by it")


def version(program: str) -> str:
    """As it says: apptainer version 1.4.5."""
    return process.run([program, "--version"], timeout_s=30).check().strip()


def exec_words(program: str, image: Path, *, binds: Sequence[str] = ()) -> list[str]:
    """The words before a command that is run in an image here."""
    # --contain: what is looked into may be anybody's, and is not to see the user's files.
    words = [program, "--quiet", "exec", "--cleanenv", "--contain", *(f"--bind={bind}" for bind in binds)]
    if os.geteuid() == 0 and not _capable(_SYS_RESOURCE):
        words.append("--no-privs")  # it would ask for all capabilities, and fail
    return [*words, str(image)]


def _capable(number: int) -> bool:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return True
    match = re.search(r"^CapPrm:\s*([0-9a-f]+)", text, re.MULTILINE)
    return not match or bool(int(match[1], 16) >> number & 1)


def plain(text: str) -> str:
    """What they say, without colours."""
    return _COLOURS.sub("", text)


def make(words: Sequence[str], what: str, cache: Path, say: Say) -> None:
    """Run a program that makes an image, and say what it says. Raises HpctoolsError with the reason."""
    said: list[str] = []
    try:
        for line in process.lines(words):
            said.append(plain(line).strip())
            match = _LABEL.match(said[-1])
            if match and match[1] == "INFO" and store.PART not in said[-1]:
                say(said[-1][match.end() :])
    except CommandError as error:
        raise HpctoolsError(failure(said, what, words[0], cache)) from error


def failure(said: Iterable[str], what: str, program: str, cache: Path) -> str:
    """What to say where what failed: the program's own reason, and what can be done."""
    lines = [line for line in said if line]
    reasons = [_LABEL.sub("", line) for line in lines if line.startswith("FATAL")] or lines[-3:]
    reason = " ".join(reasons) or "it said nothing"
    text = " ".join(lines).lower()
    for phrases, hint in _HINTS:
        if any(phrase in text for phrase in phrases):
            upper = program.upper()
            temporary = os.environ.get(f"{upper}_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
            room = _ROOM.format(cache=cache, temporary=temporary, upper=upper)
            return f"{what}: {reason}\n{hint.format(program=program, upper=upper, room=room)}"
    return f"{what}: {reason}"
