"""An inventory as the text of inventory.yaml: hosts in their short form, stable, and read again the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from hpctools.inventory.groups import share
from hpctools.inventory.model import Fabric, Gpus, Group, Inventory, NodeType
from hpctools.slurm import hostlist
from hpctools.slurm.units import format_memory

# What YAML takes for text as it stands, wherever it stands; a MIG profile and an amount of memory, too.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*|[1-9]g\.[0-9]+gb([+-][a-z.]+)?|[0-9]+[MGTP]")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def to_yaml(inventory: Inventory, remarks: Iterable[str] = ()) -> str:
    """The text of inventory; remarks become comments at its top. The same inventory is the same text."""
    return "".join(f"{line}\n" for line in _lines(inventory, remarks))


def _lines(inventory: Inventory, remarks: Iterable[str]) -> Iterator[str]:
    for remark in remarks:
        yield from (f"# {_printable(line)}".rstrip() for line in remark.splitlines())
    yield f"cluster: {_scalar(inventory.cluster)}"
    yield "node_types:"
    for name, type in inventory.types.items():
        yield f"  {_scalar(name)}:"
        yield from (f"    {line}" for line in _type(type))
    yield "nodes:"
    yield from (f"  - {_mapping(_group(group))}" for group in inventory.groups)
    if inventory.switches:
        yield "switches:"
        for switch in inventory.switches:
            children = _scalar(hostlist.fold(switch.children))
            yield f"  - {_mapping([('name', _scalar(switch.name)), ('switches', children)])}"


def _type(type: NodeType) -> Iterator[str]:
    if type.boards != 1:
        yield f"boards: {type.boards}"
    yield f"sockets: {type.sockets}"
    yield f"cores_per_socket: {type.cores_per_socket}"
    if type.threads_per_core != 1:
        yield f"threads_per_core: {type.threads_per_core}"
    yield f"memory: {format_memory(type.memory_mb)}"
    if type.tmp_disk_mb:
        yield f"tmp_disk: {format_memory(type.tmp_disk_mb)}"
    if type.numa_nodes:
        yield f"numa_nodes: {type.numa_nodes}"
    if type.gpus:
        yield "gpus:"
        yield from (f"  - {_mapping(_gpus(gpus))}" for gpus in type.gpus)
    if type.fabric:
        yield f"fabric: {_mapping(_fabric(type.fabric))}"
    if type.features:
        yield f"features: {_list(type.features)}"
    if type.weight is not None:
        yield f"weight: {type.weight}"
    reserved = []
    if type.reserved_cores:
        reserved.append(("cores", str(type.reserved_cores)))
    if type.reserved_memory_mb:
        reserved.append(("memory", format_memory(type.reserved_memory_mb)))
    if reserved:
        yield f"reserved: {_mapping(reserved)}"


def _gpus(gpus: Gpus) -> Iterator[tuple[str, str]]:
    yield "type", _scalar(gpus.type)
    yield "count", str(gpus.count)
    if gpus.memory_mb:
        yield "memory", format_memory(gpus.memory_mb)
    if gpus.model:
        yield "model", _scalar(gpus.model)
    if gpus.numa:
        yield "numa", f"[{', '.join(map(str, gpus.numa))}]"
    if gpus.files:
        yield "files", _scalar(gpus.files)
    if gpus.mig:
        yield "mig", _mapping([(_scalar(profile), str(each)) for profile, each in gpus.mig])
    if gpus.shard:
        yield "shard", str(gpus.shard)
    if gpus.mps:
        yield "mps", "true"


def _fabric(fabric: Fabric) -> Iterator[tuple[str, str]]:
    yield "kind", fabric.kind
    if fabric.hcas:
        yield "hcas", str(fabric.hcas)
    if fabric.rate_gbps:
        yield "rate", f"{fabric.rate_gbps}G"


def _group(group: Group) -> Iterator[tuple[str, str]]:
    yield "hosts", _scalar(hostlist.fold(group.hosts))
    yield "type", _scalar(group.type)
    places = (("switch", group.switches), ("block", group.blocks), ("rack", group.racks))
    for key, names in places:
        if names:
            yield from _places(key, names)
    if group.addresses:
        yield "addresses", _scalar(hostlist.fold(group.addresses))
    if group.features:
        yield "features", _list(group.features)


def _places(key: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The switch (block, rack) of each host: names in turn; one by one where they are in no such order."""
    shared = share(names)
    some, each = shared if shared else (names, 1)
    yield key, _scalar(hostlist.fold(some))
    if len(some) > 1:
        yield f"per_{key}", str(each)


def _mapping(pairs: Iterable[tuple[str, str]]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_scalar, words))}]"


def _scalar(text: str) -> str:
    """text as YAML, in quotes where it would be taken for something else without."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    """text with YAML's escapes for what cannot be seen."""
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
