"""Hosts as Slurm tells them: `scontrol show node`, and `slurmd -C` of many hosts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hpctools.errors import InvalidInput, ParseError, Problem
from hpctools.inventory import nvidia
from hpctools.inventory.found import Found
from hpctools.inventory.model import Gpus
from hpctools.slurm import scontrol, slurmd, units
from hpctools.slurm.tres import Gres

# gpu_nvml.c names a MIG instance by its GPU and its profile: a100_1g.5gb.
_MIG = re.compile(r"(.+)_(([1-9])g\.[1-9][0-9]{0,2}gb(?:[+-][a-z.]+)?)")
_SLICES = 7
# GPUs, or MIG instances of them: seven on each of sixteen are 112.
_MOST = 1024
_NEEDED = ("Sockets", "CoresPerSocket", "RealMemory")


def scontrol_nodes(text: str, path: str) -> tuple[Found, ...]:
    """The hosts of `scontrol show node`, with or without --oneliner. Raises InvalidInput.

    Memory, cores and GPUs are what slurm.conf says of them, not what the hosts have.
    """
    found: list[Found] = []
    problems = []
    for line, record in _records(text):
        try:
            for node in scontrol.parse_nodes(record):
                missing = [key for key in _NEEDED if key not in node.other]
                if missing:
                    problems.append(Problem(f"{path}:{line}", f"{node.name}: no {' and no '.join(missing)}"))
                else:
                    found.append(_configured(node))
        except ParseError as error:
            problems.append(Problem(f"{path}:{line}", f"not {error.what}: {error.text[:60]!r}"))
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def slurmd_lines(text: str, path: str) -> tuple[Found, ...]:
    """The hosts of lines of `slurmd -C`, also behind `gpu001: ` as clush and pdsh print them; others are
    passed over. Raises InvalidInput.
    """
    found = []
    problems = []
    for line, text_of_one in enumerate(text.split("\n"), 1):
        if "NodeName=" not in text_of_one:
            continue
        try:
            found += [_measured(one) for one in slurmd.parse(text_of_one)]
        except ParseError as error:
            problems.append(Problem(f"{path}:{line}", f"not {error.what}", "NodeName=... RealMemory=..."))
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def gpus_of(gres: Sequence[Gres]) -> tuple[Gpus, ...]:
    """GPUs by type from a node's GRES; type "gpu" where Slurm was told none.

    MIG instances are counted back to the fewest GPUs that can be divided so. shard and mps hold where
    there is one kind of GPU, or where they name it. Raises ParseError for more than any node has.
    """
    if any(one.count > _MOST for one in gres if one.name == "gpu"):
        raise ParseError("the GPUs of a node", ",".join(one.type for one in gres))
    whole: dict[str, int] = {}
    divided: dict[str, dict[str, int]] = {}
    for one in gres:
        if one.name == "gpu" and one.count:
            mig = _MIG.fullmatch(one.type)
            if mig:
                counts = divided.setdefault(mig[1], {})
                counts[mig[2]] = counts.get(mig[2], 0) + one.count
            else:
                whole[one.type or "gpu"] = whole.get(one.type or "gpu", 0) + one.count
    shard = {one.type or "": one.count for one in gres if one.name == "shard"}
    mps = {one.type or "" for one in gres if one.name == "mps" and one.count}
    found = []
    for type, count in whole.items():
        alone = "" if len(whole) == 1 else type
        shards = shard.get(type, shard.get(alone, 0))
        found.append(Gpus(type, count, shard=shards // count, mps=bool({type, alone} & mps) and not shards))
    return (*found, *(one for type, counts in divided.items() for one in _divided(type, counts)))


def _divided(type: str, counts: Mapping[str, int]) -> tuple[Gpus, ...]:
    """The fewest GPUs that MIG divides into these instances, all alike; else some GPUs for each profile."""
    for gpus in range(1, min(counts.values()) + 1):
        slices = sum(int(profile[0]) * count // gpus for profile, count in counts.items())
        if slices <= _SLICES and all(count % gpus == 0 for count in counts.values()):
            mig = tuple((profile, count // gpus) for profile, count in counts.items())
            return (Gpus(type, gpus, mig=mig),)
    return tuple(one for profile, count in counts.items() for one in _divided(type, {profile: count}))


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Each node's record as one line, and the line where it starts."""
    start, parts = 0, [""]
    for number, line in enumerate([*text.split("\n"), "NodeName="], 1):
        if line.startswith("NodeName="):
            if start:
                yield start, " ".join(parts)
            start, parts = number, [line.rstrip()]
        elif line[:1].isspace():
            parts.append(line.strip())


def _configured(node: scontrol.Node) -> Found:
    def number(key: str, default: int) -> int:
        return units.parse_count(node.other[key]) if key in node.other else default

    boards = max(1, number("Boards", 1))
    features = node.other.get("AvailableFeatures", "")
    weight = number("Weight", 1)
    return Found(
        host=node.name,
        # Of the whole node, as it is printed.
        sockets=max(1, number("Sockets", 1) // boards),
        cores_per_socket=max(1, number("CoresPerSocket", 1)),
        threads_per_core=max(1, number("ThreadsPerCore", 1)),
        boards=boards,
        memory_mb=node.memory_mb,
        tmp_disk_mb=number("TmpDisk", 0),
        gpus=gpus_of(node.gres),
        features=tuple(filter(None, features.split(","))) if features != "(null)" else (),
        address="" if node.address in (node.name, node.hostname) else node.address,
        weight=None if weight == 1 else weight,
        reserved_cores=number("CoreSpecCount", 0),
        reserved_memory_mb=number("MemSpecLimit", 0),
    )


def _measured(node: slurmd.Hardware) -> Found:
    # AutoDetect's own names are long (nvidia_h100_80gb_hbm3); a part of one is a type.
    types: Counter[tuple[str, str]] = Counter()
    for one in node.gres:
        if one.name == "gpu":
            types[nvidia.slurm_type(one.type) or "gpu", one.type] += one.count
    return Found(
        host=node.host,
        sockets=node.sockets_per_board,
        cores_per_socket=node.cores_per_socket,
        threads_per_core=node.threads_per_core,
        boards=node.boards,
        memory_mb=node.memory_mb,
        gpus=tuple(Gpus(type, count, model=name) for (type, name), count in types.items()),
    )
