"""inventory.yaml: read and checked. Its form is in slurm_conf/schemas/inventory.schema.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hpctools.errors import InvalidInput
from hpctools.inventory.model import HOST_NAME, MIG_PROFILE, Fabric, Gpus, Group, Inventory, NodeType, Switch
from hpctools.inventory.reading import Reader, shown
from hpctools.slurm import hostlist, yaml_text
from hpctools.slurm.yaml_text import Value

FABRICS = ("infiniband", "roce", "efa", "slingshot", "ethernet")
# slurm.conf(5), ClusterName: up to 40 characters, and capitals are mapped to small letters.
_CLUSTER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_NO_HOSTS = ("all", "default", "localhost")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:-]*")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What --constraint gives a meaning to is left out: , & | * [ ] ( ) and blanks.
_FEATURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:=+@/-]*")
_RATE = re.compile(r"([1-9][0-9]{0,4})[Gg]?")
# A GPU that knows MIG has seven compute slices at most, and profiles round their memory.
_SLICES = 7
_ROUNDED = 1.05
# Slurm counts the CPUs of a node in 16 bits, of which the highest two values have a meaning of their own
# (slurm.h: INFINITE16, NO_VAL16); INFINITE, of 32 bits, is no weight (read_config.c).
_CPUS = 2**16 - 3
_WEIGHT = 2**32 - 2

TYPE_KEYS = (
    "boards sockets cores_per_socket threads_per_core memory tmp_disk numa_nodes gpus fabric features weight"
    " reserved"
).split()
GPU_KEYS = "type count memory model numa files mig shard mps".split()
GROUP_KEYS = "hosts type switch per_switch block per_block rack per_rack addresses features".split()


def inventory(data: bytes, path: str) -> Inventory:
    """The inventory in data; path is for messages. Raises InvalidInput with every mistake, by line."""
    reader = Reader()
    root = reader.root(yaml_text.parse(data, path))
    found = _inventory(root, reader) if root else None
    if reader.problems or found is None:
        raise InvalidInput(reader.in_order)
    return found


def _inventory(root: Value, reader: Reader) -> Inventory:
    keys = ("cluster", "node_types", "nodes", "switches")
    fields = reader.fields(root, "the inventory", keys, ("cluster", "node_types", "nodes"))
    cluster = reader.text(fields.get("cluster"), "cluster")
    if "cluster" in fields and not _CLUSTER.fullmatch(cluster):
        hint = "small letters, digits, - and _, up to 40"
        reader.say(fields["cluster"], f"cluster: {cluster} is no name of a cluster", hint)
    types = {
        name: _type(name, value, reader)
        for name, value in reader.entries(fields.get("node_types"), "node_types").items()
    }
    if "node_types" in fields and not types:
        reader.say(fields["node_types"], "node_types: there is none")
    values = reader.list_of(fields.get("nodes"), "nodes")
    if "nodes" in fields and not values:
        reader.say(fields["nodes"], "nodes: there are none")
    groups = tuple(_group(value, types, reader) for value in values)
    _told_once([group.hosts for group in groups], values, "", reader)
    _told_once([group.addresses for group in groups], values, "the address ", reader)
    switches = _switches(reader.list_of(fields.get("switches"), "switches"), groups, reader)
    known = tuple(group for group in groups if group.type in types)
    return Inventory(cluster, types, known, switches)


def _told_once(lists: Sequence[Sequence[str]], values: Sequence[Value], noun: str, reader: Reader) -> None:
    """Say which names stand twice; values: where each list stands."""
    met: dict[str, int] = {}
    for names, value in zip(lists, values, strict=True):
        again: dict[int, list[str]] = {}
        for name in names:
            if name in met:
                again.setdefault(met[name], []).append(name)
            met.setdefault(name, value.line)
        for line, repeated in again.items():
            reader.say(value, f"nodes: {noun}{hostlist.fold(repeated)} stands in line {line} already")


def _type(name: str, value: Value, reader: Reader) -> NodeType:
    what = f"node type {name}"
    if not _WORD.fullmatch(name):
        reader.say(value, f"{what}: no name for a type", "letters, digits, . - and _")
    needed = ("sockets", "cores_per_socket", "memory")
    fields = reader.fields(value, what, TYPE_KEYS, needed)

    def integer(key: str, default: int, low: int = 0, high: int = 65535) -> int:
        return reader.integer(fields.get(key), f"{what}: {key}", default, low, high)

    reserved = (
        reader.fields(fields["reserved"], f"{what}: reserved", ("cores", "memory"))
        if "reserved" in fields
        else {}
    )
    made = NodeType(
        name=name,
        boards=integer("boards", 1, 1),
        sockets=integer("sockets", 1, 1),
        cores_per_socket=integer("cores_per_socket", 1, 1),
        threads_per_core=integer("threads_per_core", 1, 1, 16),
        memory_mb=reader.memory_mb(fields.get("memory"), f"{what}: memory", 1, low=1),
        tmp_disk_mb=reader.memory_mb(fields.get("tmp_disk"), f"{what}: tmp_disk"),
        numa_nodes=integer("numa_nodes", 0),
        gpus=tuple(
            _gpus(item, f"{what}: gpus", reader)
            for item in reader.list_of(fields.get("gpus"), f"{what}: gpus")
        ),
        fabric=_fabric(fields["fabric"], what, reader) if "fabric" in fields else None,
        features=_words(fields.get("features"), f"{what}: features", reader),
        weight=integer("weight", 1, 0, _WEIGHT) if "weight" in fields else None,
        reserved_cores=reader.integer(reserved.get("cores"), f"{what}: reserved cores"),
        reserved_memory_mb=reader.memory_mb(reserved.get("memory"), f"{what}: reserved memory"),
    )
    if value.kind == "map" and not any(key not in fields for key in needed):
        _check_type(made, fields, reader)
    return made


def _check_type(made: NodeType, fields: Mapping[str, Value], reader: Reader) -> None:
    """What is wrong with values that are right one by one."""
    what = f"node type {made.name}"
    if made.cpus > _CPUS:
        reader.say(fields["cores_per_socket"], f"{what}: {made.cpus} hardware threads; Slurm knows {_CPUS}")
    if made.reserved_cores >= made.cores:
        reader.say(fields["reserved"], f"{what}: {made.reserved_cores} of {made.cores} cores are reserved")
    if made.reserved_memory_mb >= made.memory_mb > 1:
        reader.say(fields["reserved"], f"{what}: all of its memory is reserved")
    if made.numa_nodes and made.cores % made.numa_nodes:
        reader.say(
            fields["numa_nodes"],
            f"{what}: {made.cores} cores are not shared evenly by {made.numa_nodes} NUMA nodes",
            "those that have cores count",
        )
    numa_nodes = made.numa_nodes or made.sockets * made.boards
    values = reader.list_of(fields.get("gpus"), f"{what}: gpus")
    files: list[str] = []
    for gpus, value in zip(made.gpus, values, strict=True):
        if gpus.numa and max(gpus.numa) >= numa_nodes:
            reader.say(
                value,
                f"{what}: a GPU at NUMA node {max(gpus.numa)}, but there are {numa_nodes}, counted from 0",
                "" if made.numa_nodes else "say how many with numa_nodes",
            )
        own = hostlist.expand(gpus.files)
        files += own
        twice = sorted({file for file in own if files.count(file) > 1})
        if twice:
            reader.say(value, f"{what}: the device file {hostlist.fold(twice)} stands there twice")
    if (
        len(values) > 1
        and any(gpus.files for gpus in made.gpus)
        and not all(gpus.files for gpus in made.gpus)
    ):
        reader.say(
            fields["gpus"], f"{what}: device files for some of its GPUs only", "for all of them, or none"
        )
    names = [gres for gpus in made.gpus for gres, _ in gpus.gres]
    for gres in sorted({gres for gres in names if names.count(gres) > 1}):
        reader.say(fields["gpus"], f"{what}: GPUs of type {gres} stand there twice", "put them together")


def _gpus(value: Value, what: str, reader: Reader) -> Gpus:
    fields = reader.fields(value, what, GPU_KEYS, ("type", "count"))
    name = reader.text(fields.get("type"), f"{what}: type")
    if "type" in fields and not _WORD.fullmatch(name):
        reader.say(
            fields["type"], f"{what}: {name} is no type", "a part of the driver's name for it, such as h100"
        )
    count = reader.integer(fields.get("count"), f"{what}: count", 0, 1, 64)  # 0: a mistake that was told
    numa = tuple(
        reader.integer(item, f"{what}: numa", 0, 0, 1023) for item in reader.list_of(fields.get("numa"), what)
    )
    if numa and count and len(numa) != count:
        reader.say(fields["numa"], f"{what}: {len(numa)} NUMA nodes for {count} GPUs", "one for each GPU")
    files = reader.names(fields.get("files"), f"{what}: files")
    if files and count and len(files) != count:
        reader.say(fields["files"], f"{what}: {len(files)} device files for {count} GPUs", "/dev/nvidia[0-7]")
    if any(not file.startswith("/dev/") for file in files):
        reader.say(fields["files"], f"{what}: a device file lies below /dev")
    memory_mb = reader.memory_mb(fields.get("memory"), f"{what}: memory") or None
    shard = reader.integer(fields.get("shard"), f"{what}: shard", 0, 0, 1024)
    mig = _mig(fields["mig"], what, memory_mb, reader) if "mig" in fields else ()
    mps = reader.flag(fields.get("mps"), f"{what}: mps")
    if bool(mig) + bool(shard) + mps > 1:
        reader.say(value, f"{what}: a GPU is divided by one of mig, shard and mps")
    return Gpus(
        type=name,
        count=count,
        memory_mb=memory_mb,
        model=reader.text(fields.get("model"), f"{what}: model"),
        numa=numa,
        files=hostlist.fold(files),
        mig=mig,
        shard=shard,
        mps=mps,
    )


def _mig(value: Value, what: str, memory_mb: int | None, reader: Reader) -> tuple[tuple[str, int], ...]:
    """The MIG instances of each GPU: (profile, how many); memory_mb: of a GPU."""
    found = []
    slices = gigabytes = 0
    for profile, each in reader.entries(value, f"{what}: mig").items():
        count = reader.integer(each, f"{what}: mig {profile}", 1, 1, _SLICES)
        match = MIG_PROFILE.fullmatch(profile)
        if not match:
            reader.say(each, f"{what}: {shown(profile)} is no MIG profile", "such as 1g.10gb or 3g.40gb")
            continue
        found.append((profile, count))
        slices += int(match[1]) * count
        gigabytes += int(match[2]) * count
    if slices > _SLICES:
        reader.say(value, f"{what}: {slices} compute slices of MIG on a GPU that has {_SLICES}")
    if memory_mb and gigabytes * 1024 > memory_mb * _ROUNDED:
        reader.say(value, f"{what}: MIG instances of {gigabytes}G on a GPU that has {memory_mb // 1024}G")
    return tuple(found)


def _fabric(value: Value, what: str, reader: Reader) -> Fabric:
    fields = reader.fields(value, f"{what}: fabric", ("kind", "hcas", "rate"), ("kind",))
    text = reader.text(fields.get("rate"), f"{what}: fabric rate")
    rate = _RATE.fullmatch(text)
    if "rate" in fields and not rate:
        reader.say(fields["rate"], f"{what}: fabric rate: {shown(text)} is no number of Gbit/s", "400G")
    return Fabric(
        kind=reader.one_of(fields.get("kind"), f"{what}: fabric kind", FABRICS, "ethernet"),
        hcas=reader.integer(fields.get("hcas"), f"{what}: fabric hcas", 0, 0, 64),
        rate_gbps=int(rate[1]) if rate else None,
    )


def _group(value: Value, types: Mapping[str, NodeType], reader: Reader) -> Group:
    fields = reader.fields(value, "nodes", GROUP_KEYS, ("hosts", "type"))
    hosts = reader.names(fields.get("hosts"), "nodes: hosts")
    if "hosts" in fields and not hosts:
        reader.say(fields["hosts"], "nodes: hosts: there are none")
    wrong = [host for host in hosts if not HOST_NAME.fullmatch(host) or host.lower() in _NO_HOSTS]
    if wrong:
        hint = "the short name, as hostname -s prints"
        reader.say(fields["hosts"], f"nodes: hosts: {shown(wrong[0])} is no name of a host", hint)
    name = reader.text(fields.get("type"), "nodes: type")
    if "type" in fields and name not in types:
        hint = f"known are {', '.join(types)}" if types else ""
        reader.say(fields["type"], f"nodes: type: there is no node type {shown(name)}", hint)
    addresses = reader.names(fields.get("addresses"), "nodes: addresses")
    if addresses and len(addresses) != len(hosts):
        reader.say(fields["addresses"], f"nodes: {len(addresses)} addresses for {len(hosts)} hosts")
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            reader.say(fields["addresses"], f"nodes: addresses: {shown(address)} is none", "10.0.0.[1-64]")
            break
    return Group(
        hosts=hosts,
        type=name,
        switches=_shared(fields, "switch", hosts, reader),
        blocks=_shared(fields, "block", hosts, reader),
        racks=_shared(fields, "rack", hosts, reader),
        addresses=addresses,
        features=_words(fields.get("features"), "nodes: features", reader),
    )


def _shared(fields: Mapping[str, Value], key: str, hosts: tuple[str, ...], reader: Reader) -> tuple[str, ...]:
    """The switch (block, rack) of each host: the names in order, per_KEY hosts each, evenly without it."""
    if key not in fields:
        if f"per_{key}" in fields:
            reader.say(fields[f"per_{key}"], f"nodes: per_{key} without {key}")
        return ()
    names = reader.names(fields[key], f"nodes: {key}")
    wrong = [name for name in names if not _WORD.fullmatch(name)]
    if wrong:
        reader.say(fields[key], f"nodes: {key}: {shown(wrong[0])} is no name", "letters, digits, . - and _")
    if not names or not hosts:
        return ()
    per = -(-len(hosts) // len(names))
    if f"per_{key}" in fields:
        per = reader.integer(fields[f"per_{key}"], f"nodes: per_{key}", per, 1, 65535)
    elif len(hosts) % len(names):
        reader.say(
            fields[key], f"nodes: {len(hosts)} hosts do not share {len(names)} evenly", f"add per_{key}"
        )
        return ()
    if not per * (len(names) - 1) < len(hosts) <= per * len(names):
        reader.say(
            fields[key],
            f"nodes: {key}: {len(names)} with {per} hosts each, and there are {len(hosts)} hosts",
            f"{-(-len(hosts) // per)} of them",
        )
        return ()
    return tuple(names[index // per] for index in range(len(hosts)))


def _switches(values: tuple[Value, ...], groups: tuple[Group, ...], reader: Reader) -> tuple[Switch, ...]:
    leaves = {switch for group in groups for switch in group.switches}
    found: dict[str, Switch] = {}
    places: dict[str, Value] = {}
    for value in values:
        fields = reader.fields(value, "switches", ("name", "switches"), ("name", "switches"))
        name = reader.text(fields.get("name"), "switches: name")
        children = reader.names(fields.get("switches"), "switches: switches")
        if "name" in fields and not _WORD.fullmatch(name):
            reader.say(value, f"switches: {shown(name)} is no name", "letters, digits, . - and _")
        if name in leaves:
            reader.say(
                value, f"switches: hosts hang on {name}, so no switches do", "those above it stand here"
            )
        elif name in found:
            reader.say(value, f"switches: {name} stands in line {places[name].line} already")
        else:
            found[name], places[name] = Switch(name, children), value
        if "switches" in fields and not children:
            reader.say(value, f"switches: none hangs on {name}")
    parents: dict[str, str] = {}
    for switch in found.values():
        place = places[switch.name]
        for child in switch.children:
            if child not in leaves and child not in found:
                reader.say(place, f"switches: no {shown(child)} is known", "the groups of nodes name leaves")
            elif child in parents:
                reader.say(place, f"switches: {child} hangs on {parents[child]} and on {switch.name}")
            parents.setdefault(child, switch.name)
    for name in found:
        above, way = parents.get(name), {name}
        while above and above not in way:
            way.add(above)
            above = parents.get(above)
        if above == name:
            reader.say(places[name], f"switches: {name} is above itself")
    return tuple(found.values())


def _words(value: Value | None, what: str, reader: Reader) -> tuple[str, ...]:
    words = reader.texts(value, what)
    for word in words:
        if value and not _FEATURE.fullmatch(word):
            reader.say(value, f"{what}: {shown(word)} is no feature", "letters, digits and _ . : = + @ / -")
    return tuple(dict.fromkeys(words))
