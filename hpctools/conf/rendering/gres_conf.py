"""gres.conf: which devices stand for the GPUs of slurm.conf's nodes, and the cores near them.

Where slurmd detects GPUs itself (AutoDetect) it knows their files, cores and links better than any
file; a line of ours beside it would only be compared, and drain the node where it differs.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import capacity, text
from hpctools.errors import Problem
from hpctools.inventory.model import Inventory, NodeType
from hpctools.slurm import hostlist
from hpctools.slurm.releases import plugins

FILES = "files"
_TRADES = {
    "nvml": """\
# AutoDetect=nvml needs a slurmd that was built with NVIDIA's library, and reads GPU utilisation and
# energy too, which sacct and reports then have. Without the library slurmd stops here; then choose in
# the policy: slurm: {autodetect: nvidia} (24.11 and newer; no utilisation, no energy, no MIG), or files.
""",
    "nvidia": """\
# AutoDetect=nvidia needs no library, and reads neither GPU utilisation nor energy; nvml does both.
""",
}


def detection(kind: NodeType, policy: Policy, release: str) -> str:
    """How slurmd finds the GPUs of a node: nvml, nvidia or files.

    Asked of the policy; else nvml where Slurm has it, else nvidia, else files. GPUs of another maker
    are told by their files; MIG instances only nvml finds.
    """
    if any(gpus.files and not gpus.files.startswith("/dev/nvidia") for gpus in kind.gpus):
        return FILES
    known = [name for name in ("nvml", "nvidia") if name in plugins("gpu", release)]
    wanted = policy.daemons.autodetect or (known[0] if known else FILES)
    if wanted == "nvidia" and any(gpus.mig for gpus in kind.gpus):
        return "nvml"
    return wanted


def problems(inventory: Inventory, policy: Policy, release: str) -> Iterator[Problem]:
    wanted = policy.daemons.autodetect
    if wanted and wanted != FILES and wanted not in plugins("gpu", release):
        yield Problem("slurm: autodetect", f"{release} has no {wanted}", "nvml, or files")
    for kind in inventory.types.values():
        if any(gpus.mig for gpus in kind.gpus) and detection(kind, policy, release) == FILES:
            message = "the device files of MIG instances change when they are made; only nvml finds them"
            yield Problem(f"node type {kind.name}", message, "slurm: {autodetect: nvml}")


def uses(inventory: Inventory, policy: Policy, release: str, name: str) -> bool:
    """Whether a node's GPUs are found by name."""
    used = {group.type for group in inventory.groups}
    return any(
        kind.name in used and kind.gpus and detection(kind, policy, release) == name
        for kind in inventory.types.values()
    )


def gres_conf(inventory: Inventory, policy: Policy, release: str) -> str:
    """One line for each node type with GPUs, or for each type and socket of them; "" without GPUs."""
    found = []
    for kind in inventory.types.values():
        hosts = inventory.of_type(kind.name)
        if kind.gpus and hosts:
            found.append("\n")
            nodes = hostlist.fold(hosts)
            how = detection(kind, policy, release)
            devices = _devices(kind) if how == FILES else ((("AutoDetect", how),),)
            found += [text.line((("NodeName", nodes), *pairs)) for pairs in (*devices, *_shared(kind))]
    if not found:
        return ""
    trades = [said for how, said in _TRADES.items() if uses(inventory, policy, release, how)]
    if uses(inventory, policy, release, FILES):
        trades.append("# Cores are Slurm's own numbers (Core L# of lstopo -l), of whole sockets.\n")
    return "".join([text.header(release, "the GPUs of the nodes."), *trades, *found])


def files(kind: NodeType) -> tuple[tuple[str, ...], ...]:
    """The device files of each of kind.gpus: as given, else numbered through from /dev/nvidia0."""
    found, first = [], 0
    for gpus in kind.gpus:
        given = tuple(hostlist.expand(gpus.files)) if gpus.files else ()
        found.append(given or tuple(f"/dev/nvidia{first + one}" for one in range(gpus.count)))
        first += gpus.count
    return tuple(found)


def _devices(kind: NodeType) -> Iterator[tuple[tuple[str, object], ...]]:
    """Name, Type, File and Cores of GPUs of one type that sit at one socket."""
    sockets = capacity.sockets_of_gpus(kind)
    first = 0
    for gpus, paths in zip(kind.gpus, files(kind), strict=True):
        own = sockets[first : first + gpus.count] if sockets else ()
        first += gpus.count
        places: dict[int | None, list[str]] = {}
        for index, path in enumerate(paths):
            places.setdefault(own[index] if own else None, []).append(path)
        for socket, some in places.items():
            yield (
                ("Name", "gpu"),
                ("Type", gpus.type),
                ("File", hostlist.fold(some)),
                ("Cores", None if socket is None else _cores(kind, socket)),
            )


def _cores(kind: NodeType, socket: int) -> str:
    first = socket * kind.cores_per_socket
    last = first + kind.cores_per_socket - 1
    return f"{first}-{last}" if last > first else str(first)


def _shared(kind: NodeType) -> Iterator[tuple[tuple[str, object], ...]]:
    """Shards and MPS: by the files of their GPUs where the node has other GPUs, too."""
    shares = {"shard": [gpus.shard for gpus in kind.gpus]}
    shares["mps"] = [capacity.MPS_PER_GPU * gpus.mps for gpus in kind.gpus]
    for name, each in shares.items():
        for gpus, share, paths in zip(kind.gpus, each, files(kind), strict=True):
            if share:
                place = hostlist.fold(paths) if len(kind.gpus) > 1 else None
                yield ("Name", name), ("Count", share * gpus.count), ("File", place)
