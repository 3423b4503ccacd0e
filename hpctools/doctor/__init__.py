"""Looks at Slurm and this machine and says what is missing for jobs, and what to do about it.

Every program it runs is bounded in time, and looks at file systems are left behind when one does
not answer: it never hangs. It changes nothing.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpctools.doctor import machine, slurm
from hpctools.doctor.check import OK, PROBLEM, WARNING, Answer, Check, ask, at_once
from hpctools.errors import ParseError
from hpctools.jobs import clusters
from hpctools.process import Run
from hpctools.slurm import scontrol, sinfo

__all__ = ["OK", "PROBLEM", "WARNING", "Check", "examine", "verdict"]

# Slurm's commands give up after about 9 s when slurmctld is away.
TIMEOUT_S = 12.0
# For everything beside: programs on this machine.
LOCAL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Cluster:
    """What Slurm said of itself; empty where it did not answer."""

    version: Answer
    ping: Answer = Answer()
    config: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[sinfo.NodeGroup, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether slurmctld answered."""
        return bool(self.config)


def examine(
    run: Run,
    *,
    interpreter: str = sys.executable,
    runs: Path = Path("runs"),
    environ: Mapping[str, str] = os.environ,
) -> tuple[Check, ...]:
    """All checks, in the order in which jobs need them.

    interpreter: the Python of jobs. runs: where run folders would be made.
    """
    if clusters.missing(environ):
        cluster = Cluster(ask(run, ["sbatch", "--version"], 2.0))
    else:
        cluster = ask_cluster(run)
    probes: dict[str, Callable[[], tuple[Check, ...]]] = {
        "Slurm": lambda: _slurm(run, cluster, environ),
        "containers": lambda: (_containers(run),),
        "Python": lambda: (machine.python(), _torch(run, interpreter)),
        "run folders": lambda: _folders(runs, cluster, environ),
        "machine": lambda: (_since_boot(),),
    }
    groups = at_once(probes, TIMEOUT_S + LOCAL_TIMEOUT_S, lambda name, why: (Check(name, PROBLEM, why),))
    return tuple(check for group in groups for check in group)


def verdict(checks: Sequence[Check]) -> str:
    """The worst verdict of all."""
    found = {check.verdict for check in checks}
    return PROBLEM if PROBLEM in found else WARNING if WARNING in found else OK


def ask_cluster(run: Run) -> Cluster:
    """What there is to know of the cluster; slurmctld is asked no more when it does not answer."""
    version = ask(run, ["sbatch", "--version"], LOCAL_TIMEOUT_S)
    ping = ask(run, scontrol.ping_command(), TIMEOUT_S) if not version.error else version
    if not any(controller.up for controller in scontrol.parse_ping(ping.text)):
        return Cluster(version, ping)
    config = ask(run, scontrol.config_command(), TIMEOUT_S)
    groups = ask(run, sinfo.command(), TIMEOUT_S)
    # One line for each different address of a node.
    addresses = ask(run, ["sinfo", "--noheader", "--format", "%o"], TIMEOUT_S)
    try:
        settings = scontrol.parse_config(config.text) if not config.error else {}
        return Cluster(version, ping, settings, sinfo.parse(groups.text), tuple(addresses.text.split()))
    except ParseError as error:
        return Cluster(version, Answer(ping.text, str(error)))


def _slurm(run: Run, cluster: Cluster, environ: Mapping[str, str]) -> tuple[Check, ...]:
    first = (slurm.commands(cluster.version), slurm.conf(environ, cluster.config))
    if first[0].verdict == PROBLEM or first[1].verdict == PROBLEM:
        return first
    checks = (
        *first,
        slurm.controller(cluster.ping, cluster.config, cluster.version),
        _munge(run, cluster, environ),
    )
    if not cluster.answers:
        return checks
    user = _user()
    words = [
        "sacctmgr",
        "--noheader",
        "--parsable2",
        "show",
        "associations",
        f"user={user}",
        "format=account",
    ]
    words.append(f"cluster={cluster.config.get('ClusterName', '')}")
    return (
        *checks,
        slurm.accounting(cluster.config, ask(run, words, TIMEOUT_S), user),
        slurm.nodes(cluster.groups),
        slurm.gpus(cluster.config, cluster.groups),
        slurm.memlock(cluster.config, _memlock_bytes()),
    )


def _munge(run: Run, cluster: Cluster, environ: Mapping[str, str]) -> Check:
    conf = Path(environ.get("SLURM_CONF") or "/etc/slurm/slurm.conf")
    text = conf.read_text("utf-8", "replace") if conf.is_file() and not cluster.answers else ""
    socket = slurm.munge_socket(cluster.config, text)
    at = ["--socket", socket] if socket else []
    made = ask(run, ["munge", "--no-input", *at], LOCAL_TIMEOUT_S)
    read = ask(run, ["unmunge", *at], LOCAL_TIMEOUT_S, stdin=made.text) if not made.error else Answer()
    return slurm.munge(cluster.config, made, read)


def _memlock_bytes() -> int | None:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY else soft


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _containers(run: Run) -> Check:
    versions = {word: ask(run, [word, "--version"], LOCAL_TIMEOUT_S) for word in machine.RUNTIMES}
    versions["enroot"] = ask(run, ["enroot", "version"], LOCAL_TIMEOUT_S)
    return machine.containers(versions, ask(run, ["srun", "--help"], 3.0))


def _torch(run: Run, interpreter: str) -> Check:
    return machine.torch(ask(run, [interpreter, "-c", machine.TORCH], LOCAL_TIMEOUT_S), interpreter)


def _folders(runs: Path, cluster: Cluster, environ: Mapping[str, str]) -> tuple[Check, ...]:
    from hpctools.jobs import record

    mounts = Path("/proc/self/mounts").read_text("utf-8", "replace")
    here = machine.all_here(cluster.addresses, platform.node())
    return machine.folder(runs, mounts, here), machine.state_folder(record.folder(environ))


def _since_boot() -> Check:
    uptime = Path("/proc/uptime").read_text("ascii", "replace")
    return machine.since_boot(uptime, platform.node(), os.cpu_count() or 1)
