"""PartitionName lines: names, nodes and values that slurmctld stops at, and those that it ignores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hpctools.conf.candidate import Candidate, Conf, Record
from hpctools.conf.finding import Problem
from hpctools.conf.host_lists import HINT, has_stray_bracket, why_refused
from hpctools.conf.rules import rule
from hpctools.conf.rules.nodes import names_are_known, some, unknown
from hpctools.conf.rules.numbers import is_too_long
from hpctools.conf.rules.preemption import mode_problem
from hpctools.conf.rules.times import is_time
from hpctools.slurm.conf_text import Line, Pair
from hpctools.slurm.releases import at_least

# _parse_partitionname: State, SelectTypeParameters and Exclusive by their beginnings or whole words.
_STATES = ("DOWN", "UP", "DRAIN", "INACTIVE")
_SELECT = ("CR_CORE", "CR_SOCKET")
_EXCLUSIVE = ("NO", "NONE", "NODE", "USER", "TOPO")
_SHARED = re.compile(r"no|exclusive|yes|force|(?:yes|force):.*", re.IGNORECASE | re.DOTALL)
# hostlist_push there does not look whether the list of a NodeSet could be read.
_UNREAD_SET_CRASHES = ("23.11", "24.05", "24.11", "25.05")
_HIGHEST = 2**32 - 1
# Since then an unknown QOS ends slurmctld; before, it was ignored.
_QOS_CHECKED_SINCE = "25.11"
# Since then a mistake in it is said to be GANG and ignored (NO_VAL16 has that bit).
_MODE_IGNORED_SINCE = "24.11"


@rule("duplicate-partition", "fatal")
def duplicate_partition(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    first: dict[str, Record] = {}
    for record in slurm.partitions if slurm else ():
        before = first.setdefault(record.name, record)
        if before is not record:
            message = f"partition {record.name} already stands in {before.path}:{before.line}"
            yield Problem(record, message, "put the two lines together")


@rule("partition-nodes", "fatal")
def partition_nodes(candidate: Candidate) -> Iterator[Problem]:
    """build_part_bitmap: every name must be a node's, or a NodeSet's; ALL only by itself."""
    slurm = candidate.slurm
    if not slurm:
        return
    sets = _node_sets(slurm)
    checked: set[tuple[str, int]] = set()
    for record in slurm.partitions:
        pair = record.get("Nodes")
        if pair is None or (pair.path, pair.start) in checked:
            continue
        checked.add((pair.path, pair.start))
        yield from _wrong_nodes(slurm, pair, sets, candidate.release)


@rule("partition-value", "fatal")
def partition_value(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    checked: set[tuple[str, int]] = set()
    for record in slurm.partitions if slurm else ():
        for pair in record.pairs.values():
            # Slurm does not look at these in a DEFAULT line.
            own = pair.key.lower() not in ("selecttypeparameters", "suspendtime") or pair in record.at.pairs
            if own and (pair.path, pair.start) not in checked:
                checked.add((pair.path, pair.start))
                if hint := _wrong_value(pair, candidate.release):
                    yield Problem(pair, f"{pair.key}={pair.value} is refused", hint)


@rule("partition-qos", "fatal")
def partition_qos(candidate: Candidate) -> Iterator[Problem]:
    """Without slurmdbd there is no QOS; with it, only the database knows."""
    slurm = candidate.slurm
    if not slurm or slurm.partial or slurm.uses_slurmdbd:
        return
    refused = at_least(candidate.release, _QOS_CHECKED_SINCE)
    checked: set[tuple[str, int]] = set()
    for record in slurm.partitions:
        for key in ("QOS", "AllowQos", "DenyQos"):
            pair = record.get(key)
            if pair is None or (pair.path, pair.start) in checked:
                continue
            checked.add((pair.path, pair.start))
            if pair.value and (key == "QOS" or pair.value.upper() != "ALL"):
                effect = "slurmctld stops" if refused else f"ignored, and refused since {_QOS_CHECKED_SINCE}"
                message = f"{pair.key}={pair.value}, but without slurmdbd there is no QOS: {effect}"
                hint = f"AccountingStorageType=accounting_storage/slurmdbd, or remove {pair.key}"
                yield Problem(pair, message, hint, severity=None if refused else "error")


@rule("partition-value-ignored", "error")
def partition_value_ignored(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for record in slurm.partitions if slurm else ():
        for key, other in _EXCLUDES.items():
            pair = record.get(key)
            if pair and record.get(other):
                yield Problem(pair, f"{pair.key} stands beside {other} and is ignored", "keep one of them")
        for key in ("OverSubscribe", "Shared"):
            pair = record.get(key)
            number = re.fullmatch(r"(yes|force):\s*\+?([0-9]*).*", pair.value, re.I | re.S) if pair else None
            if pair and number and int(number[2][:9] or 0) < (2 if number[1].lower() == "yes" else 1):
                yield Problem(pair, f"{pair.key}={pair.value} is taken for NO", "FORCE:1, YES:2 or more")
        pair = record.get("OverTimeLimit")
        if pair and re.match(r"\s*-0*[1-9]", pair.value):
            yield Problem(pair, f"OverTimeLimit={pair.value} is ignored", "minutes, or UNLIMITED")
        pair = record.get("PreemptMode")
        why = mode_problem(pair.value, candidate.release) if pair else ""
        if pair and why and at_least(candidate.release, _MODE_IGNORED_SINCE):
            yield Problem(pair, f"PreemptMode={pair.value} is ignored: {why}")
        elif pair and not why and "gang" in pair.value.lower():
            message = "GANG is set for the whole cluster, and ignored here"
            yield Problem(pair, message, "set it in the PreemptMode of the cluster")


# The first is ignored beside the second.
_EXCLUDES: Mapping[str, str] = {
    "DenyAccounts": "AllowAccounts",
    "DenyQos": "AllowQos",
}


def _wrong_nodes(slurm: Conf, pair: Pair, sets: Mapping[str, list[Line]], release: str) -> Iterator[Problem]:
    text = re.sub(r"\s", ",", pair.value)
    if text.upper() == "ALL":
        return
    if why := why_refused(text, release):
        yield Problem(pair, f"{pair.key}={pair.value[:80]} is no list of nodes: {why}", HINT)
        return
    if not names_are_known(slurm) or "{" in text:
        return
    if problem := _stray_bracket(pair, sets):
        yield problem
        return
    names = unknown(slurm, text)
    for name in names:
        for line in sets.get(name, ()):
            nodes = line.get("Nodes")
            if nodes is None:
                continue
            if why := why_refused(nodes.value, release):
                yield _unread_set(nodes, why, release)
            elif problem := _stray_bracket(nodes, sets):
                yield problem
            elif nodes.value.upper() != "ALL" and (missing := unknown(slurm, nodes.value)):
                yield Problem(nodes, *_no_node(missing))
    names = [name for name in names if name not in sets]
    missing = [name for name in names if name.upper() != "ALL"]
    if len(missing) < len(names):
        yield Problem(pair, "ALL stands for all nodes only where it stands alone", "Nodes=ALL")
    if missing:
        yield Problem(pair, *_no_node(missing))


def _stray_bracket(pair: Pair, sets: Mapping[str, list[Line]]) -> Problem | None:
    """Of nodes whose names have no brackets, such a word is none. A NodeSet may be called so."""
    if not has_stray_bracket(pair.value) or any(map(has_stray_bracket, sets)):
        return None
    message = f"{pair.key}={pair.value[:80]} is no list of nodes: a bracket is missing, or one too many"
    return Problem(pair, message, HINT)


def _unread_set(pair: Pair, why: str, release: str) -> Problem:
    crashes = release in _UNREAD_SET_CRASHES
    effect = "slurmctld crashes" if crashes else "the set has no nodes"
    message = f"{pair.key}={pair.value[:80]} is no list of nodes, and {effect}: {why}"
    return Problem(pair, message, HINT, "fatal" if crashes else "error")


def _no_node(names: Sequence[str]) -> tuple[str, str]:
    return f"there is no node {some(names)}", "correct the name, or define the node"


def _node_sets(slurm: Conf) -> Mapping[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in slurm.all("NodeSet"):
        found.setdefault(line.pairs[0].value, []).append(line)
    return found


def _wrong_value(pair: Pair, release: str) -> str:
    """What would be right; "" where the value is."""
    key, value = pair.key.lower(), pair.value.upper()
    if key == "state" and not value.startswith(_STATES):
        return "UP, DOWN, DRAIN or INACTIVE"
    if key in ("maxtime", "defaulttime") and not is_time(pair.value):
        return "minutes, hours:minutes:seconds, days-hours, or UNLIMITED"
    if key in ("oversubscribe", "shared") and not _SHARED.fullmatch(pair.value):
        return "NO, YES[:jobs], FORCE[:jobs] or EXCLUSIVE"
    if key == "selecttypeparameters" and not value.startswith(_SELECT):
        return "CR_Core, CR_Core_Memory, CR_Socket or CR_Socket_Memory"
    if key == "exclusive" and value not in _EXCLUSIVE:
        return "NO, NODE, USER or TOPO"
    if key == "suspendtime" and is_too_long(pair.value):
        return f"seconds up to {_HIGHEST}, INFINITE or -1"
    if key == "preemptmode" and not at_least(release, _MODE_IGNORED_SINCE):
        return mode_problem(pair.value, release)
    return ""
