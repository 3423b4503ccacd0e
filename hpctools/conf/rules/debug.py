"""What is switched on to look for a fault, and slows a cluster, or hides one, when it stays on."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule

# Levels from which on a busy slurmctld writes more than one can read (log_string2num).
_LEVELS = frozenset({"debug2", "debug3", "debug4", "debug5", "6", "7", "8", "9"})


@rule("debug-level-high", "warning")
def debug_level_high(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for key, command in (
        ("SlurmctldDebug", "scontrol setdebug"),
        ("SlurmdDebug", "scontrol setdebug ... nodes="),
    ):
        pair = slurm.get(key)
        if pair and pair.value.lower() in _LEVELS:
            message = (
                f"{pair.key}={pair.value} writes many lines for each request; the log grows by gigabytes"
            )
            yield Problem(pair, message, f"{pair.key}=info; `{command}` raises it for a while")


@rule("conf-hash-ignored", "warning")
def conf_hash_ignored(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("DebugFlags") if slurm else None
    if slurm and pair and "no_conf_hash" in (word.lower() for word in slurm.words("DebugFlags")):
        message = f"{pair.key} has NO_CONF_HASH: nobody is told when a node has another slurm.conf"
        yield Problem(pair, message, "remove it, and give all nodes the same file")
