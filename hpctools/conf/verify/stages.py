"""The stages of a verification: the database, the controller alone, then nodes and jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Finding
from hpctools.conf.verify import checks, controller, database, messages, nodes, rewrite
from hpctools.conf.verify.ground import Ground
from hpctools.conf.verify.messages import Locator
from hpctools.conf.verify.throwaway import Throwaway
from hpctools.conf.verify.value import Canary, NodeCheck, Replacement
from hpctools.errors import HpctoolsError
from hpctools.sandbox import daemons, layout
from hpctools.slurm import scontrol
from hpctools.slurm.scontrol import Partition

Say = Callable[[str], None]
_UNSEEN = "nodes, GRES and jobs"


@dataclass
class Found:
    """What the stages have found so far. told: the replacements, by whose files they are in."""

    problems: list[Finding] = field(default_factory=list)
    told: dict[str, Sequence[Replacement]] = field(default_factory=dict)
    not_verified: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    nodes: list[NodeCheck] = field(default_factory=list)
    canaries: list[Canary] = field(default_factory=list)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.timings[stage] = time.monotonic() - begun


def stand(cluster: Throwaway, candidate: Candidate, ground: Ground, found: Found) -> None:
    """munged, and where the candidate uses slurmdbd, a database that knows the names in its files."""
    slurm = candidate.confs["slurm.conf"]
    first = ["munged", *(["mariadbd"] if slurm.uses_slurmdbd else [])]
    if slurm.uses_slurmdbd:
        layout.make_database(cluster.places)
    for daemon in first:
        cluster.start(daemon)
    for daemon in first:
        daemons.wait_ready(cluster.sandbox, daemon, lambda text: None)
    if not slurm.uses_slurmdbd:
        return
    wanted = database.contents(slurm)
    cluster.write({"slurm.conf": database.slurm_conf(wanted.cluster, ground).encode()})
    _start_slurmdbd(cluster, candidate, ground, found)
    for words, why in database.fill(cluster.command, wanted, ground.user):
        message = f"sacctmgr {' '.join(words)}: {why}"
        found.problems.append(Finding(slurm.path, 1, "error", "database", message, ""))


def _start_slurmdbd(cluster: Throwaway, candidate: Candidate, ground: Ground, found: Found) -> None:
    """With the candidate's slurmdbd.conf; where slurmdbd refuses it one of ours, to verify the rest."""
    conf = candidate.conf("slurmdbd.conf")
    data, told = rewrite.slurmdbd(conf, ground)
    cluster.write({"slurmdbd.conf": data})
    cluster.start("slurmdbd")
    try:
        daemons.wait_ready(cluster.sandbox, "slurmdbd", lambda text: None)
    except HpctoolsError:
        if conf is None:
            raise
        cluster.stop(["slurmdbd"])
        locator = Locator(candidate, {str(cluster.places.etc / "slurmdbd.conf"): conf.path}, conf)
        found.problems += messages.findings(cluster.said("slurmdbd"), "slurmdbd", locator)
        message = "slurmdbd does not start with this file"
        found.problems.append(Finding(conf.path, 1, "fatal", "slurmdbd", message, ""))
        others = {kind: one for kind, one in candidate.confs.items() if one is not conf}
        _start_slurmdbd(cluster, replace(candidate, confs=others), ground, found)
    else:
        if conf:
            found.told["slurmdbd"] = told


