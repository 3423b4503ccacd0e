"""NodeName lines: lists, states and addresses that slurmctld stops at (node_conf.c, read_config.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hpctools.conf.candidate import Candidate, Conf, Record
from hpctools.conf.finding import Problem
from hpctools.conf.host_lists import HINT, count, why_refused
from hpctools.conf.rules import rule
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

_LISTS = ("NodeAddr", "NodeHostname", "BcastAddr", "Port")
# Not allowed in a NodeName=DEFAULT line: each is a node's own.
_OWN = ("NodeHostname", "BcastAddr", "NodeAddr")
# state_str2int: whole words, and beginnings of words; those of later releases with the first of them.
_STATES = frozenset({"UNKNOWN", "DOWN", "IDLE", "ALLOCATED", "MIXED", "FUTURE"})
_STATE_STARTS = {"CLOUD": "22.05", "DRAIN": "22.05", "FAIL": "22.05", "EXTERNAL": "25.05"}
# Before, a slurmctld for several slurmd a host (Debian's) did not look at them.
_HOSTNAMES_COUNTED_SINCE = "24.11"
_NODESETS_APART_SINCE = "24.11"
# MAX_SLURM_NODES is the highest index, since then; and a full table ends slurmctld.
_MOST_NODES = 64 * 1024 + 1
_MOST_NODES_SINCE = "24.11"
# Between, the nodes beyond MaxNodeCount were left out; before, slurmctld crashed.
_TABLE_FULL_IS_IGNORED = ("23.11", "24.05")


@rule("reserved-node-name", "fatal")
def reserved_node_name(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for line in slurm.all("NodeName") if slurm else ():
        name = line.pairs[0].value
        if name.upper() == "ALL":
            yield Problem(line, f"NodeName={name}: {name} stands for all nodes and is no name", "rename it")
        elif not name:
            yield Problem(line, "NodeName is empty", "name the nodes, or remove the line")
        elif name.upper() == "DEFAULT":
            for key in _OWN:
                if pair := line.get(key):
                    yield Problem(
                        pair, f"{pair.key} in a NodeName=DEFAULT line", "give it in each node's own line"
                    )


@rule("node-list", "fatal")
def node_list(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for record in slurm.nodes if slurm else ():
        pairs = (record.at.pairs[0], *(pair for key in _LISTS if (pair := record.get(key))))
        for pair in pairs:
            why = why_refused(pair.value, candidate.release) if "[" in pair.value else ""
            # Slurm puts ports in brackets itself.
            if why and not (pair.key.lower() == "port" and pair.value[0] != "["):
                yield Problem(pair, f"{pair.key}={pair.value[:80]} is no list of hosts: {why}", HINT)


@rule("duplicate-node", "fatal")
def duplicate_node(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    first = slurm.node_of
    for record in slurm.nodes:
        names = record.names
        twice = [name for name in names if first[name] is not record]
        if len(set(names)) < len(names):
            twice += [name for name, next_name in pairwise(sorted(names)) if name == next_name]
        if twice:
            other = first[twice[0]]
            place = "in this line" if other is record else f"in {other.path}:{other.line}"
            yield Problem(record, f"{some(twice)} already stands {place}", "define each node once")


@rule("node-state", "fatal")
def node_state(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    fine: set[str] = set()
    for record in slurm.nodes if slurm else ():
        pair = record.get("State")
        if pair is None or pair.value in fine:
            continue
        if is_state(pair.value, candidate.release):
            fine.add(pair.value)
        else:
            starts = (start for start in _STATE_STARTS if pair.value.upper().startswith(start))
            since = next((f" before {_STATE_STARTS[start]}" for start in starts), "")
            message = f"a node cannot begin in the state {pair.value or '(empty)'}{since}"
            yield Problem(pair, message, "UNKNOWN for all nodes but FUTURE, CLOUD, DOWN or DRAIN ones")


def is_state(text: str, release: str) -> bool:
    """Whether State= of a NodeName or DownNodes line may be text."""
    word = text.upper()
    return word in _STATES or any(
        word.startswith(start) and at_least(release, since) for start, since in _STATE_STARTS.items()
    )


@rule("node-address-count", "fatal")
def node_address_count(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for record in slurm.nodes if slurm else ():
        for key in ("NodeAddr", "BcastAddr", "NodeHostname"):
            pair = record.get(key)
            if pair is None or not ("[" in pair.value or "," in pair.value):
                continue
            # Without a NodeAddr the hostnames are the addresses.
            if (
                key == "NodeHostname"
                and record.get("NodeAddr")
                and not at_least(candidate.release, _HOSTNAMES_COUNTED_SINCE)
            ):
                continue
            given = count(pair.value)
            if given not in (None, 1, len(record.names)) and record.names:
                message = f"{given} of {pair.key} for {len(record.names)} nodes"
                yield Problem(pair, message, "give as many as there are names, or one")


@rule("node-port", "fatal")
def node_port(candidate: Candidate) -> Iterator[Problem]:
    for pair, record in _once(candidate.slurm, "Port"):
        ports = _ports(pair.value)
        wrong = next((port for port in ports if not _is_port(port)), None)
        if wrong is not None:
            yield Problem(pair, f"{wrong} is no port", "ports are 1 to 65535")
        elif ports and record.names and len(ports) not in (1, len(record.names)):
            message = f"{len(ports)} ports for {len(record.names)} nodes"
            yield Problem(pair, message, "give as many as there are names, or one")


@rule("nodeset-overlap", "fatal")
def nodeset_overlap(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for line in slurm.all("NodeSet") if slurm else ():
        node = slurm.node_of.get(line.pairs[0].value) if slurm else None
        if node:
            message = f"NodeSet={line.pairs[0].value} has the name of a node ({node.path}:{node.line})"
            refused = at_least(candidate.release, _NODESETS_APART_SINCE)
            if not refused:
                message += f"; refused since {_NODESETS_APART_SINCE}"
            yield Problem(line, message, "rename it", severity=None if refused else "warning")


@rule("too-many-nodes", "fatal")
def too_many_nodes(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    nodes = sum(len(record.names) for record in slurm.nodes)
    if nodes > _MOST_NODES and at_least(candidate.release, _MOST_NODES_SINCE):
        yield Problem(
            slurm.nodes[-1], f"{nodes:,} nodes: slurmctld takes {_MOST_NODES:,}", "split the cluster"
        )
    most = slurm.get("MaxNodeCount")
    limit = slurm.number("MaxNodeCount", nodes)
    # In 22.05 0 was the same as not set.
    if most and limit is not None and nodes > limit and (limit or candidate.release != "22.05"):
        ignored = candidate.release in _TABLE_FULL_IS_IGNORED
        effect = "those beyond are left out" if ignored else "slurmctld does not start"
        message = f"MaxNodeCount={most.value}, but there are {nodes:,} nodes: {effect}"
        yield Problem(most, message, f"at least {nodes}", severity="error" if ignored else None)


@rule("unknown-node", "error")
def unknown_node(candidate: Candidate) -> Iterator[Problem]:
    """DownNodes and SuspendExcNodes: slurmctld logs an error for each name that it does not know."""
    slurm = candidate.slurm
    if not slurm or not names_are_known(slurm):
        return
    for line in slurm.all("DownNodes"):
        pair = line.pairs[0]
        if missing := unknown(slurm, pair.value):
            yield Problem(pair, f"DownNodes: there is no node {some(missing)}", "correct the name")
        state = line.get("State")
        if state and not is_state(state.value, candidate.release):
            yield Problem(state, f"{state.value} is no state of a node: the line does nothing", "DOWN")
    excluded = slurm.get("SuspendExcNodes")
    if excluded:
        sets = {line.pairs[0].value for line in slurm.all("NodeSet")}
        # n[1-20]:4 keeps four of them up.
        nodes = re.sub(r":[0-9]+(?=,|\Z)", "", excluded.value)
        if missing := [name for name in unknown(slurm, nodes) if name not in sets]:
            yield Problem(excluded, f"SuspendExcNodes: there is no node {some(missing)}", "correct the name")


def names_are_known(slurm: Conf) -> bool:
    """Whether a name can be said to be no node's.

    Not so where some of the configuration is not here, or where localhost is the only node: then it has
    every name (_find_node_record in node_conf.c).
    """
    nodes = slurm.nodes
    if slurm.partial or (len(nodes) == 1 and nodes[0].names == ("localhost",)):
        return False
    return all(record.names for record in nodes)


def unknown(slurm: Conf, text: str) -> list[str]:
    """The names in a list that no node has; [] where the list cannot be read."""
    try:
        return [name for name in hostlist.expand(text) if name not in slurm.node_of]
    except ParseError:
        return []


def _once(slurm: Conf | None, key: str) -> list[tuple[Pair, Record]]:
    """Each pair of key in the nodes' lines with a record that has it; one of a DEFAULT line once."""
    found: dict[int, tuple[Pair, Record]] = {}
    for record in slurm.nodes if slurm else ():
        if pair := record.get(key):
            found.setdefault(id(pair), (pair, record))
    return list(found.values())


def _is_port(text: str) -> bool:
    """atoi, and then 1 to 65535: what follows the number is not looked at."""
    number = re.match(r"\s*\+?([0-9]{1,9})", text, re.ASCII)
    return number is not None and 0 < int(number[1]) <= 0xFFFF


def _ports(text: str) -> list[str]:
    """The ports of Port=, a list of hosts to Slurm; [] where it cannot be read."""
    bare = text and text[0] != "[" and ("-" in text or "," in text)
    try:
        return hostlist.expand(f"[{text}]" if bare else text)
    except ParseError:
        return []


def some(names: Sequence[str]) -> str:
    """The first names of many."""
    return ", ".join(names[:3]) + (f" (and {len(names) - 3:,} more)" if len(names) > 3 else "")
