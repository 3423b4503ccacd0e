"""From a node's report to a host of the inventory: what its GPUs are called, which network it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hpctools.errors import ParseError
from hpctools.inventory import nvidia
from hpctools.inventory.found import Found
from hpctools.inventory.model import MIG_PROFILE, Fabric, Gpus
from hpctools.inventory.report import GpuFacts, Nic, Report
from hpctools.slurm import hostlist, tres


def found(report: Report) -> Found:
    """The host of a report. Its block is not named here: see domain."""
    return Found(
        host=report.host,
        sockets=report.sockets,
        cores_per_socket=report.cores_per_socket,
        threads_per_core=report.threads_per_core,
        boards=report.boards,
        memory_mb=report.memory_mb,
        numa_nodes=len(report.numa) if _even(report) else 0,
        gpus=tuple(_gpus(report)),
        fabric=fabric(report),
    )


def _even(report: Report) -> bool:
    """Whether its NUMA nodes have equally many cores, as an inventory assumes."""
    cores = report.boards * report.sockets * report.cores_per_socket
    return bool(report.numa) and cores % len(report.numa) == 0


def _gpus(report: Report) -> Iterator[Gpus]:
    """Its GPUs, those that are alike together, in the order of the report."""
    if not report.gpus:
        yield from _of_slurmd(report)
    parts: dict[tuple[str, tuple[tuple[str, int], ...]], list[GpuFacts]] = {}
    for gpu in report.gpus:
        mig = tuple(sorted(Counter(filter(MIG_PROFILE.fullmatch, gpu.profiles)).items()))
        name = nvidia.mig_type(gpu.name) if mig else nvidia.slurm_type(gpu.name)
        parts.setdefault((name, mig), []).append(gpu)
    # Kernels may number NUMA nodes with gaps; an inventory counts those with CPUs.
    ranks = {one.node: rank for rank, one in enumerate(report.numa)} if _even(report) else {}
    # slurmd wants device files for all GPUs, or for none.
    minors = {gpu.minor for gpu in report.gpus}
    with_files = None not in minors and len(minors) == len(report.gpus)
    for (name, mig), gpus in parts.items():
        if name:
            yield Gpus(
                type=name,
                count=len(gpus),
                memory_mb=min((gpu.memory_mb for gpu in gpus if gpu.memory_mb), default=None),
                model=gpus[0].name,
                numa=_numa(gpus, ranks),
                files=hostlist.fold(f"/dev/nvidia{gpu.minor}" for gpu in gpus) if with_files else "",
                mig=mig,
            )


def _of_slurmd(report: Report) -> Iterator[Gpus]:
    """Other makers' GPUs, and those of a node without nvidia-smi, as slurmd found them."""
    try:
        gres = tres.parse_gres(report.gres)
    except ParseError:
        return
    for one in gres:
        if one.name == "gpu" and one.count and nvidia.slurm_type(one.type):
            yield Gpus(nvidia.slurm_type(one.type), one.count, model=one.type)


def _numa(gpus: Sequence[GpuFacts], ranks: Mapping[int, int]) -> tuple[int, ...]:
    known = [ranks[gpu.numa] for gpu in gpus if gpu.numa is not None and gpu.numa in ranks]
    return tuple(known) if len(known) == len(gpus) else ()


def fabric(report: Report) -> Fabric | None:
    """The network that jobs compute over: the adapters that hang with GPUs on PCIe switches, else the fastest
    of those with RDMA, else Ethernet at its fastest; None where no speed is known.
    """
    if nics := adapters(report.nics):
        return Fabric(nics[0].kind, len(nics), max(nic.rate_gbps or 0 for nic in nics) or None)
    speed = max((one.speed_mbps or 0 for one in report.interfaces if one.state == "up"), default=0)
    return Fabric("ethernet", 0, speed // 1000) if speed >= 1000 else None


def adapters(nics: Sequence[Nic]) -> tuple[Nic, ...]:
    """Those that jobs compute over, all of one kind: near to GPUs, else the fastest that have a link."""
    chosen = [nic for nic in nics if nic.near] or _fastest(nics)
    kind = Counter(nic.kind for nic in chosen).most_common(1)[0][0] if chosen else ""
    return tuple(nic for nic in chosen if nic.kind == kind)


def _fastest(nics: Sequence[Nic]) -> list[Nic]:
    active = [nic for nic in nics if nic.state == "ACTIVE"]
    rate = max((nic.rate_gbps or 0 for nic in active), default=0)
    return [nic for nic in active if (nic.rate_gbps or 0) == rate]


def domain(report: Report) -> tuple[str, int] | None:
    """The NVLink domain that all its GPUs are of: the UUID and the clique; None where there is none."""
    domains = {(gpu.cluster, gpu.clique) for gpu in report.gpus}
    if len(domains) != 1:
        return None
    cluster, clique = domains.pop()
    return (cluster, clique) if cluster and clique is not None else None


def problems(report: Report) -> Iterator[str]:
    """What of a report has no place in an inventory."""
    domains = {(gpu.cluster, gpu.clique) for gpu in report.gpus}
    if len(domains) > 1:
        yield f"its GPUs are of {len(domains)} NVLink domains, so that it is of no block"
    for index, gpu in enumerate(report.gpus):
        if not nvidia.slurm_type(gpu.name):
            yield f"GPU {index} is left out: no type can be made of its name {gpu.name!r}"
        for profile in sorted(set(gpu.profiles)):
            if not MIG_PROFILE.fullmatch(profile):
                yield f"GPU {index}: the MIG instance {profile} is left out: it is a part of another"
    if report.numa and not _even(report):
        yield f"{len(report.numa)} NUMA nodes do not share its cores evenly, and are left out"
