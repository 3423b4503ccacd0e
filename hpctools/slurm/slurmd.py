"""slurmd -C: the hardware of a node as slurmd itself sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hpctools.errors import ParseError
from hpctools.slurm import tres, units

_NEEDED = ("CPUs", "Boards", "SocketsPerBoard", "CoresPerSocket", "ThreadsPerCore", "RealMemory")
# clush, pdsh and srun --label put "gpu001: " before each line.
_LINE = re.compile(r"(?:[^\s=]+:\s+)?(NodeName=.*)")
_UPTIME = re.compile(r"(?:[^\s=]+:\s+)?UpTime=(\S+)")


@dataclass(frozen=True)
class Hardware:
    """A node. memory_mb: all of it, in MiB. gres: GPUs that slurmd found by itself (since 24.11), each
    type the whole name that AutoDetect derives. uptime_s: seconds since boot, None where not said.
    """

    host: str
    cpus: int
    boards: int
    sockets_per_board: int
    cores_per_socket: int
    threads_per_core: int
    memory_mb: int
    gres: tuple[tres.Gres, ...] = ()
    uptime_s: int | None = None


def command() -> list[str]:
    """The words that print the hardware of the node they run on; no privilege is needed."""
    return ["slurmd", "-C"]


def parse(text: str) -> tuple[Hardware, ...]:
    """The nodes in answers to command, one or many behind each other. Raises ParseError.

    Lines of other kinds (what AutoDetect found, messages) are passed over.
    """
    found: list[Hardware] = []
    for line in text.split("\n"):
        if match := _LINE.match(line):
            found.append(_hardware(match[1]))
        elif found and (match := _UPTIME.match(line)):
            found[-1] = _with_uptime(found[-1], match[1])
    if not found:
        raise ParseError("an answer of slurmd -C", text[:200])
    return tuple(found)


def _hardware(line: str) -> Hardware:
    # slurmd.c, _print_config: words KEY=VALUE with one blank between; no value holds a blank.
    words = dict(word.partition("=")[::2] for word in line.split())
    if not words["NodeName"] or any(key not in words for key in _NEEDED):
        raise ParseError("a line of slurmd -C", line[:500])
    try:
        cpus, boards, sockets, cores, threads, memory_mb = (units.parse_count(words[key]) for key in _NEEDED)
        gres = tres.parse_gres(words.get("Gres", ""))
    except ParseError as error:
        raise ParseError("a line of slurmd -C", line[:500]) from error
    if 0 in (boards, sockets, cores, threads):
        raise ParseError("a line of slurmd -C", line[:500])
    return Hardware(words["NodeName"], cpus, boards, sockets, cores, threads, memory_mb, gres)


def _with_uptime(node: Hardware, text: str) -> Hardware:
    return replace(node, uptime_s=units.parse_duration_s(text))
