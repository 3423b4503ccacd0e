"""What jobs can have of a node, and the share of it that goes with each of its GPUs.

Memory is in MiB and CPUs are hardware threads, as Slurm counts both where a NodeName line gives
sockets, cores and threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hpctools.inventory.model import NodeType
from hpctools.slurm.tres import Gres

_STEP_MB = 1024
# MPS gives out hundredths of a GPU (gres.conf(5), Count).
MPS_PER_GPU = 100


def real_memory_mb(kind: NodeType) -> int:
    """RealMemory: what `slurmd -C` printed less some room, since a node that reports less is drained.

    Off go 2 %, at least 1 GiB, and what is left is rounded down to whole GiB: a new kernel or BIOS takes
    some MiB more. Of a node of a few GiB an eighth goes off.
    """
    left = kind.memory_mb - max(-(-kind.memory_mb // 50), _STEP_MB)
    whole = left // _STEP_MB * _STEP_MB
    return whole if whole >= 4 * _STEP_MB else max(kind.memory_mb - kind.memory_mb // 8, 1)


def free_memory_mb(kind: NodeType) -> int:
    """The memory that jobs can have: RealMemory less MemSpecLimit."""
    return real_memory_mb(kind) - kind.reserved_memory_mb


def free_cpus(kind: NodeType) -> int:
    """The CPUs that jobs can have: all but those of CoreSpecCount."""
    return (kind.cores - kind.reserved_cores) * kind.threads_per_core


def gres(kind: NodeType) -> tuple[Gres, ...]:
    """Gres of a NodeName line: GPUs (or MIG instances) by type, then what shares them."""
    found = [Gres("gpu", name, count) for gpus in kind.gpus for name, count in gpus.gres]
    shards = sum(gpus.shard * gpus.count for gpus in kind.gpus)
    shared = sum(MPS_PER_GPU * gpus.count for gpus in kind.gpus if gpus.mps)
    found += [Gres("shard", "", shards)] if shards else []
    found += [Gres("mps", "", shared)] if shared else []
    return tuple(found)


def gpu_count(kind: NodeType) -> int:
    """GPUs as Slurm counts them: a MIG instance is one."""
    return sum(one.count for one in gres(kind) if one.name == "gpu")


def sockets_of_gpus(kind: NodeType) -> tuple[int, ...] | None:
    """The socket of each physical GPU, in the order of the GPUs; None where it is not known.

    Slurm binds a GPU to whole sockets, so a NUMA node that is a part of a socket stands for all of it.
    """
    sockets = kind.boards * kind.sockets
    numa_nodes = kind.numa_nodes or sockets
    known = all(len(gpus.numa) == gpus.count for gpus in kind.gpus)
    if not kind.gpus or not known or numa_nodes % sockets:
        return None
    return tuple(numa // (numa_nodes // sockets) for gpus in kind.gpus for numa in gpus.numa)


def restricted_cores(kind: NodeType) -> int:
    """RestrictedCoresPerGPU: half of a GPU's share of the cores near it; 0 where that is not known.

    So many cores a GPU are kept for jobs with GPUs: others cannot take all cores and leave GPUs idle.
    Any of a socket's cores may be reserved for the system, so all reserved ones are taken off of each.
    """
    sockets = sockets_of_gpus(kind)
    if sockets is None:
        return 0
    instances = [sum(each for _, each in gpus.mig) or 1 for gpus in kind.gpus for _ in range(gpus.count)]
    most = Counter[int]()
    for socket, count in zip(sockets, instances, strict=True):
        most[socket] += count
    return max(kind.cores_per_socket - kind.reserved_cores, 0) // max(most.values()) // 2


def cpus_per_gpu(kinds: Iterable[NodeType]) -> int:
    """DefCpuPerGPU that lets a job have all GPUs of any of these nodes: whole cores where there is more
    than one for a GPU; 0 where no node has GPUs, or fewer CPUs than GPUs.
    """
    shares = []
    for kind in kinds:
        if count := gpu_count(kind):
            share = free_cpus(kind) // count
            shares.append(share - share % kind.threads_per_core or share)
    return min(shares, default=0)


def memory_per_gpu_mb(kinds: Iterable[NodeType]) -> int:
    """DefMemPerGPU, likewise."""
    return min((free_memory_mb(kind) // count for kind in kinds if (count := gpu_count(kind))), default=0)


def memory_per_cpu_mb(kinds: Iterable[NodeType]) -> int:
    """DefMemPerCPU that lets a job have all CPUs of any of these nodes."""
    return min((free_memory_mb(kind) // kind.cpus for kind in kinds), default=0)
