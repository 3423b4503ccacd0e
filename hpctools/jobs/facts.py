"""What the cluster has: partitions, their limits, and what nodes are in them. Two calls of Slurm's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.process import Completed, Run
from hpctools.slurm import scontrol, sinfo

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class NodeType:
    """Nodes of one partition that are alike, whatever their state.

    gpus, cpus and memory_mb are of one node; gpu_type is "" where gres.conf names none. usable is
    how many of the nodes are neither down nor drained.
    """

    gpu_type: str
    gpus: int
    cpus: int
    memory_mb: int
    nodes: int
    usable: int


@dataclass(frozen=True)
class Facts:
    """A cluster at one moment: its partitions by name, and sinfo's groups of nodes."""

    partitions: Mapping[str, scontrol.Partition]
    groups: tuple[sinfo.NodeGroup, ...]

    @property
    def default_partition(self) -> str | None:
        """The partition of jobs that name none."""
        return next((one.name for one in self.partitions.values() if one.is_default), None)

    def node_types(self, partition: str) -> tuple[NodeType, ...]:
        """The kinds of nodes in a partition, the most frequent first."""
        found: dict[tuple[str, int, int, int], list[int]] = {}
        for group in self.groups:
            if group.partition == partition and group.nodes:
                gpu = max(
                    (one for one in group.gres if one.name == "gpu"), key=lambda one: one.count, default=None
                )
                kind = (gpu.type if gpu else "", gpu.count if gpu else 0, group.cpus, group.memory_mb)
                counts = found.setdefault(kind, [0, 0])
                counts[0] += group.nodes
                counts[1] += group.nodes * group.usable
        types = [NodeType(*kind, nodes=all_, usable=usable) for kind, (all_, usable) in found.items()]
        return tuple(sorted(types, key=lambda one: (-one.nodes, -one.gpus, one.gpu_type)))


def read(run: Run, environ: Mapping[str, str], meanwhile: Callable[[], object] = lambda: None) -> Facts:
    """Ask Slurm. Raises SlurmUnavailable when slurmctld does not answer, NotFound without Slurm.

    Both calls are mostly waiting for slurmctld, so they run at once, and meanwhile beside them.
    """
    import threading

    answers: dict[str, Completed | BaseException] = {}

    def ask(words: Sequence[str]) -> None:
        try:
            answers[words[0]] = run(words, env=environ, timeout_s=TIMEOUT_S)
        except BaseException as error:
            answers[words[0]] = error

    asked = (sinfo.command(), scontrol.partitions_command())
    threads = [threading.Thread(target=ask, args=(words,), daemon=True) for words in asked]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        for thread in threads:
            thread.join()
    listed, shown = (_text(answers[words[0]]) for words in asked)
    partitions = {one.name: one for one in scontrol.parse_partitions(shown)}
    return Facts(MappingProxyType(partitions), sinfo.parse(listed))


def _text(answer: Completed | BaseException) -> str:
    if isinstance(answer, BaseException):
        raise answer
    return answer.check()
