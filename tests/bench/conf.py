"""How long judging a large configuration takes: 10,000 nodes of 8 GPUs with a tree of switches.

    python tests/bench/conf.py > result.md

Prints a table in Markdown: `conf lint` on the same cluster told in ranges (gpu[00000-09999]) and with one
line a node, beside what reading such text costs at the least, and beside a file of one node. All run in
every round, in an order that changes; the figures are medians. Nothing is judged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.bench.timing import Row, measure, plain_environment

HEAD = """\
ClusterName=big
SlurmctldHost=head
SlurmUser=slurm
StateSaveLocation=/var/spool/slurmctld
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
TaskPlugin=task/cgroup,task/affinity
ProctrackType=proctrack/cgroup
TopologyPlugin=topology/tree
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageTRES=gres/gpu,gres/gpu:h100
"""
NODE = (
    "CPUs=128 Sockets=2 CoresPerSocket=32 ThreadsPerCore=2 RealMemory=2000000 Gres=gpu:h100:8"
    " Feature=h100,ib State=UNKNOWN"
)
AT_LEAF = 32


def cluster(folder: Path, nodes: int, *, ranges: bool) -> Path:
    """The files of a cluster of nodes with 8 GPUs each, in folder."""
    folder.mkdir()
    names = [f"gpu{number:05d}" for number in range(nodes)]
    every = f"gpu[00000-{nodes - 1:05d}]" if nodes > 1 else names[0]
    told = [every] if ranges else names
    lines = [f"NodeName={name} {NODE}" for name in told]
    lines.append(f"PartitionName=batch Nodes={every} Default=YES MaxTime=7-00:00:00")
    (folder / "slurm.conf").write_text(HEAD + "\n".join(lines) + "\n")
    gres = [f"NodeName={name} Name=gpu Type=h100 File=/dev/nvidia[0-7]" for name in told]
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")
    (folder / "cgroup.conf").write_text("ConstrainDevices=yes\nConstrainCores=yes\nConstrainRAMSpace=yes\n")
    (folder / "topology.conf").write_text("\n".join(switches(nodes)) + "\n")
    return folder


def switches(nodes: int) -> Iterator[str]:
    leaves = -(-nodes // AT_LEAF)
    for leaf in range(leaves):
        last = min(nodes, (leaf + 1) * AT_LEAF) - 1
        yield f"SwitchName=leaf{leaf} Nodes=gpu[{leaf * AT_LEAF:05d}-{last:05d}]"
    yield f"SwitchName=core Switches=leaf[0-{leaves - 1}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        top = Path(scratch)
        python = sys.executable
        lint = (python, "-m", "hpctools", "conf", "lint", "--slurm", "24.11")
        lines = cluster(top / "lines", given.nodes, ranges=False)
        split = "import sys; [line.split() for path in sys.argv[1:] for line in open(path)]"
        rows = [
            Row("a", "python: split the lines", (python, "-c", split, *map(str, sorted(lines.iterdir())))),
            Row("b", "lint: one node", (*lint, str(cluster(top / "one", 1, ranges=True)))),
            Row("c", "lint: in ranges", (*lint, str(cluster(top / "ranges", given.nodes, ranges=True)))),
            Row("d", "lint: one line a node", (*lint, str(lines))),
        ]
        root = Path(__file__).resolve().parent.parent.parent
        env = {**plain_environment(), "PYTHONPATH": str(root)}
        measure(rows, 1, 600, top, env, lambda jobs: None)  # compiled, and read once
        times = measure(rows, given.rounds, 600, top, env, lambda jobs: None)
    medians = {row.key: statistics.median(times[row].wall_s) for row in rows}
    print(f"| | {given.nodes:,} nodes, {given.rounds} rounds | median s | median / b |\n|---|---|--:|--:|")
    for row in rows:
        print(f"| {row.key} | {row.what} | {medians[row.key]:.2f} | {medians[row.key] / medians['b']:.1f} |")


if __name__ == "__main__":
    main()
