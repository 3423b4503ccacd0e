"""Sockets, cores and threads of a node, and what is set aside of them (_parse_nodename in read_config.c).

Most lines of a large cluster say the same, so each combination of values is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from hpctools.conf.candidate import Candidate, Record
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.rules import rule
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.units import YES, parse_unsigned

_SIZES = ("Boards", "Sockets", "SocketsPerBoard", "CoresPerSocket", "ThreadsPerCore", "CPUs", "Procs")
_LOWER = tuple(key.lower() for key in _SIZES)
# There select/cons_res and cons_tres refuse what later releases take (cons_common.c: select_p_node_init).
_SOCKETS_AS_CPUS_REFUSED = ("22.05",)
_CPU_BIND = frozenset("no none socket sockets ldom ldoms core cores thread threads off v verbose".split())


@dataclass(frozen=True)
class Sizes:
    """A node as slurmctld makes it out of its line, before it mends CPUs."""

    cpus: int
    sockets: int
    cores_per_socket: int
    threads: int

    @property
    def cores(self) -> int:
        return self.sockets * self.cores_per_socket

    @property
    def all_threads(self) -> int:
        return self.cores * self.threads


@rule("cpus-geometry", "error")
def cpus_geometry(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    refused = candidate.release in _SOCKETS_AS_CPUS_REFUSED and "cons_" in slurm.value("SelectType")
    for record in slurm.nodes:
        sizes = sizes_of(record)
        if sizes is None or sizes.cpus in (sizes.cores, sizes.all_threads):
            continue
        shape = f"{sizes.sockets} sockets * {sizes.cores_per_socket} cores * {sizes.threads} threads"
        severity: Severity = "error"
        if sizes.cpus != sizes.sockets:
            effect = f"slurmctld takes {sizes.all_threads}"
        elif refused:
            severity, effect = "fatal", "slurmctld stops"
        else:
            severity, effect = "warning", "as many CPUs as sockets are used"
        yield Problem(
            record.where("CPUs", "Procs"),
            f"{sizes.cpus} CPUs are neither the cores nor the threads of {shape}: {effect}",
            "leave CPUs out, and give Sockets, CoresPerSocket, ThreadsPerCore as slurmd -C prints them",
            severity,
        )


@rule("node-value-reset", "error")
def node_value_reset(candidate: Candidate) -> Iterator[Problem]:
    """Values that cannot be: slurmctld says so and puts others in their place."""
    slurm = candidate.slurm
    for record in slurm.nodes if slurm else ():
        for key in _LOWER:
            pair = record.pairs.get(key)
            # Not CPUs=08: only what is 0 to Slurm.
            if pair and _number(pair.value) == 0:
                yield Problem(pair, f"{pair.key}=0 is taken for 1", "give the real number, or remove it")
        if record.get("Sockets") and (pair := record.get("SocketsPerBoard")):
            yield Problem(pair, "Sockets stands beside SocketsPerBoard and is ignored", "keep one of them")
        if pair := record.get("MemSpecLimit"):
            memory, limit = _number(record.value("RealMemory", "1")), _number(pair.value)
            if memory is not None and limit is not None and limit >= memory:
                message = f"MemSpecLimit={limit} leaves nothing of RealMemory={memory}: it is ignored"
                yield Problem(pair, message, "set RealMemory, or lower MemSpecLimit")
        if pair := record.get("CpuBind"):
            if not all(word.lower() in _CPU_BIND for word in pair.value.replace(";", ",").split(",") if word):
                yield Problem(pair, f"CpuBind={pair.value} is ignored", "none, socket, ldom, core or thread")
        yield from _set_aside(record)


@rule("no-socket-free", "fatal")
def no_socket_free(candidate: Candidate) -> Iterator[Problem]:
    """_check_allocatable_sockets of select/cons_tres: with CR_Socket a job gets whole sockets only."""
    slurm = candidate.slurm
    if not slurm or not any(
        word.upper().startswith("CR_SOCKET") for word in slurm.words("SelectTypeParameters")
    ):
        return
    if slurm.value("SelectType").endswith("linear") or slurm.value("AllowSpecResourcesUsage").lower() in YES:
        return
    for record in slurm.nodes:
        listed, counted = record.get("CpuSpecList"), record.get("CoreSpecCount")
        pair = listed or counted
        sizes = sizes_of(record) if pair else None
        if pair and sizes and (_in_each_socket(pair.value, sizes) if listed else _more(pair.value, sizes)):
            message = (
                f"{pair.key}={pair.value} takes of each of the {sizes.sockets} sockets, and with CR_Socket "
                "a job gets whole ones: none could run"
            )
            yield Problem(pair, message, "CR_Core or CR_Core_Memory, or fewer cores set aside")


def _more(text: str, sizes: Sizes) -> bool:
    """Whether so many cores set aside leave no socket without one. Too many are taken for one."""
    spec = _number(text) or 0
    spec = 1 if spec >= sizes.cores else spec
    return spec > (sizes.sockets - 1) * sizes.cores_per_socket


def _in_each_socket(text: str, sizes: Sizes) -> bool:
    try:
        cpus = [int(cpu) for cpu in hostlist.expand(f"[{text}]")]
    except (ParseError, ValueError):
        return False
    in_socket = sizes.cores_per_socket * sizes.threads
    return {cpu // in_socket for cpu in cpus} >= set(range(sizes.sockets))


def sizes_of(record: Record) -> Sizes | None:
    """How many of each a node has; None where a number cannot be read (another rule says so)."""
    pairs = record.pairs
    return _sizes(tuple(pairs[key].value if key in pairs else None for key in _LOWER))


def _set_aside(record: Record) -> Iterator[Problem]:
    pair = record.get("CoreSpecCount")
    spec = _number(pair.value) if pair else None
    if not pair or not spec:
        return
    sizes = sizes_of(record)
    if record.get("CpuSpecList"):
        message = "CoreSpecCount stands beside CpuSpecList and is ignored"
        yield Problem(pair, message, "keep one of them")
    elif sizes and spec >= sizes.cores:
        message = f"CoreSpecCount={spec} of {sizes.cores} cores: slurmctld sets one aside"
        yield Problem(pair, message, "leave cores for jobs")


@lru_cache(maxsize=4096)
def _sizes(texts: tuple[str | None, ...]) -> Sizes | None:
    numbers = []
    for text in texts:
        value = _number(text) if text is not None else None
        if text is not None and value is None:
            return None
        # A 0 is taken for 1.
        numbers.append(None if value is None else max(value, 1))
    boards, sockets, on_board, cores, threads, cpus, procs = numbers
    boards, cores, threads, cpus = boards or 1, cores or 1, threads or 1, cpus or procs
    if on_board is not None:
        sockets = boards * on_board
    elif sockets is None:
        whole = cpus is not None and cpus >= cores * threads and cpus % (cores * threads) == 0
        sockets = cpus // (cores * threads) if cpus and whole else boards
    return Sizes(sockets * cores * threads if cpus is None else cpus, sockets, cores, threads)


@lru_cache(maxsize=4096)
def _number(text: str) -> int | None:
    try:
        return parse_unsigned(text, 64)
    except ParseError:
        return None
