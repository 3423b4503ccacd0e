"""An inventory from what a site has already: tables, Slurm's answers, Ansible's facts, cables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory import from_ansible, from_csv, from_ibnet, from_slurm, read
from hpctools.inventory.fold import Outlier, fold
from hpctools.inventory.found import Found
from hpctools.inventory.from_ibnet import Wiring
from hpctools.inventory.groups import groups_of
from hpctools.inventory.model import Group, Inventory, Switch
from hpctools.inventory.write import to_yaml
from hpctools.slurm import hostlist

FORMATS = ("csv", "scontrol", "slurmd", "ansible", "ibnetdiscover", "inventory")
# How each begins or what no other has, in the order in which it is asked.
_SIGNS: Mapping[str, re.Pattern[str]] = {
    "ansible": re.compile(r"\A\s*\{|^\S+ \| [A-Z!]+.*=> *\{", re.MULTILINE),
    "scontrol": re.compile(
        r"^NodeName=\S+\s.*?\b(CPUTot|CPUAlloc|NodeAddr|CfgTRES)=", re.MULTILINE | re.DOTALL
    ),
    "slurmd": re.compile(r"\bNodeName=\S+ .*RealMemory="),
    "ibnetdiscover": re.compile(r'^(Switch|Ca)\s+[0-9]+\s+"[SH]-', re.MULTILINE),
    "inventory": re.compile(r"^(cluster|node_types|nodes)\s*:", re.MULTILINE),
    "csv": re.compile(r"\A\ufeff?(\s*(#.*)?\n)*.*\bhost\b.*[,;\t]|\A.*[,;\t]\s*\"?host\b", re.IGNORECASE),
}
# In MiB 1 EiB.
_MOST = 2**40
# What separates names in lists of them.
_NO_NAME = re.compile(r"[\s,\[\]]")
_HOSTS: Mapping[str, Callable[[str, str], tuple[Found, ...]]] = {
    "scontrol": from_slurm.scontrol_nodes,
    "slurmd": from_slurm.slurmd_lines,
    "ansible": from_ansible.ansible_facts,
}


@dataclass(frozen=True)
class Source:
    """A file: its path, for messages, and what it holds."""

    path: str
    data: bytes


@dataclass(frozen=True)
class Imported:
    """An inventory, the hosts that are not as their equals, and what is to be known about the rest."""

    inventory: Inventory
    outliers: tuple[Outlier, ...] = ()
    remarks: tuple[str, ...] = ()


def imported(cluster: str, sources: Iterable[Source], format: str | None = None) -> Imported:
    """The inventory that sources hold together: hosts from all of them, switches from ibnetdiscover.

    format: one of FORMATS, else each source is told by what it holds. An inventory among them keeps its
    types, and is given switches. Raises InvalidInput with every mistake in every source.
    """
    hosts: list[Found] = []
    wirings: list[Wiring] = []
    given: list[Inventory] = []
    remarks: list[str] = []
    problems: list[Problem] = []
    for source in sources:
        # What is no UTF-8 can stand in names of other things only.
        text = source.data.decode("utf-8", "replace").replace("\r\n", "\n")
        try:
            kind = format or kind_of(text, source.path)
            if kind == "inventory":
                given.append(read.inventory(source.data, source.path))
            elif kind == "ibnetdiscover":
                wirings.append(from_ibnet.ibnetdiscover(text, source.path))
            elif kind == "csv":
                table = from_csv.csv_table(text, source.path)
                hosts += table.hosts
                if table.unused:
                    remarks.append(f"{source.path}: not used: the columns {', '.join(table.unused)}")
            else:
                hosts += _HOSTS[kind](text, source.path)
                remarks += [text for text in _WARNINGS.get(kind, ()) if text not in remarks]
        except InvalidInput as error:
            problems += error.problems
    if not problems:
        problems += _unfit(hosts, wirings, given)
    if problems:
        raise InvalidInput(problems)
    wiring = wirings[0] if wirings else None
    if given:
        made, outliers = given[0], tuple[Outlier, ...]()
    else:
        folded = fold(_completed(hosts, wiring))
        made, outliers = folded.inventory(cluster), folded.outliers
    if wiring:
        made = wired(made, wiring)
        remarks += wiring.remarks
        loose = [host for host in made.hosts if host not in wiring.leaves]
        if loose:
            remarks.append(f"at no switch: {hostlist.fold(loose)}")
    # Names that are none, and the like: whatever was imported can be read again.
    read.inventory(to_yaml(made).encode(), "what was imported")
    return Imported(made, outliers, tuple(remarks))


_WARNINGS: Mapping[str, Sequence[str]] = {
    "scontrol": ("memory, cores and GPUs are as slurm.conf has them: `slurmd -C` says what hosts have",),
    "ansible": ("Ansible's facts know no GPUs: add them, or use `hpctools inventory discover`",),
}


def kind_of(text: str, path: str) -> str:
    """Which of FORMATS a text is of. Raises InvalidInput."""
    for kind, sign in _SIGNS.items():
        if sign.search(text):
            return kind
    raise InvalidInput([Problem(path, "is of no known form", f"name it with --format: {', '.join(FORMATS)}")])


def wired(inventory: Inventory, wiring: Wiring) -> Inventory:
    """The inventory with the switches of wiring in the place of its own."""
    groups: list[Group] = []
    for name, type in inventory.types.items():
        hosts = []
        for group in inventory.groups:
            places = (group.blocks, group.racks, group.addresses)
            for index, host in enumerate(group.hosts if group.type == name else ()):
                block, rack, address = (some[index] if some else "" for some in places)
                one = Found(host, type.sockets, type.cores_per_socket, type.threads_per_core)
                hosts.append(
                    replace(
                        one,
                        features=group.features,
                        switch=wiring.leaves.get(host, ""),
                        block=block,
                        rack=rack,
                        address=address,
                    )
                )
        groups += groups_of(type, hosts)
    known = {switch for group in groups for switch in group.switches}
    switches = []
    # From below upwards: what has only other hosts below is left out.
    for switch in wiring.switches:
        children = tuple(name for name in switch.children if name in known)
        if children:
            switches.append(Switch(switch.name, children))
            known.add(switch.name)
    return Inventory(inventory.cluster, inventory.types, tuple(groups), tuple(switches))


def _unfit(
    hosts: Sequence[Found], wirings: Sequence[Wiring], given: Sequence[Inventory]
) -> Iterator[Problem]:
    """Why sources make no inventory together."""
    if wirings and not hosts and not given:
        hint = "name another file beside it, such as an inventory"
        yield Problem("import", "ibnetdiscover says how hosts are wired, and not what they are", hint)
    elif not hosts and not given:
        yield Problem("import", "no host was found")
    for name in dict.fromkeys(
        name for one in hosts for name in (one.host, one.switch, one.block, one.rack, one.address)
    ):
        if _NO_NAME.search(name) or len(name) > 255:
            yield Problem("import", f"{name[:60]!r} is no name of a host, a place or an address")
    for one in hosts:
        if any(isinstance(amount, int) and amount > _MOST for amount in vars(one).values()):
            yield Problem("import", f"{one.host[:60]}: no host has so much of anything as it says")
    if given and (hosts or len(given) > 1):
        yield Problem("import", "an inventory is given switches, and no more hosts")
    if len(wirings) > 1:
        yield Problem("import", f"{len(wirings)} answers of ibnetdiscover", "one of them, for one fabric")


def _completed(hosts: Sequence[Found], wiring: Wiring | None) -> list[Found]:
    """hosts with the adapters that are cabled, without addresses that several share."""
    times = Counter(one.address for one in hosts)
    fabrics = wiring.fabrics if wiring else {}
    return [
        replace(
            one,
            address=one.address if times[one.address] == 1 else "",
            fabric=one.fabric or fabrics.get(one.host),
        )
        for one in hosts
    ]
