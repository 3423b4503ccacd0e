"""Programs that the daemons run, and the folders in which they keep what they need."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

# Run by run_command, which refuses what has no absolute path.
_COMMANDS = (
    "EpilogSlurmctld",
    "HealthCheckProgram",
    "PrologSlurmctld",
    "ResumeFailProgram",
    "ResumeProgram",
    "SuspendProgram",
)
# slurmd looks for these beside slurm.conf, since:
_BESIDE = ("Prolog", "Epilog")
_BESIDE_SINCE = "23.11"
# These may be the name of a PowerAction, since:
_ACTIONS = frozenset({"resumefailprogram", "resumeprogram", "suspendprogram"})
_ACTIONS_SINCE = "26.05"
# Run by other ways, or as the user of the job.
_OTHERS = (
    "RebootProgram",
    "ResvEpilog",
    "ResvProlog",
    "SlurmctldPrimaryOffProg",
    "SlurmctldPrimaryOnProg",
    "SrunEpilog",
    "SrunProlog",
    "TaskEpilog",
    "TaskProlog",
    "UnkillableStepProgram",
)
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - to warn of
_STATE = "/var/spool"
_SPOOL = "/var/spool/slurmd"


@rule("program-path-relative", "error")
def program_path_relative(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for pair in _pairs(slurm, (*_COMMANDS, *_BESIDE)):
        if not pair.value or pair.value.startswith("/") or "{" in pair.value:
            continue
        if pair.key.lower() in _ACTIONS and at_least(candidate.release, _ACTIONS_SINCE):
            continue
        if pair.key.title() not in _BESIDE:
            message = f"{pair.key}={pair.value} is no absolute path; it is not run"
            yield Problem(pair, message, "the whole path, from /")
        elif not at_least(candidate.release, _BESIDE_SINCE):
            message = f"{pair.key}={pair.value}: {candidate.release} does not look beside slurm.conf for it"
            yield Problem(pair, message, "the whole path, from /")


@rule("program-in-tmp", "error")
def program_in_tmp(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for pair in _pairs(slurm, (*_COMMANDS, *_BESIDE, *_OTHERS)):
        if _is_temporary(pair.value):
            message = f"{pair.key}={pair.value}: any user can put a program there, and the daemons run it"
            yield Problem(pair, message, "a folder that only root can write to")


@rule("state-in-tmp", "error")
def state_in_tmp(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    hint = "a folder of its own below /var/spool or /var/lib"
    state, spool = slurm.get("StateSaveLocation"), slurm.get("SlurmdSpoolDir")
    if state and _is_temporary(state.value):
        message = f"{state.key}={state.value} is emptied at boots and by age: slurmctld then knows no job"
        yield Problem(state, message, hint)
    if spool and _is_temporary(spool.value):
        message = (
            f"{spool.key}={spool.value} is emptied by age: running jobs then lack their scripts and state"
        )
        yield Problem(spool, message, hint, "warning")


@rule("state-and-spool-shared", "warning")
def state_and_spool_shared(candidate: Candidate) -> Iterator[Problem]:
    """slurmctld's folder is SlurmUser's and private; slurmd's is root's and 0755 (slurm.conf(5))."""
    slurm = candidate.slurm
    if not slurm or slurm.partial:
        return
    state, spool = slurm.get("StateSaveLocation"), slurm.get("SlurmdSpoolDir")
    paths = [
        posixpath.normpath(pair.value) if pair else default
        for pair, default in ((state, _STATE), (spool, _SPOOL))
    ]
    if paths[0] == paths[1]:
        message = f"StateSaveLocation and SlurmdSpoolDir are both {paths[0]}"
        hint = "a folder each: SlurmUser's, closed to others, for slurmctld; root's, 0755, for slurmd"
        yield Problem(spool or state or slurm, message, hint)


@rule("contain-without-cgroup", "error")
def contain_without_cgroup(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PrologFlags") if slurm else None
    tracker = slurm.get("ProctrackType") if slurm else None
    if not slurm or not pair or not tracker:
        return
    flags = {word.lower() for word in slurm.words("PrologFlags")}
    kind = tracker.value.lower().removeprefix("proctrack/")
    if flags & {"contain", "x11", "runinjob"} and kind not in ("cgroup", "cray_aries"):
        message = f"{pair.key}={pair.value} with {tracker.key}={tracker.value}: pam_slurm_adopt does not work"
        yield Problem(
            pair, message, "ProctrackType=proctrack/cgroup; without pam_slurm_adopt it does no harm"
        )


def _pairs(slurm: Conf, keys: tuple[str, ...]) -> Iterator[Pair]:
    """All that is set of keys: some may stand several times."""
    for key in keys:
        yield from (line.pairs[0] for line in slurm.all(key) if line.pairs)


def _is_temporary(path: str) -> bool:
    path = posixpath.normpath(path) if path else ""
    return any(path == folder or path.startswith(f"{folder}/") for folder in _TEMPORARY)
