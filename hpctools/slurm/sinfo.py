"""sinfo: partitions and the nodes in them, in groups that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import tres, units

# Taken out of the environment for every call: a user's own defaults that would hide partitions.
UNSET = (
    "SINFO_ALL",
    "SINFO_FEDERATION",
    "SINFO_FORMAT",
    "SINFO_FORMAT2",
    "SINFO_LOCAL",
    "SINFO_PARTITION",
    "SINFO_SORT",
)

# What the mark behind a node's state means (sinfo(1), NODE STATE CODES).
MARKS: Mapping[str, str] = MappingProxyType(
    {
        "*": "not responding",
        "~": "powered off",
        "#": "powering up",
        "!": "to be powered off",
        "%": "powering off",
        "$": "in a maintenance reservation",
        "@": "to be rebooted",
        "^": "rebooting",
        "-": "planned for a larger job",
        "+": "dynamic",
    }
)
# The names of partitions, features and states are the administrator's and hold no "|".
_COLUMNS = ("%P", "%a", "%D", "%c", "%m", "%G", "%l", "%L", "%T", "%f", "%N")


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one partition that have the same hardware, features and state.

    max_time_s and default_time_s are seconds; None is "no limit" for the first and "none set" for
    the second. state is lower case without its mark; mark is one of MARKS or "". memory_mb and
    cpus are of one node. A partition without nodes has one group with nodes 0.
    """

    partition: str
    is_default: bool
    available: bool
    nodes: int
    cpus: int
    memory_mb: int
    gres: tuple[tres.Gres, ...]
    max_time_s: int | None
    default_time_s: int | None
    state: str
    mark: str
    features: tuple[str, ...]
    node_list: str

    @property
    def gpus(self) -> int:
        """GPUs of one node."""
        return sum(one.count for one in self.gres if one.name == "gpu")

    @property
    def usable(self) -> bool:
        """Whether jobs can run there, now or after others: up, responding, neither down nor drained."""
        return self.available and self.mark != "*" and self.state in USABLE


# States in which a node runs jobs, or will without anybody's help.
USABLE = frozenset({"idle", "mixed", "allocated", "completing", "planned", "reserved", "comp", "blocked"})


def command() -> list[str]:
    """The words that ask for all partitions that this user may see."""
    # --exact: without it nodes of different sizes are put together as "64+".
    return ["sinfo", "--exact", "--noheader", "--format", "|".join(_COLUMNS)]


def parse(text: str) -> tuple[NodeGroup, ...]:
    """The groups of an answer to command, in sinfo's order. Raises ParseError."""
    return tuple(_group(line) for line in text.split("\n") if line.strip())


def _group(line: str) -> NodeGroup:
    values = line.split("|")
    if len(values) != len(_COLUMNS):
        raise ParseError("a line of sinfo", line)
    partition, available, nodes, cpus, memory, gres, max_time, default_time, state, features, names = values
    plain = state.rstrip("".join(MARKS))
    return NodeGroup(
        partition=partition.removesuffix("*"),
        is_default=partition.endswith("*"),
        available=available == "up",
        nodes=units.parse_count(nodes),
        cpus=units.parse_count(cpus.removesuffix("+")),
        memory_mb=units.parse_count(memory.removesuffix("+")),
        gres=tres.parse_gres(gres),
        max_time_s=units.parse_duration_s(max_time),
        default_time_s=None if default_time == "n/a" else units.parse_duration_s(default_time),
        state=plain,
        mark=state[len(plain) :][:1],
        features=() if features in tres.NOTHING else tuple(features.split(",")),
        node_list=names,
    )
