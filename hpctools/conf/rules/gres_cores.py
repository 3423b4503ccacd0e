"""Cores of gres.conf: Slurm's own numbers of cores, whole sockets, of the nodes of slurm.conf."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.gres import NodeGres, cores_of, cpus_of, node_gres, wanted
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

# _check_core_range_matches_sock; from 25.11 one socket, or all of them.
_WHOLE_SOCKETS = "24.11"
_ONE_SOCKET = "25.11"
_LARGEST = 65536


@rule("gres-cores-invalid", "error")
def gres_cores_invalid(candidate: Candidate) -> Iterator[Problem]:
    for node, pair in _cores(candidate):
        cores = _numbers(pair.value)
        if cores is None:
            yield Problem(pair, f"{pair.key}={pair.value} is no list of cores", "such as 0-31,64-95")
            continue
        known = cores_of(node.record) if node.record else None
        cpus = cpus_of(node.record) if node.record else None
        total = known[0] * known[1] if known else cpus
        if total and max(cores) >= total:
            message = f"{pair.key}={pair.value} of {node.shown}: there are only the cores 0-{total - 1}"
            hint = "count cores as lstopo -l does (Core L#)"
            threads = node.record.number("ThreadsPerCore", 1) if node.record else None
            if known and threads and max(cores) < total * threads:
                hint += "; these look like numbers of CPUs, of which each core has several"
            yield Problem(pair, message, hint)


@rule("gres-cores-socket", "error")
def gres_cores_socket(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not at_least(candidate.release, _WHOLE_SOCKETS):
        return
    parameters = {word.lower() for word in slurm.words("SlurmdParameters")}
    if parameters & {"numa_node_as_socket", "l3cache_as_socket"}:
        return
    for node, pair in _cores(candidate):
        cores, known = _numbers(pair.value), cores_of(node.record) if node.record else None
        if not cores or not known or max(cores) >= known[0] * known[1] or len(cores) == known[0] * known[1]:
            continue
        sockets = {core // known[1] for core in cores}
        whole = len(cores) == len(sockets) * known[1]
        if not whole or (len(sockets) > 1 and at_least(candidate.release, _ONE_SOCKET)):
            first = min(sockets) * known[1]
            what = "not all cores of a socket" if not whole else "more than one socket, but not all of them"
            message = f"{pair.key}={pair.value} of {node.shown} is {what}: the node is drained"
            hint = f"socket {min(sockets)} is {first}-{first + known[1] - 1}; see numa_node_as_socket too"
            yield Problem(pair, message, hint)


def _cores(candidate: Candidate) -> Iterator[tuple[NodeGres, Pair]]:
    """Each Cores (CPUs in old files) with the first nodes that it is for."""
    gres, slurm = candidate.conf("gres.conf"), candidate.slurm
    if not gres or (slurm and not slurm.partial and not slurm.gres_types):
        return
    seen: set[tuple[int, object]] = set()
    for node in node_gres(candidate):
        asked = wanted(node.record.value("Gres")) if node.record else None
        for line in node.lines:
            if asked is not None and line.name not in asked:
                continue
            pair = line.at.get("Cores") or line.at.get("CPUs")
            same = (line.order, cores_of(node.record) if node.record else None)
            if pair and same not in seen:
                seen.add(same)
                yield node, pair


def _numbers(text: str) -> frozenset[int] | None:
    """0-3,8 as numbers, as bit_unfmt reads it; None for what is no such list."""
    found: set[int] = set()
    for word in text.strip("[]").split(","):
        low, dash, high = word.strip().partition("-")
        if not (low.isascii() and low.isdecimal()) or (dash and not (high.isascii() and high.isdecimal())):
            return None
        if len(low) > 9 or len(high) > 9:
            return None
        first, last = int(low), int(high or low)
        if last < first or last > _LARGEST:
            return None if last < first else frozenset({last})
        found.update(range(first, last + 1))
    return frozenset(found) or None
