"""What the records of a check's job mean: one verdict a question, over all nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpctools.jobs.containers import NONE, Containers
from hpctools.jobs.fabric import TCP, Fabric
from hpctools.site.node import Node

OK, WARNING, BAD, NOT_CHECKED = VERDICTS = ("ok", "warning", "bad", "not checked")
# The runtime's word for what it left out.
_WORDS: Mapping[str, str] = {"ok": OK, "warning": WARNING, "bad": BAD, "skipped": NOT_CHECKED}
_RANK = {OK: 0, NOT_CHECKED: 1, WARNING: 2, BAD: 3}
# So many different answers are told in one line.
_FEW = 8
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One question and its answer. partition: where it was asked, "" for what is of no partition."""

    name: str
    verdict: str
    found: str
    partition: str = ""

    @property
    def fails(self) -> bool:
        """Whether the site is not proved: something is bad, or no job could look."""
        return self.verdict == BAD or (self.name == "job" and self.verdict == NOT_CHECKED)


@dataclass(frozen=True)
class Answer:
    """What one node found."""

    host: str
    name: str
    verdict: str
    found: str


def worst(checks: Iterable[Check]) -> str:
    """The worst verdict of all; OK of none."""
    return max((one.verdict for one in checks), key=lambda one: _RANK[one], default=OK)


def of_nodes(records: Sequence[Record], left_out: Iterable[str] = ()) -> Iterator[Answer]:
    """The answers in the records of look and preflight: each has host and checks."""
    for one in records:
        for check in one["checks"]:
            if check["name"] not in left_out:
                found = str(check["found"])
                if check["verdict"] != "ok" and check.get("expected"):
                    found += f" (should be {check['expected']})"
                yield Answer(str(one["host"]), str(check["name"]), _WORDS[check["verdict"]], found)


def fabric(made: Fabric, nodes: Sequence[Node]) -> Iterator[Answer]:
    """Whether the nodes have the network that the site's file names."""
    for node in nodes:
        active = ", ".join(nic.name for nic in node.compute if nic.state == "ACTIVE")
        has = f"{node.kind} ({active or 'no link'})" if node.nics else "no adapter with RDMA"
        if made.kind == node.kind:
            yield Answer(node.name, "fabric", OK, has if node.nics else "tcp, and no adapter with RDMA")
        elif not made.kind:
            verdict = WARNING if active else NOT_CHECKED
            yield Answer(node.name, "fabric", verdict, f"the file names none; the node has {has}")
        elif made.kind == TCP:
            yield Answer(node.name, "fabric", WARNING, f"the file says tcp; the node has {has}")
        else:
            yield Answer(node.name, "fabric", BAD, f"the file says {made.kind}; the node has {has}")
        yield from _interfaces(made, node)


def containers(said: Containers, nodes: Sequence[Node]) -> Iterator[Answer]:
    """Whether the nodes can run the site's images."""
    if not said.images or said.runtime == NONE:
        return
    for node in nodes:
        found = node.programs.get(said.runtime)
        yield Answer(node.name, "containers", OK if found else BAD, found or f"{said.runtime} is not there")


def _interfaces(made: Fabric, node: Node) -> Iterator[Answer]:
    """Of NCCL_SOCKET_IFNAME: names, exact behind a =, that leave out behind a ^."""
    if not made.interfaces or made.interfaces.startswith("^"):
        return
    exact = made.interfaces.startswith("=")
    for name in made.interfaces.lstrip("=").split(","):
        found = [one for one in node.links if one == name or not exact and one.startswith(name)]
        said = ", ".join(found) or f"{name} is not there, or has no link"
        yield Answer(node.name, "interfaces", OK if found else BAD, said)


def gathered(answers: Iterable[Answer], partition: str) -> Iterator[Check]:
    """One check a name, of its worst verdict: what all nodes say once, what some say with their names."""
    by_name: dict[str, list[Answer]] = {}
    for one in answers:
        by_name.setdefault(one.name, []).append(one)
    for name, said in by_name.items():
        verdict = max((one.verdict for one in said), key=lambda one: _RANK[one])
        hosts = {one.host for one in said}
        groups: dict[str, set[str]] = {}
        for one in said:
            if verdict == OK or one.verdict != OK:
                groups.setdefault(one.found, set()).add(one.host)
        parts = [_of_hosts(group, hosts) + found for found, group in groups.items()]
        more = f"; and {len(parts) - _FEW} more" if len(parts) > _FEW else ""
        yield Check(name, verdict, "; ".join(parts[:_FEW]) + more, partition)


def _of_hosts(group: set[str], hosts: set[str]) -> str:
    return "" if group == hosts else f"{','.join(sorted(group))}: "
