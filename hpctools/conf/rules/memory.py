"""Memory: whether it is given out like cores, by how much where a job does not say, and how much there is."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf, Record, number
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import cpus, gpus, is_exclusive, is_linear, kinds_of, named
from hpctools.conf.rules.isolation import gives_memory
from hpctools.slurm.conf_text import Pair

_DEFAULTS = ("DefMemPerCPU", "DefMemPerNode", "DefMemPerGPU")
# What no machine has, in MB: less than this a CPU (gigabytes were meant) ...
_LEAST_A_CPU_MB = 32
# ... or more than this in all, or a CPU (kilobytes were).
_MOST_MB = 64 * 1024**2
_MOST_A_CPU_MB = 1024**2
# From here on a size that memory modules have is taken for theirs, not for what the kernel leaves.
_FITTED_MB = 4096


@rule("memory-not-given-out", "error")
def memory_not_given_out(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or gives_memory(slurm, candidate.release):
        return
    if any("memory" in part.value("SelectTypeParameters").lower() for part in slurm.partitions):
        return
    chosen = slurm.get("SelectTypeParameters")
    why = f"{chosen.key}={chosen.value}" if chosen else "SelectTypeParameters is not set"
    linear = is_linear(slurm, candidate.release)
    hint = f"SelectTypeParameters={'CR_Memory' if linear else 'CR_Core_Memory'}"
    idle = _without_effect(slurm)
    if idle:
        pair = idle[0]
        others = f" (and {len(idle) - 1} more such)" if len(idle) > 1 else ""
        message = f"{pair.key}={pair.value}{others} is of no use: memory is not given out to jobs ({why})"
        yield Problem(pair, message, hint)
        return
    sized = [kind[0] for kind in slurm.kinds if (kind[0].number("RealMemory", 1) or 0) > 1]
    if sized and not linear and not all(map(is_exclusive, slurm.partitions)):
        message = f"memory is not given out to jobs ({why}): those on a node may use it up together"
        yield Problem(sized[0].where("RealMemory"), message, hint, "warning")


@rule("memory-of-one-megabyte", "error")
def memory_of_one_megabyte(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not gives_memory(slurm, candidate.release):
        return
    found = _unsized(slurm)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        why = slurm.value("SelectTypeParameters", f"CR_Core_Memory is the default of {candidate.release}")
        message = f"{found[0].name}{more}: RealMemory is 1 MB, its default, and memory is given out ({why})"
        hint = "RealMemory as `slurmd -C` prints it, less some reserve; until then any --mem is refused"
        yield Problem(found[0].where("RealMemory"), message, hint)


@rule("default-memory-missing", "warning")
def default_memory_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not gives_memory(slurm, candidate.release):
        return
    if _default(slurm, None) or is_linear(slurm, candidate.release) or _unsized(slurm):
        return
    found = [one for one in slurm.partitions if not is_exclusive(one) and not _default(slurm, one)]
    if found:
        message = f"no DefMemPerCPU for {named(found)}: a job without --mem takes all memory of its nodes"
        hint = "DefMemPerCPU (or DefMemPerGPU) of about RealMemory by the node's CPUs"
        yield Problem(slurm.get("SelectTypeParameters") or found[0], message, hint)


@rule("memory-defaults-conflict", "error")
def memory_defaults_conflict(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for which in ("Def", "Max"):
        scopes: tuple[Conf | Record, ...] = (slurm, *slurm.partitions)
        for scope in scopes:
            ignored, kept = scope.get(f"{which}MemPerCPU"), scope.get(f"{which}MemPerNode")
            if ignored and kept:
                message = f"{ignored.key} is ignored: {kept.key}={kept.value} stands beside it"
                yield Problem(ignored, message, "keep one of them")


@rule("default-memory-too-large", "warning")
def default_memory_too_large(candidate: Candidate) -> Iterator[Problem]:
    """What a job gets that takes a whole node and says nothing about memory, against what the node has."""
    slurm = candidate.slurm
    if not slurm or not gives_memory(slurm, candidate.release):
        return
    for partition in slurm.partitions:
        pair = _default(slurm, partition) or _default(slurm, None)
        amount = _amount(pair) if pair else None
        if not pair or not amount or is_exclusive(partition):
            continue
        for node in kinds_of(slurm, partition):
            units = _units(pair, node)
            free = (node.number("RealMemory", 1) or 0) - (node.number("MemSpecLimit", 0) or 0)
            if free > 1 and units and amount * units > free:
                yield Problem(pair, *_too_large(pair, amount, units, node, free))
                break


@rule("memory-units", "error")
def memory_units(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for node, *_ in slurm.kinds:
        pair, total, count = node.get("RealMemory"), node.number("RealMemory", 1), cpus(node) or 1
        if not pair or not total:
            continue
        if 1 < total < _LEAST_A_CPU_MB * count:
            message = f"{pair.key}={pair.value} is {total} MB for {count} CPUs"
            yield Problem(pair, message, "it is in MB: 1 GB is 1024")
        elif total > _MOST_MB or (count > 1 and total > _MOST_A_CPU_MB * count):
            message = f"{pair.key}={pair.value} is {total // 1024**2} TB for {count} CPUs"
            yield Problem(pair, message, "it is in MB; /proc/meminfo has kilobytes")


@rule("memory-as-fitted", "warning")
def memory_as_fitted(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or "node_reg_mem_percent" in slurm.value("SlurmctldParameters").lower():
        return
    if "config_overrides" in slurm.value("SlurmdParameters").lower():
        return
    said: set[int] = set()
    for node, *_ in slurm.kinds:
        total = node.number("RealMemory", 1) or 0
        is_kept = node.value("State").upper().startswith(("CLOUD", "FUTURE"))
        if total >= _FITTED_MB and total not in said and not is_kept and _is_fitted(total):
            said.add(total)
            size = f"RealMemory={total} is {total // 1024} GB exactly"
            message = f"{size}; the kernel keeps a part of it, and a node that reports less is drained"
            hint = (
                "what `slurmd -C` prints, less a few percent; or SlurmctldParameters=node_reg_mem_percent=95"
            )
            yield Problem(node.where("RealMemory"), message, hint)


def _unsized(slurm: Conf) -> list[Record]:
    """Nodes of 1 MB. What FUTURE nodes have is told by their slurmd."""
    return [
        node
        for kind in slurm.kinds
        if kind[0].number("RealMemory", 1) == 1 and not kind[0].value("State").upper().startswith("FUTURE")
        for node in kind
    ]


def _without_effect(slurm: Conf) -> list[Pair]:
    """What is set for memory that is given out, in the order of the file."""
    found = [slurm.get(key) for key in _DEFAULTS]
    found += [one.get(key) for one in slurm.partitions for key in _DEFAULTS]
    found += [kind[0].get("MemSpecLimit") for kind in slurm.kinds]
    pairs = dict.fromkeys(pair for pair in found if pair and _amount(pair))
    return list(pairs)


def _amount(pair: Pair) -> int:
    """0, as unset, for what is no number; unlimited is as good as unset, too."""
    found = number(pair.value) or 0
    return 0 if found == 0xFFFFFFFF else found


def _default(slurm: Conf, partition: Record | None) -> Pair | None:
    """The default of a partition's own (the one that Slurm takes where two are set), or the cluster's."""
    scope = partition or slurm
    for key in ("DefMemPerNode", "DefMemPerCPU", "DefMemPerGPU"):
        pair = scope.get(key)
        if pair and _amount(pair):
            return pair
    return None


def _units(pair: Pair, node: Record) -> int:
    """By how many of a node a default of memory is multiplied."""
    key = pair.key.lower()
    if key == "defmempernode":
        return 1
    return gpus(node) if key == "defmempergpu" else (cpus(node) or 0)


def _too_large(pair: Pair, amount: int, units: int, node: Record, free: int) -> tuple[str, str]:
    if units == 1 and pair.key.lower() == "defmempernode":
        return (
            f"{pair.key}={amount}, but {node.name} has {free} MB: no job without --mem can start there",
            f"at most {free}",
        )
    what = "GPUs" if pair.key.lower() == "defmempergpu" else "CPUs"
    return (
        f"{pair.key}={amount} for {units} {what} is {amount * units} MB, but {node.name} has {free}: "
        f"a job that takes them all without --mem cannot start there",
        f"at most {free // units}",
    )


def _is_fitted(total_mb: int) -> bool:
    """Whether it is 2**n or 3*2**n GB, as memory modules add up to."""
    gigabytes, rest = divmod(total_mb, 1024)
    while gigabytes and gigabytes % 2 == 0:
        gigabytes //= 2
    return rest == 0 and gigabytes in (1, 3)
