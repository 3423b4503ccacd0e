"""What slurm.conf says of its nodes and partitions in figures, for the rules that reckon with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from hpctools.conf.candidate import Conf, Record
from hpctools.conf.rules.geometry import sizes_of
from hpctools.errors import ParseError
from hpctools.slurm import hostlist, tres, units
from hpctools.slurm.releases import at_least
from hpctools.slurm.tres import Gres

# DEFAULT_ACCOUNTING_TRES of read_config.h: tracked whatever AccountingStorageTRES says.
TRACKED = frozenset({"cpu", "mem", "energy", "node", "billing", "fs/disk", "vmem", "pages"})
# Tracked with gres/gpu, which they are of no use without.
_WITH_GPUS = ("gres/gpumem", "gres/gpuutil")

_CONS_TRES_IS_DEFAULT = "23.11"
# Of a time without limit, so that limits compare.
UNLIMITED_S = float("inf")


def gpus(node: Record) -> int:
    """GPUs of one node of the line, of all types."""
    return sum(one.count for one in gres(node) if one.name.lower() == "gpu")


def gres(node: Record) -> tuple[Gres, ...]:
    """The GRES of one node of the line; () where they cannot be read (another rule says so)."""
    return _gres(node.value("Gres"))


@lru_cache(maxsize=1024)
def _gres(text: str) -> tuple[Gres, ...]:
    try:
        return tres.parse_gres(text)
    except ParseError:
        return ()


def cpus(node: Record) -> int | None:
    """CPUs of one node of the line, as Slurm takes it; None for what is no number."""
    sizes = sizes_of(node)
    return sizes.cpus if sizes else None


def cores(node: Record) -> int | None:
    sizes = sizes_of(node)
    return sizes.cores if sizes else None


def set_aside(node: Record) -> int:
    """Cores that jobs cannot have (CoreSpecCount)."""
    return node.number("CoreSpecCount", 0) or 0


def kinds_of(conf: Conf, partition: Record) -> list[Record]:
    """A line of each kind of node that a partition has, in the order of the file."""
    if len(conf.kinds) == 1:
        return [conf.kinds[0][0]] if names(conf, partition) else []
    lines = {node.line for node in members(conf, partition)}
    found = (next((node for node in kind if node.line in lines), None) for kind in conf.kinds)
    return [node for node in found if node]


def members(conf: Conf, partition: Record) -> tuple[Record, ...]:
    """The node lines of which a partition has nodes, each once, in the order of the file."""
    found = names(conf, partition)
    if len(found) == len(conf.node_of):
        return conf.nodes
    lines = {conf.node_of[name].line: conf.node_of[name] for name in found}
    return tuple(lines[line] for line in sorted(lines))


def names(conf: Conf, partition: Record) -> Collection[str]:
    """The nodes of a partition that NodeName lines define; Nodes may name node sets, too."""
    text = partition.value("Nodes")
    if text.upper() == "ALL":
        return conf.node_of.keys()
    sets = {line.pairs[0].value: line.value("Nodes") or "" for line in conf.all("NodeSet") if line.pairs}
    found: list[str] = []
    for word in _expand(text):
        found += _expand(sets[word]) if word in sets else [word]
    return [name for name in dict.fromkeys(found) if name in conf.node_of]


def is_linear(slurm: Conf, release: str) -> bool:
    """Whether jobs get whole nodes everywhere: select/linear, the default until 23.02."""
    default = "cons_tres" if at_least(release, _CONS_TRES_IS_DEFAULT) else "linear"
    return "linear" in slurm.value("SelectType", default).lower()


def is_exclusive(partition: Record) -> bool:
    """Whether its jobs get whole nodes."""
    shared = partition.value("OverSubscribe", partition.value("Shared")).upper()
    return shared == "EXCLUSIVE" or partition.value("Exclusive").upper() in ("NODE", "TOPO")


def limit_s(partition: Record, key: str = "MaxTime") -> float | None:
    """A time limit of a partition in seconds, without one UNLIMITED_S; None where it cannot be read."""
    try:
        seconds = units.parse_duration_s(partition.value(key, "UNLIMITED"))
    except ParseError:
        return None
    return UNLIMITED_S if seconds is None else seconds


def tracked(slurm: Conf) -> frozenset[str] | None:
    """The TRES that slurmctld knows, lower-cased; None where they are not known."""
    value = slurm.value("AccountingStorageTRES")
    if "[" in value or (slurm.partial and not value):
        return None
    own = {word.strip().lower() for word in value.strip("'").split(",")} - {""}
    return TRACKED | own | (set(_WITH_GPUS) if "gres/gpu" in own else set())


def named(partitions: Iterable[Record], most: int = 4) -> str:
    """The names of partitions for a message: the first few, and how many more."""
    found = [partition.name for partition in partitions]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def _expand(text: str) -> list[str]:
    try:
        # Spaces part the nodes of a partition, too (_parse_partitionname).
        return hostlist.expand(",".join(text.split()))
    except ParseError:
        return []
