"""A site's file from the live cluster: slurmctld is asked, and a node by a short job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hpctools import files
from hpctools.errors import CommandError, HpctoolsError, InvalidInput, NotFound, ParseError, Problem
from hpctools.jobs import directives, facts, record, run_files, site
from hpctools.process import Run
from hpctools.process import run as run_program
from hpctools.site import node as nodes
from hpctools.site import written
from hpctools.site.node import Node
from hpctools.site.written import Cluster
from hpctools.slurm import hostlist, scontrol

PROBE = run_files.LAUNCH.with_name("site_probe.py")
# For how long srun waits for a node that is free, and how long the probe may take, in seconds and minutes.
WAIT_S, LIMIT_MIN = 60, 3
# So many other nodes are asked for by which way they are reached.
PEERS = 4
Say = Callable[[str], None]


def init(
    partition: str | None = None,
    account: str | None = None,
    *,
    probe: bool = True,
    run: Run = run_program,
    say: Say = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """The text of a site's file for the cluster at hand; its nodes are asked through one of them.

    probe: whether a job of seconds looks at a node. What fails there stands in the file. Raises InvalidInput
    for a partition that is not there, NotFound and SlurmUnavailable without Slurm.
    """
    asked = record.query_environment(environ)
    known = facts.read(run, asked)
    config = scontrol.parse_config(
        run(scontrol.config_command(), env=asked, timeout_s=facts.TIMEOUT_S).check()
    )
    if partition and partition not in known.partitions:
        raise InvalidInput(
            [Problem("--partition", f"there is no partition {partition}", ", ".join(known.partitions))]
        )
    cluster = Cluster(config, known, partition or written.training(known))
    found, why = (None, "not asked: --no-probe") if not probe else _look(cluster, account, run, say, environ)
    text = written.text(cluster, found, why, time.strftime("%Y-%m-%d"))
    return _proved(text)


def absent(path: Path) -> None:
    """Raises InvalidInput where there is a file already."""
    if os.path.lexists(path):
        raise InvalidInput([Problem(str(path), "exists; nothing was written", "--force replaces it")])


def write(path: Path, text: str, *, force: bool = False) -> None:
    """Write a site's file. Raises InvalidInput where there is one already, unless force."""
    if not force:
        absent(path)
    files.write(path, text)


def _look(
    cluster: Cluster, account: str | None, run: Run, say: Say, environ: Mapping[str, str]
) -> tuple[Node | None, str]:
    """What a node of the partition has; else None, and why."""
    words = command(cluster, account)
    say(f"a job of seconds looks at a node of {cluster.partition}, if one is free within {WAIT_S} s:")
    say(f"{' '.join(words)} < site_probe.py")
    words += peers(cluster, run, environ)
    try:
        # Inside of a job srun would start a step of that job.
        outside = directives.environment(environ, ())
        done = run(words, stdin=PROBE.read_text(), env=outside, timeout_s=WAIT_S + 60 * LIMIT_MIN + 60)
        return _with_ours(nodes.parse(done.check())), ""
    except (CommandError, NotFound) as error:
        why = _last(str(getattr(error, "stderr", "")) or str(error))
    except ParseError as error:
        why = str(error)
    say(f"no node was looked at: {why}")
    return None, why


def _with_ours(node: Node) -> Node:
    """node, its file systems compared with this machine's: a run folder is made here and read there."""
    ours = {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()}
    shared = (replace(one, here=one.mount.replace(" ", "\\040") in ours) for one in node.shared)
    return replace(node, shared=tuple(shared))


def command(cluster: Cluster, account: str | None) -> list[str]:
    """The words that run the probe, which comes by standard input, on one node."""
    words = ["srun", f"--partition={cluster.partition}", "--nodes=1", "--ntasks=1", f"--time={LIMIT_MIN}"]
    words += [f"--immediate={WAIT_S}", "--job-name=hpctools-site-init", "--mpi=none"]
    if "MEMORY" in cluster.setting("SelectTypeParameters").upper():
        words.append("--mem=500M")  # or it would get DefMemPerNode, which may be all
    if account:
        words.append(f"--account={account}")
    return [*words, "python3", "-I", "-S", "-", "facts"]


def peers(cluster: Cluster, run: Run, environ: Mapping[str, str]) -> list[str]:
    """Addresses of some nodes of the partition, as Slurm has them."""
    one = cluster.facts.partitions[cluster.partition]
    try:
        names = hostlist.expand(one.node_list)
        some = ",".join([*names[:PEERS], *names[PEERS:][-1:]])
        text = run(
            scontrol.node_command(some), env=record.query_environment(environ), timeout_s=facts.TIMEOUT_S
        ).check()
        return list(dict.fromkeys(node.address for node in scontrol.parse_nodes(text)))
    except HpctoolsError:
        return []


def _last(stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line.strip()] or ["no message"]
    return lines[-1].removeprefix("srun: ").removeprefix("error: ")


def _proved(text: str) -> str:
    """text, read once more: what is written here is a site's file. Raises InvalidInput."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "site.yaml")
        files.write(path, text)
        problems: list[Problem] = []
        site.load(path, problems)
    if problems:
        raise InvalidInput(problems)
    return text
