"""The reports of many nodes become one inventory, and what is odd about some of them is told.

`fold` finds the hosts that lack hardware. What is no hardware of the inventory, but must be alike for jobs
to run well, is compared here among the hosts of a type: driver, links, NVLink, ECC, huge pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools.errors import InvalidInput, ParseError, Problem
from hpctools.inventory import nodes, report
from hpctools.inventory.fold import Outlier, fold
from hpctools.inventory.found import Found, in_order
from hpctools.inventory.model import Inventory
from hpctools.inventory.report import Report
from hpctools.slurm import hostlist
from hpctools.slurm.units import format_memory

# Networks whose adapters read memory by themselves, which must be locked for them.
RDMA = ("infiniband", "roce", "efa", "slingshot")


@dataclass(frozen=True)
class Remark:
    """Something wrong with one host that does not depend on others."""

    host: str
    text: str


@dataclass(frozen=True)
class Merged:
    """An inventory, the hosts that are not as their equals, and what is wrong with some by themselves."""

    inventory: Inventory
    outliers: tuple[Outlier, ...]
    remarks: tuple[Remark, ...]

    def said(self) -> list[str]:
        """One line for each thing, with all the hosts that have it."""
        hosts: dict[str, list[str]] = {}
        for outlier in self.outliers:
            hosts.setdefault(str(outlier).removeprefix(f"{outlier.host}: "), []).append(outlier.host)
        for remark in self.remarks:
            hosts.setdefault(remark.text, []).append(remark.host)
        return [f"{hostlist.fold(sorted(names, key=in_order))}: {text}" for text, names in hosts.items()]


def read(folder: Path) -> tuple[Report, ...]:
    """The reports in the files of folder, those with a dot in front left out.

    Raises InvalidInput, with every file that is none and every host that is there twice.
    """
    problems: list[Problem] = []
    found: dict[str, tuple[Report, Path]] = {}
    if not folder.is_dir():
        raise InvalidInput([Problem(str(folder), "is no folder", "the reports of discover, a file for each")])
    for path in sorted(folder.iterdir(), key=lambda path: in_order(path.name)):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            one = report.parse(_text(path))
        except ParseError as error:
            problems.append(Problem(str(path), str(error)))
            continue
        if one.host in found:
            problems.append(Problem(str(path), f"is of {one.host}, and so is {found[one.host][1]}"))
        found[one.host] = (one, path)
    if not found and not problems:
        problems.append(Problem(str(folder), "is empty", "the reports of discover, a file for each"))
    if problems:
        raise InvalidInput(problems)
    return tuple(one for one, _ in found.values())


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(report.MAX_SIZE + 1)
    except OSError as error:
        raise ParseError("readable", error.strerror or "") from error
    if len(data) > report.MAX_SIZE:
        raise ParseError("a report: it is too large", "")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ParseError("UTF-8", "") from error


def merge(cluster: str, reports: Iterable[Report]) -> Merged:
    """The inventory of all reports, and what is odd. Raises InvalidInput for a host that is there twice."""
    told = sorted(reports, key=lambda one: in_order(one.host))
    folded = fold(_with_blocks(told))
    inventory = folded.inventory(cluster)
    by_type: dict[str, list[Report]] = {}
    for one in told:
        by_type.setdefault(inventory.hosts[one.host].name, []).append(one)
    unequal = [outlier for some in by_type.values() for outlier in _unequal(some)]
    remarks = [remark for one in told for remark in _remarks(one)]
    return Merged(inventory, (*folded.outliers, *unequal), tuple(remarks))


def _with_blocks(reports: Sequence[Report]) -> Iterator[Found]:
    """The hosts, each with the name of its NVLink domain as its block."""
    domains = {nodes.domain(one) for one in reports} - {None}
    short = Counter(f"nvl-{cluster[:8]}-{clique}" for cluster, clique in filter(None, domains))
    for one in reports:
        found, domain = nodes.found(one), nodes.domain(one)
        if domain:
            name = f"nvl-{domain[0][:8]}-{domain[1]}"
            found = replace(found, block=name if short[name] == 1 else f"nvl-{domain[0]}-{domain[1]}")
        yield found


def _unequal(reports: Sequence[Report]) -> Iterator[Outlier]:
    """What differs among hosts of one type from what most have."""
    facts = {one.host: _facts(one) for one in reports}
    for what in dict.fromkeys(what for known in facts.values() for what in known):
        values = {host: known.get(what, "none") for host, known in facts.items()}
        usual = Counter(values.values()).most_common(1)[0][0]
        for host, value in values.items():
            if value != usual:
                yield Outlier(host, what, usual, value)


def _facts(one: Report) -> Mapping[str, str]:
    """What must be alike, in words."""
    known = {"driver": one.driver} if one.driver else {}
    if one.gpus:
        known["ECC"] = _each("on" if gpu.ecc else "off" for gpu in one.gpus if gpu.ecc is not None)
        known["links between GPUs"] = " and ".join(
            f"{count} x {kind}" for kind, count in sorted(one.gpu_links.items())
        )
    for nic in one.nics:
        known[f"link of {nic.name}"] = f"{nic.rate_gbps or '?'}G {nic.state}"
    for interface in one.interfaces:
        speed = f"{interface.speed_mbps}M " if interface.speed_mbps else ""
        known[f"link of {interface.name}"] = f"{speed}{interface.state}"
    for size, count in one.hugepages.items():
        known[f"huge pages of {size}K"] = str(count)
    return known


def _each(words: Iterable[str]) -> str:
    counts = Counter(words)
    if len(counts) == 1:
        return next(iter(counts))
    return " and ".join(f"{word} on {count}" for word, count in counts.items()) or "unknown"


def _remarks(one: Report) -> Iterator[Remark]:
    for problem in (*one.problems, *nodes.problems(one)):
        yield Remark(one.host, problem)
    if len(one.gpus) < one.gpus_on_bus:
        yield Remark(one.host, f"the driver has {len(one.gpus)} of {one.gpus_on_bus} GPUs on the PCI bus")
    if one.memlock_kb is not None and any(nic.kind in RDMA for nic in one.nics):
        limit = format_memory(one.memlock_kb // 1024) if one.memlock_kb >= 1024 else f"{one.memlock_kb}K"
        whose = "slurmd" if one.memlock_of == "slurmd" else "a process"
        yield Remark(one.host, f"{whose} may lock {limit} of memory, and RDMA needs it unlimited")
