"""What is checked on a candidate that has booted: nodes, their GRES, partitions, a job in each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hpctools.conf.candidate import Conf
from hpctools.conf.finding import Finding
from hpctools.conf.verify.database import ACCOUNT
from hpctools.conf.verify.nodes import Chosen
from hpctools.conf.verify.throwaway import Throwaway
from hpctools.conf.verify.value import Canary, NodeCheck, PartitionCheck
from hpctools.errors import CommandTimeout, HpctoolsError, ParseError
from hpctools.sandbox import processes
from hpctools.slurm import hostlist, scontrol, tres
from hpctools.slurm.scontrol import Node, Partition
from hpctools.slurm.tres import Gres

REGISTRATION_S = 90.0
CANARY_S = 60.0
# States in which a node takes no job although it is there (slurm.conf(5), sinfo(1)).
_SICK = frozenset("DOWN DRAIN DRAINED DRAINING FAIL FAILING INVAL INVALID_REG UNKNOWN NOT_RESPONDING".split())
# slurmd -G (gres.c: _print_gres_conf).
_GRES = re.compile(r"Gres Name=(\S+)(?: Type=(\S+))? Count=(\d+)")


def register(cluster: Throwaway, chosen: Sequence[Chosen]) -> Mapping[str, Node]:
    """The nodes as slurmctld has them, once each has registered or ended, or patience has."""
    found: dict[str, Node] = {}

    def settled() -> bool:
        found.update({node.name: node for node in _nodes(cluster, [one.name for one in chosen])})
        waiting = [one.name for one in chosen if one.name not in found or not _registered(found[one.name])]
        return all(cluster.ended(f"slurmd-{name}") is not None for name in waiting)

    processes.wait_until(settled, REGISTRATION_S)
    return found


def _nodes(cluster: Throwaway, names: Iterable[str]) -> tuple[Node, ...]:
    try:
        done = cluster.command(scontrol.node_command(hostlist.fold(sorted(names))), timeout_s=20)
        return scontrol.parse_nodes(done.stdout) if done.status == 0 else ()
    except HpctoolsError:
        return ()


def _registered(node: Node) -> bool:
    # slurmctld learns the release of slurmd with its registration, or refuses that with a reason.
    return bool(node.version or node.reason)


def node_checks(
    cluster: Throwaway, chosen: Sequence[Chosen], nodes: Mapping[str, Node]
) -> Iterator[tuple[NodeCheck, list[Finding]]]:
    """Each node that was started: did it come, is it well, has it the GRES that slurm.conf gives it."""
    for one in chosen:
        record, node = one.record, nodes.get(one.name)
        registered = node is not None and _registered(node)
        configured = record.value("Gres")
        found = _gres_found(cluster, one.name) if configured else []
        problems = list(_gres_problems(one, configured, found))
        gres_ok = not any(problem.severity == "error" for problem in problems)
        state = node.state if node else ("MISSING",)
        reason = node.reason if node else ""
        if not registered:
            ended = cluster.ended(f"slurmd-{one.name}")
            why = "its slurmd ended" if ended is not None else f"not within {REGISTRATION_S:.0f} s"
            problems.append(_problem(one, f"node {one.name} did not register: {why}"))
        elif _SICK & set(state):
            why = reason or "no reason is given"
            problems.append(_problem(one, f"node {one.name} is {'+'.join(state)}: {why}"))
        yield (
            NodeCheck(
                one.name,
                one.alike,
                record.path,
                record.line,
                registered,
                "+".join(state).lower(),
                reason,
                configured,
                ",".join(_gres_text(gres) for gres in found),
                gres_ok,
                registered and not _SICK & set(state),
            ),
            problems,
        )


def _problem(one: Chosen, message: str) -> Finding:
    hint = f"so are {one.alike - 1} nodes like it" if one.alike > 1 else ""
    return Finding(one.record.path, one.record.line, "error", "node", message, hint)


def _gres_found(cluster: Throwaway, name: str) -> list[Gres]:
    """What slurmd counts on a node, its shared lines put together."""
    try:
        done = cluster.command(["slurmd", "-N", name, "-G"], timeout_s=20)
    except HpctoolsError:
        return []
    counts: dict[tuple[str, str], int] = {}
    for gres, kind, count in _GRES.findall(done.stdout + done.stderr):
        kind = "" if kind == "(null)" else kind
        counts[gres, kind] = counts.get((gres, kind), 0) + int(count)
    return [Gres(gres, kind, count) for (gres, kind), count in counts.items()]


def _gres_problems(one: Chosen, configured: str, found: Sequence[Gres]) -> Iterator[Finding]:
    try:
        wanted = tres.parse_gres(configured)
    except ParseError:
        return
    pair = one.record.where("Gres")
    for gres in wanted:
        count = sum(each.count for each in found if each.name == gres.name and gres.type in ("", each.type))
        if count < gres.count:
            message = f"Gres={_gres_text(gres)}: {one.name} has {count} by gres.conf"
            hint = f"gres.conf gives it {','.join(map(_gres_text, found)) or 'nothing'}"
            yield Finding(pair.path, pair.line, "error", "gres", message, hint)
        elif count > gres.count:
            message = f"Gres={_gres_text(gres)}: {one.name} has {count} by gres.conf; Slurm ignores the rest"
            yield Finding(pair.path, pair.line, "warning", "gres", message, "")


def _gres_text(gres: Gres) -> str:
    return ":".join([gres.name, *([gres.type] if gres.type else []), str(gres.count)])


def partition_checks(slurm: Conf, partitions: Iterable[Partition]) -> Iterator[PartitionCheck]:
    """Each partition of the files, as slurmctld has it."""
    there = {partition.name: partition for partition in partitions}
    for record in slurm.partitions:
        partition = there.get(record.name)
        if partition is None:
            yield PartitionCheck(record.name, record.path, record.line, "MISSING", 0, False)
            continue
        wanted = record.value("State", "UP").upper()
        ok = partition.state == wanted or wanted not in ("UP", "DOWN", "DRAIN", "INACTIVE")
        yield PartitionCheck(record.name, record.path, record.line, partition.state, partition.nodes, ok)


def canaries(
    cluster: Throwaway, partitions: Sequence[Partition], well: Sequence[str], root: bool, accounting: bool
) -> list[Canary]:
    """A job in each partition that can run one on one of the nodes that are well."""

    def one(partition: Partition) -> Canary:
        members = set(_expanded(partition.node_list))
        node = next((name for name in well if name in members), "")
        why = _impossible(partition, node, root)
        if why:
            return Canary(partition.name, node, "not run", why)
        return _run(cluster, partition, node, accounting)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, partitions))


def _expanded(text: str) -> list[str]:
    try:
        return hostlist.expand(text)
    except ParseError:
        return []


def _impossible(partition: Partition, node: str, root: bool) -> str:
    other = partition.other
    if partition.state != "UP":
        return f"the partition is {partition.state}"
    if not partition.nodes:
        return "the partition has no nodes"
    if not node:
        return "none of its nodes was started and is well"
    if partition.min_nodes > 1:
        return f"a job needs {partition.min_nodes} nodes there"
    if partition.max_nodes == 0:
        return "MaxNodes=0"
    if other.get("ReqResv") == "YES":
        return "a job needs a reservation there"
    if other.get("RootOnly") == "YES" and not root:
        return "only root may use it"
    return ""


def _run(cluster: Throwaway, partition: Partition, node: str, accounting: bool) -> Canary:
    words = ["srun", "--mpi=none", "--job-name=canary", "-N1", "-n1", f"-p{partition.name}", f"-w{node}"]
    if accounting:
        words.append(f"--account={(*partition.allow_accounts, ACCOUNT)[0]}")
        if partition.allow_qos:
            words.append(f"--qos={partition.allow_qos[0]}")
    try:
        done = cluster.command([*words, "/bin/true"], timeout_s=CANARY_S)
    except CommandTimeout:
        why = f"it did not run within {CANARY_S:.0f} s{_waits(cluster, partition)}"
        return Canary(partition.name, node, "failed", why)
    if done.status == 0:
        return Canary(partition.name, node, "ran")
    said = [line.removeprefix("srun: ").removeprefix("error: ") for line in done.stderr.splitlines()]
    return Canary(partition.name, node, "failed", "; ".join(said[-2:]) or f"srun ended with {done.status}")


def _waits(cluster: Throwaway, partition: Partition) -> str:
    try:
        done = cluster.command(["squeue", "--noheader", f"--partition={partition.name}", "--format=%r"])
    except HpctoolsError:
        return ""
    reasons = [line.strip() for line in done.stdout.splitlines() if line.strip() not in ("", "None")]
    return f": it waits ({reasons[0]})" if reasons else ""
