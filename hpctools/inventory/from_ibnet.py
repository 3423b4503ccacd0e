"""How hosts are wired: what `ibnetdiscover` prints of an InfiniBand fabric, as Slurm's tree of switches.

Slurm's tree knows one switch for each host and one above each switch. Where hosts have adapters on several
(a rail each), and switches cables to several above, those stand together as one, leaf1-leaf8.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.found import in_order
from hpctools.inventory.model import Fabric, Switch

# Switch  41 "S-900a84030040b0a0"    # "MF0;leaf01:MQM8700/U1" enhanced port 0 lid 5 lmc 0
_NODE = re.compile(r'(Switch|Ca|Rt)\s+[0-9]+\s+"([SHR]-[0-9a-f]+)"\s*#\s*"([^"]*)"')
# [21]    "S-b8cef60300f1c2d4"[1]    # "MF0;spine01:MQM8700/U1" lid 3 4xHDR
_PORT = re.compile(r'\[[0-9]+\][^"]*"([SHR]-[0-9a-f]+)"\[[0-9]+\].*')
_RATE = re.compile(r"\b([0-9]{1,2})x(SDR|DDR|QDR|FDR10|FDR|EDR|HDR|NDR|XDR)\b")
# Gbit/s of one lane.
_LANE = {
    "SDR": 2.5,
    "DDR": 5,
    "QDR": 10,
    "FDR10": 10,
    "FDR": 14,
    "EDR": 25,
    "HDR": 50,
    "NDR": 100,
    "XDR": 200,
}
# MF0;leaf01:MQM8700/U1, and of a chassis MF0;dir01:CS7500/L01/U1: its name, and which part it is.
_MANAGED = re.compile(r"[^;]*;([^:;]+):[^/]*/(.*)")
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Wiring:
    """The switch of each host, the switches above, and the adapters of each host."""

    leaves: Mapping[str, str]
    switches: tuple[Switch, ...]
    fabrics: Mapping[str, Fabric]
    remarks: tuple[str, ...] = ()


@dataclass
class _Net:
    """What is cabled: names of switches by GUID, their neighbours; adapters by GUID: host and switches."""

    names: dict[str, str] = field(default_factory=dict)
    near: dict[str, set[str]] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
    ports: list[tuple[str, str, int]] = field(default_factory=list)


def ibnetdiscover(text: str, path: str) -> Wiring:
    """The wiring in an answer of ibnetdiscover. Raises InvalidInput."""
    net = _read(text)
    leaves_of: dict[str, set[str]] = {}
    rates: dict[str, list[int]] = {}
    for adapter, switch, rate in net.ports:
        host = net.hosts.get(adapter, "")
        if host and switch in net.names:
            leaves_of.setdefault(host, set()).add(switch)
            rates.setdefault(host, []).append(rate)
    if not leaves_of:
        problem = Problem(path, "holds no host at a switch", "what ibnetdiscover prints, run as root")
        raise InvalidInput([problem])
    units, remarks = _leaves(leaves_of, net.names)
    leaves = {host: name for name, (_, hosts) in units.items() for host in hosts}
    fabrics = {host: Fabric("infiniband", len(some), max(some) or None) for host, some in rates.items()}
    switches, apart = _tree({name: members for name, (members, _) in units.items()}, net)
    if apart:
        remarks.append(f"no cable joins {', '.join(apart)}")
    return Wiring(
        dict(sorted(leaves.items(), key=lambda pair: in_order(pair[0]))), switches, fabrics, tuple(remarks)
    )


def _read(text: str) -> _Net:
    net = _Net()
    said: dict[str, tuple[str, str]] = {}
    current = ""
    for line in text.split("\n"):
        if node := _NODE.match(line):
            kind, current, description = node.groups()
            if kind == "Switch":
                managed = _MANAGED.fullmatch(description)
                said[current] = (managed[1], managed[2]) if managed else ("", "")
                net.near.setdefault(current, set())
            elif kind == "Ca" and "Aggregation Node" not in description:
                # "gpu001 mlx5_0", "gpu001 HCA-1"; a Mellanox one without a name is nobody's.
                host = description.split(" ")[0].partition(".")[0]
                if " " in description and not description.startswith("Mellanox"):
                    net.hosts[current] = host
        elif current and (port := _PORT.match(line)):
            other = port[1]
            if current.startswith("S-") and other.startswith("S-"):
                net.near[current].add(other)
                net.near.setdefault(other, set()).add(current)
            elif current.startswith("S-") and other.startswith("H-"):
                net.ports.append((other, current, _rate(line)))
    for switch in net.near:
        said.setdefault(switch, ("", ""))
    times = Counter(name for name, _ in said.values())
    for switch, (name, part) in said.items():
        whole = name if times[name] == 1 else f"{name}-{part}"
        net.names[switch] = _NO_NAME.sub("-", whole).strip("-") if name else switch
    return net


def _rate(line: str) -> int:
    rate = _RATE.search(line)
    return round(int(rate[1]) * _LANE[rate[2]]) if rate else 0


def _leaves(
    leaves_of: Mapping[str, set[str]], names: Mapping[str, str]
) -> tuple[dict[str, tuple[set[str], list[str]]], list[str]]:
    """What stands as one switch: by name the GUIDs and the hosts; and what there is to say of some hosts.

    A host that has cables to a part of what many others have is with those: a link of it is down.
    """
    sets = Counter(frozenset(some) for some in leaves_of.values())
    units: dict[str, tuple[set[str], list[str]]] = {}
    remarks = []
    for host, some in leaves_of.items():
        larger = [other for other in sets if other > some and sets[other] > sets[frozenset(some)]]
        best = max(larger, key=lambda other: (sets[other], sorted(other)), default=frozenset(some))
        if best != some:
            missing = ", ".join(sorted(names[switch] for switch in best - some))
            remarks.append(f"{host} has no cable to {missing}, and others beside it have")
        units.setdefault(_together(best, names), (set(best), []))[1].append(host)
    return units, remarks


def _together(switches: Iterable[str], names: Mapping[str, str]) -> str:
    """The name of switches that stand as one: the first, and the last."""
    known = sorted((names[switch] for switch in switches), key=in_order)
    return known[0] if len(known) == 1 else f"{known[0]}-{known[-1]}"


def _tree(level: Mapping[str, set[str]], net: _Net) -> tuple[tuple[Switch, ...], tuple[str, ...]]:
    """The switches above those of level, upwards; and which are at the top, where there are several."""
    found: list[Switch] = []
    level = dict(sorted(level.items(), key=lambda pair: in_order(pair[0])))
    below = set().union(*level.values())
    while len(level) > 1:
        above = {name: set().union(*(net.near[one] for one in some)) - below for name, some in level.items()}
        parts = _joined(level, above, net)
        if len(parts) == len(level) and not any(above.values()):
            break
        upper: dict[str, set[str]] = {}
        for children in parts:
            members = set().union(*(above[name] for name in children))
            if len(children) == 1:
                # Nothing is joined here yet: perhaps further up.
                upper[children[0]] = members or level[children[0]]
                continue
            name = _together(members or level[children[0]], net.names)
            name = name if members and name not in level else f"above-{children[0]}"
            found.append(Switch(name, tuple(children)))
            upper[name] = members or set().union(*(level[child] for child in children))
        below |= set().union(*above.values())
        level = upper
    return tuple(found), tuple(level) if len(level) > 1 else ()


def _joined(
    level: Mapping[str, set[str]], above: Mapping[str, set[str]], net: _Net
) -> Sequence[Sequence[str]]:
    """level in parts that have a switch above in common, or a cable among them."""
    groups: list[tuple[set[str], list[str]]] = []
    for name, members in level.items():
        near = (
            above[name]
            | members
            | (set().union(*(net.near[one] for one in members)) & set().union(*level.values()))
        )
        joined = [group for group in groups if group[0] & near]
        groups = [group for group in groups if not group[0] & near]
        groups.append(
            (
                near.union(*(group[0] for group in joined)),
                [*(one for group in joined for one in group[1]), name],
            )
        )
    return [sorted(names, key=in_order) for _, names in groups]
