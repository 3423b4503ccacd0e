"""Breaking a sandbox on purpose, and mending it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from hpctools import process
from hpctools.errors import InvalidInput, Problem
from hpctools.sandbox import cluster, daemons, namespaces, places, processes
from hpctools.sandbox.daemons import Sandbox

# The options of `fail` and the daemons behind them.
DAEMONS = {"ctld": "slurmctld", "dbd": "slurmdbd", "db": "mariadbd", "munge": "munged"}


def fail(
    name: str,
    *,
    nodes: Sequence[str] = (),
    parts: Sequence[str] = (),
    links: Sequence[str] = (),
    freeze: bool = False,
) -> list[str]:
    """End at once (KILL), or freeze (STOP), nodes and daemons of a sandbox; returns what was hit.

    A node goes with its slurmd, slurmstepds and their tasks, as when its power is lost. links:
    nodes whose network is cut (with --netns). Raises InvalidInput for what is not there.
    """
    with cluster.locked(name):
        sandbox = cluster.load(name)
        _check(sandbox, nodes, parts, links)
        number = signal.SIGSTOP if freeze else signal.SIGKILL
        for node in nodes:
            _fail_node(sandbox, node, number)
        wanted = [DAEMONS[part] for part in parts]
        hit = [sandbox.daemons[daemon] for daemon in wanted]
        processes.send(hit, number)
        if not freeze:
            processes.wait_gone(hit, 10)
        for node in links:
            process.run(_link(sandbox, node, "down")).check()
    return [*nodes, *wanted, *(f"the link of {node}" for node in links)]


def _check(sandbox: Sandbox, nodes: Sequence[str], parts: Sequence[str], links: Sequence[str]) -> None:
    names = sandbox.spec.node_names
    found = [
        Problem("--node", f"there is no node {node}", ", ".join(names)) for node in nodes if node not in names
    ]
    found += [
        Problem("--link", f"there is no node {node}", ", ".join(names)) for node in links if node not in names
    ]
    if links and not sandbox.spec.netns:
        found.append(
            Problem("--link", "its nodes have no network of their own", "hpctools sandbox up --netns")
        )
    found += [
        Problem(f"--{part}", "this sandbox has none")
        for part in parts
        if DAEMONS[part] not in sandbox.daemons
    ]
    if not (nodes or parts or links):
        found.append(Problem("fail", "nothing to fail was named", "such as --node n2, --ctld, --dbd"))
    if found:
        raise InvalidInput(found)


def _fail_node(sandbox: Sandbox, node: str, number: signal.Signals) -> None:
    here = sandbox.places
    belongs = processes.of_node(str(here.data), str(here.slurm_conf), str(here.log), node)
    # slurmd first, so that it reports nothing of the death of the others.
    processes.send([sandbox.daemons[f"slurmd-{node}"]], number)
    for _ in range(20):
        found = processes.scan(belongs)
        processes.send(found, number)
        if number == signal.SIGSTOP or not found:
            break
        processes.wait_gone(found, 5)


def _link(sandbox: Sandbox, node: str, state: str) -> list[str]:
    number = sandbox.spec.node_names.index(node) + 1
    return namespaces.link_command(sandbox.daemons["net-ctl"].pid, number, state)


def heal(name: str, say: Callable[[str], None]) -> list[str]:
    """Start what has ended, wake what is frozen, join what was cut, resume nodes that are down.

    Returns the daemons that were woken or started again.
    """
    with cluster.locked(name):
        sandbox = cluster.load(name)
        here = sandbox.places
        belongs = processes.of_sandbox(
            str(here.data), str(here.slurm_conf), str(here.log), sandbox.spec.node_names
        )
        woken = [daemon for daemon in daemons.expected(sandbox.spec) if not sandbox.answers(daemon)]
        woken = [daemon for daemon in woken if sandbox.alive(daemon)]
        processes.send(processes.scan(belongs), signal.SIGCONT)
        if sandbox.spec.netns:
            for node in sandbox.spec.node_names:
                process.run(_link(sandbox, node, "up")).check()
        started = woken
        for daemon in daemons.expected(sandbox.spec):
            if not sandbox.alive(daemon):
                daemons.start(sandbox, daemon)
                places.save(name, sandbox.to_record("up"))
                started.append(daemon)
                if not daemon.startswith("slurmd-"):
                    daemons.wait_ready(sandbox, daemon, say)
        _resume(sandbox)
        cluster.wait_idle(sandbox, say)
    return started


def _resume(sandbox: Sandbox) -> None:
    """Take nodes out of DOWN, when slurmctld has seen them there; ReturnToService does the rest."""
    processes.wait_until(lambda: cluster.node_states(sandbox), 120)
    down = [
        node for node, state in cluster.node_states(sandbox).items() if "down" in state or "drain" in state
    ]
    for node in down:
        cluster.command(sandbox, ["scontrol", "update", f"NodeName={node}", "State=RESUME"])