def boot_alone(
    cluster: Throwaway, candidate: Candidate, ground: Ground, found: Found
) -> tuple[Partition, ...] | None:
    """slurmctld with all that it can be left of the candidate's; None where it does not come up."""
    rewritten = rewrite.rewrite(candidate, ground)
    found.told["slurm"] = rewritten.replacements
    cluster.write(rewritten.files)
    boot = controller.boot(cluster)
    found.timings["controller"] = boot.seconds
    locator = Locator(candidate, rewritten.origin)
    problems = messages.findings(cluster.said("slurmctld"), "slurmctld", locator)
    if boot.partitions is None:
        # It would end once it has waited for the file.
        stalls = [one for one in problems if messages.STALL.search(one.message)]
        problems = [replace(one, severity="fatal") if one in stalls else one for one in problems]
        if boot.why and (boot.crashed or not any(one.severity == "fatal" for one in problems)):
            last = messages.last(cluster.said("slurmctld"))
            hint = f"it said last: {locator.told(last)}" if last else ""
            problems.append(messages.finding("boot", "fatal", boot.why, locator, hint))
    found.problems += problems
    return boot.partitions


def boot_with_nodes(
    cluster: Throwaway,
    candidate: Candidate,
    ground: Ground,
    partitions: Sequence[Partition],
    found: Found,
    say: Say,
) -> None:
    """slurmctld once more, with a slurmd for each kind of node, and jobs."""
    slurm = candidate.confs["slurm.conf"]
    if not _several_slurmd(cluster):
        found.not_verified.append(
            f"{_UNSEEN}: this Slurm was built without --enable-multiple-slurmd: the controller boots alone"
        )
        return
    chosen = nodes.choose(slurm, partitions)
    if not chosen:
        found.not_verified.append(f"{_UNSEEN}: there is no node that could be started")
        return
    ports = cluster.reserve(len(chosen))
    started = {one.name: port for one, port in zip(chosen, ports, strict=True)}
    rewritten = rewrite.rewrite(candidate, replace(ground, started=MappingProxyType(started)))
    locator = Locator(candidate, rewritten.origin)
    boot = _boot_again(cluster, ground, rewritten, list(started))
    if boot.partitions is None:
        said = [text for severity, text in messages.read(cluster.said("slurmctld")) if severity == "fatal"]
        why = locator.told((said or [boot.why])[-1])
        found.not_verified.append(f"{_UNSEEN}: slurmctld refuses what is replaced for them: {why}")
        return
    found.told["slurm"] = rewritten.replacements
    with found.timed("nodes"):
        for name in started:
            cluster.start(f"slurmd-{name}")
        there = checks.register(cluster, chosen)
    for check, problems in checks.node_checks(cluster, chosen, there):
        found.nodes.append(check)
        found.problems += problems
    well = [check.name for check in found.nodes if check.ok]
    say(f"{len(well)} of {len(chosen)} slurmd have registered and are well")
    with found.timed("jobs"):
        root = os.geteuid() == 0
        found.canaries += checks.canaries(cluster, boot.partitions, well, root, slurm.uses_slurmdbd)
    for daemon in [f"slurmd-{name}" for name in started]:
        known = {(each.file, each.line, each.message) for each in found.problems}
        told = messages.findings(cluster.said(daemon), daemon, locator)
        found.problems += [each for each in told if (each.file, each.line, each.message) not in known]
    # What slurmctld logs by now is of nodes that are not there.
    if cluster.ended("slurmctld") is not None:
        found.problems += messages.findings(cluster.said("slurmctld"), "slurmctld", locator)
        found.problems.append(
            messages.finding("boot", "fatal", "slurmctld ended when nodes and jobs were there", locator)
        )


def _boot_again(
    cluster: Throwaway, ground: Ground, rewritten: rewrite.Rewritten, names: Sequence[str]
) -> controller.Boot:
    cluster.stop(["slurmctld"])
    shutil.rmtree(ground.state)
    os.mkdir(ground.state, 0o700)
    for name in names:
        os.makedirs(os.path.join(ground.spool, name), exist_ok=True)
    cluster.write(rewritten.files)
    cluster.make_devices(rewritten.devices)
    return controller.boot(cluster)


def _several_slurmd(cluster: Throwaway) -> bool:
    done = cluster.command(scontrol.config_command())
    return scontrol.parse_config(done.check()).get("MULTIPLE_SLURMD", "").lower() == "yes"
