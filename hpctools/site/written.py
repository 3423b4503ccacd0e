"""A site's file from what the cluster and a node told: each value with where it comes from, and what could
not be found out as a comment with what to do about it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hpctools.jobs import fabric, grace
from hpctools.jobs.facts import Facts, NodeType
from hpctools.site.node import Node
from hpctools.slurm import units
from hpctools.slurm.scontrol import Partition

WIDTH = 104
_PLAIN = re.compile(r"[A-Za-z0-9_/.$^=~][A-Za-z0-9_/.$^=,@+~-]*")
# Faster than a file server's, and meant for what jobs write.
_PARALLEL = ("lustre", "gpfs", "beegfs", "fhgfs", "weka", "panfs", "pvfs", "orangefs")
_FEW = 12  # partitions that are described


@dataclass(frozen=True)
class Cluster:
    """What slurmctld told. config: `scontrol show config`. partition: where jobs would train, "" for none."""

    config: Mapping[str, str]
    facts: Facts
    partition: str

    def setting(self, name: str) -> str:
        """A setting; "" where there is none."""
        value = self.config.get(name, "")
        return "" if value in ("(null)", "none", "N/A") else value


def training(facts: Facts) -> str:
    """The partition for training: the default one if its nodes have GPUs, else the one with the most; without
    any GPUs the default one, else the first.
    """
    gpus = {name: sum(one.gpus * one.nodes for one in facts.node_types(name)) for name in facts.partitions}
    default = facts.default_partition or next(iter(facts.partitions), "")
    most = max(gpus, key=lambda name: gpus[name], default="")
    return most if most and not gpus.get(default) and gpus[most] else default


def text(cluster: Cluster, node: Node | None, why_no_node: str, day: str) -> str:
    """The file. node: what was found on a compute node; None where none was asked, why_no_node says why."""
    name = cluster.setting("ClusterName") or "a cluster"
    release = cluster.setting("SLURM_VERSION")
    looked = f"node {node.name} of partition {cluster.partition}" if node else f"no node ({why_no_node})"
    parts = (
        _said(
            f"The cluster {name}, as `hpctools site init` found it on {day}: Slurm {release}, {looked}. "
            "Lines that begin with # are proposals, or what could not be found out. `hpctools site check "
            "FILE` proves the file by a job; site_configs/ has examples with every reason."
        ),
        [f"description: {_value(name)}"],
        list(_defaults(cluster, node)),
        list(_partitions(cluster)),
        list(_setup(node)),
        list(_slurm(cluster)),
        list(_fabric(node, why_no_node)),
        list(_containers(node)),
        list(_variables(node)),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _said(text: str, indent: str = "") -> list[str]:
    """A comment, in lines."""
    start = f"{indent}# "
    plain = " ".join(text.split())
    return textwrap.wrap(plain, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _note(text: str) -> list[str]:
    """A comment within a section."""
    return _said(text, "  ")


def _value(text: str) -> str:
    """text as YAML carries it."""
    return text if _PLAIN.fullmatch(text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _defaults(cluster: Cluster, node: Node | None) -> Iterator[str]:
    yield "defaults:"
    known = cluster.facts.partitions.get(cluster.partition)
    default = cluster.facts.default_partition
    if known and default == known.name:
        yield from _note(f"Partition: {default} is the cluster's own default.")
    elif known:
        said = (
            f"{default}, the cluster's default, has no GPUs" if default else "the cluster has no default one"
        )
        yield from _note(f"From sinfo and scontrol: {said}.")
        yield f"  partition: {_value(known.name)}"
    if known:
        limit = units.format_duration(known.max_time_s)
        if known.default_time_s is not None:
            own = units.format_duration(known.default_time_s)
            yield from _note(f"Time: {known.name} gives jobs that ask for none {own}, and at most {limit}.")
            yield f"  # time: {own}"
        else:
            yield from _note(
                f"Time: {known.name} has no DefaultTime, so a job that asks for none gets the limit, "
                f"{limit}, and fits into no gap. Choose what is usual here."
            )
            yield "  # time: 4:00:00"
    if "associations" in cluster.setting("AccountingStorageEnforce"):
        yield from _note("Accounts are enforced. Users have a default one; who has several names it.")
        yield "  # account:"
    yield from _runs_dir(node)


def _runs_dir(node: Node | None) -> Iterator[str]:
    found = sorted(node.shared if node else (), key=lambda one: not one.type.startswith(_PARALLEL))
    usable = [one for one in found if one.own and one.here]
    for one in found:
        where = f"{one.own} is writable" if one.own else "not writable for you"
        where += "" if one.here else "; not mounted on this machine"
        yield from _note(
            f"Shared, as mounted on {node.name if node else ''}: {one.mount} ({one.type}), {where}."
        )
    if usable:
        best = usable[0]
        own = (
            f"{best.mount.rstrip('/')}/$USER/runs"
            if best.own != best.mount.rstrip("/")
            else f"{best.own}/$USER/runs"
        )
        yield f"  runs_dir: {_value(own)}"
        return
    yield from _note(
        "runs_dir: no file system of a network was found that is here, too, and that you can write. Without "
        "it run folders are made in runs/ below where you submit; they must be the same on all nodes."
    )
    yield "  # runs_dir: /scratch/$USER/runs"


def _partitions(cluster: Cluster) -> Iterator[str]:
    """What there is, for who reads; Slurm itself is asked for it when jobs are submitted."""
    names = list(cluster.facts.partitions)
    for name in names[:_FEW]:
        one = cluster.facts.partitions[name]
        kinds = " and ".join(_kind(kind) for kind in cluster.facts.node_types(name)) or "no nodes"
        default = " (default)" if one.is_default else ""
        limit = units.format_duration(one.max_time_s)
        yield from _said(f"Partition {name}{default}: {kinds}; limit {limit}{_preempted(cluster, one)}.")
    if len(names) > _FEW:
        yield from _said(f"And {len(names) - _FEW} more: {', '.join(names[_FEW:])}.")


def _kind(one: NodeType) -> str:
    gpus = f"{one.gpu_type or 'gpu'}:{one.gpus}, " if one.gpus else ""
    return f"{one.nodes} nodes of {gpus}{one.cpus} CPUs, {one.memory_mb / 1024:.0f} GiB"


def _preempted(cluster: Cluster, one: Partition) -> str:
    found = grace.grace(cluster.config, one.name, cluster.facts, {}, "")
    if found is None:
        return ""
    mode = (one.preempt_mode or cluster.setting("PreemptMode")).lower()
    return f"; jobs are preempted ({mode}) with {found.seconds} s to save ({found.setting})"


def _setup(node: Node | None) -> Iterator[str]:
    if node is None or not node.modules:
        where = (
            f"No file that sets up modules is on {node.name}"
            if node
            else "Whether there are modules is not known"
        )
        yield from _said(f"{where}. What stands here runs first in every job.")
        yield from ("# setup: |", "#   module load cuda")
        return
    yield from _said(
        f"{node.name} has {node.modules}. A batch job's shell is no login shell: name your modules."
    )
    yield "# setup: |"
    yield f"#   type module >/dev/null 2>&1 || . {node.modules}"
    yield "#   module load cuda"


def _slurm(cluster: Cluster) -> Iterator[str]:
    select, parameters = cluster.setting("SelectType"), cluster.setting("SelectTypeParameters")
    yield from _said(
        f"From SelectType={select}: "
        + (
            "jobs may ask for GPUs of each node."
            if select.endswith("cons_tres")
            else "only --gres asks for GPUs."
        )
    )
    if plugins := cluster.setting("JobSubmitPlugins"):
        yield from _said(
            f"JobSubmitPlugins={plugins} may want it otherwise (gres): site check asks with a real job."
        )
    yield f"gpu_option: {'gpus-per-node' if select.endswith('cons_tres') else 'gres'}"
    yield ""
    memory = "MEMORY" in parameters.upper()
    how = "jobs ask for memory" if memory else "Slurm does not schedule memory, so jobs need not ask for it"
    yield from _said(f"From SelectTypeParameters={parameters or '(none)'}: {how}.")
    yield f"ask_memory: {'yes' if memory else 'no'}"
    yield ""
    requeue = cluster.setting("JobRequeue") != "0"
    yield from _said(
        f"JobRequeue={int(requeue)}: a preempted job is "
        + ("requeued." if requeue else "not requeued; hpctools submits a successor instead.")
        + (
            f" MpiDefault={mpi}: of no concern to torchrun, which runs with --mpi=none."
            if (mpi := cluster.setting("MpiDefault"))
            else ""
        )
    )


def _fabric(node: Node | None, why: str) -> Iterator[str]:
    if node is None:
        yield from _said(
            f"The network between the nodes is not known: {why}. docs/fabric.md tells what to write."
        )
        yield from ("# fabric:", f"#   kind: {'|'.join(fabric.KINDS)}")
        return
    for one in node.nics:
        yield from _said(
            f"{node.name}: {one.name}, {one.kind}, {one.rate_gbps or '?'} Gbit/s, {one.state or '?'}"
            + (f", beside GPU {','.join(map(str, one.near))}." if one.near else ".")
        )
    links = ", ".join(f"{name} ({_speed(speed)})" for name, speed in node.links.items())
    yield from _said(f"{node.name}: interfaces with a link: {links or 'none'}.")
    yield "fabric:"
    yield f"  kind: {node.kind}"
    if node.kind == fabric.ROCE:
        yield from _note(
            "RoCE needs switches that are set up for it; where they are not, kind: tcp. traffic_class: ask "
            "who runs them."
        )
        yield "  # traffic_class: 106"
    yield from _hcas(node)
    yield from _interfaces(node)
    yield from _note(
        "The bus bandwidth of all_reduce_perf (nccl-tests) on two good nodes; --preflight compares."
    )
    yield "  # bandwidth_gb_s:"
    if node.memlock_kb is not None and node.kind != fabric.TCP:
        yield from _note(
            f"ATTENTION: jobs on {node.name} may lock {node.memlock_kb} kB of memory only, and RDMA needs it "
            "unlimited: LimitMEMLOCK=infinity in slurmd's unit, PropagateResourceLimitsExcept=MEMLOCK."
        )


def _hcas(node: Node) -> Iterator[str]:
    if node.kind not in (fabric.INFINIBAND, fabric.ROCE):
        return
    names = ",".join(nic.name for nic in node.compute)
    if node.others:
        how = "hang on the GPUs' PCIe switches" if node.compute[0].near else "are the fastest with a link"
        left = ", ".join(nic.name for nic in node.others)
        yield from _note(f"Those that {how}; {left} are left for storage and the rest.")
        yield f"  hcas: {names}"
    else:
        yield from _note(f"No hcas: all of {names} are of the fabric, and NCCL takes all.")


def _interfaces(node: Node) -> Iterator[str]:
    others = [name for name in node.candidates if name != node.route]
    if not node.routes:
        yield from _note("No interfaces: by which one other nodes are reached could not be told.")
    elif not node.route:
        said = ", ".join(f"{peer} by {name}" for peer, name in node.routes.items())
        yield from _note(f"No interfaces: other nodes are not reached by one alone ({said}).")
    elif node.kind == fabric.TCP and others:
        yield from _note(f"By {node.route} the other nodes are reached; {', '.join(others)} lead elsewhere.")
        yield f"  interfaces: {_value('=' + node.route)}"
    else:
        yield from _note(
            f"No interfaces: NCCL chooses by itself. Where it chooses wrongly: {node.route} reaches "
            "the other nodes."
        )
        yield f"  # interfaces: ={node.route}"


def _speed(mbps: int | None) -> str:
    return f"{mbps / 1000:g} Gbit/s" if mbps else "speed unknown"


def _containers(node: Node | None) -> Iterator[str]:
    if node is None:
        return
    runtime = next((name for name in ("apptainer", "singularity", "pyxis") if name in node.programs), "")
    if not runtime:
        yield from _said(
            f"{node.name} has neither apptainer nor singularity nor Pyxis (srun --container-image)."
        )
        yield from ("containers:", "  runtime: none")
        return
    found = "; ".join(f"{name}: {said}" for name, said in node.programs.items())
    yield from _said(f"{node.name} has {found}. images: what jobs here use, by names of your own.")
    yield "containers:"
    yield f"  runtime: {runtime}"
    yield from (f"  {line}" for line in _binds(node.shared_mounts))


def _binds(mounts: Iterable[str]) -> Iterator[str]:
    names = ", ".join(map(_value, mounts))
    if names:
        yield from (
            "# The shared file systems, so that data and runs are there inside, too.",
            f"binds: [{names}]",
        )
    yield "# images: {pytorch: /shared/images/pytorch.sif}"


def _variables(node: Node | None) -> Iterator[str]:
    best = [one for one in node.shared if one.type.startswith(_PARALLEL)] if node else []
    if best:
        yield from _said("For templates, {{ var.scratch }}; site check writes a file there.")
        yield from ("variables:", f"  scratch: {_value(best[0].mount)}")
