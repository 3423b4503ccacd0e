"""Limits of jobs: those of the user's shell that go with a job, its time, and how many jobs there may be."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import UNLIMITED_S, gpus, limit_s, named

# read_config.h.
_MAX_ARRAY_SIZE = 1001
_MAX_JOB_COUNT = 10000
_BACKFILL_WINDOW_S = 24 * 3600
# On fewer, one job that has no limit is seen by everyone.
_SEVERAL_NODES = 8
# slurm.conf(5), bf_window: "Max: 43200 (30 days)".
_LONGEST_WINDOW_S = 30 * 24 * 3600


@rule("memlock-propagated", "warning")
def memlock_propagated(candidate: Candidate) -> Iterator[Problem]:
    """RDMA registers memory under this limit; within one machine nothing does, so two are needed."""
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.uses_gpus or not _propagates(slurm, "MEMLOCK"):
        return
    if sum(len(node.names) for kind in slurm.kinds if gpus(kind[0]) for node in kind) < 2:
        return
    pair = slurm.get("PropagateResourceLimitsExcept") or slurm.get("PropagateResourceLimits")
    says = f"{pair.key}={pair.value}" if pair else "PropagateResourceLimits is ALL, its default"
    message = f"{says}: jobs have the memlock limit of the login node, with which RDMA (NCCL, UCX) fails"
    hint = "PropagateResourceLimitsExcept=MEMLOCK, and LimitMEMLOCK=infinity for slurmd"
    yield Problem(pair or slurm, message, hint)


@rule("array-larger-than-job-count", "warning")
def array_larger_than_job_count(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("MaxArraySize") if slurm else None
    size = slurm.number("MaxArraySize", _MAX_ARRAY_SIZE) if slurm else None
    if not slurm or not pair or size is None:
        return
    jobs = slurm.number("MaxJobCount", _MAX_JOB_COUNT)
    if jobs is not None and size > jobs and not (slurm.partial and not slurm.get("MaxJobCount")):
        message = f"{pair.key}={size}, but MaxJobCount is {jobs}: an array of that size never gets in"
        yield Problem(pair, message, "a MaxJobCount much larger than MaxArraySize")


@rule("default-time-above-max", "warning")
def default_time_above_max(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    for one in slurm.partitions if slurm else ():
        pair, most = one.get("DefaultTime"), one.get("MaxTime")
        default_s, max_s = limit_s(one, "DefaultTime"), limit_s(one)
        if pair and most and default_s is not None and max_s is not None and max_s < default_s < UNLIMITED_S:
            message = (
                f"{pair.key}={pair.value} of {one.name} is more than {most.key}={most.value}, which counts"
            )
            yield Problem(pair, message, f"at most {most.value}")


@rule("propagated-limits-ignored", "warning")
def propagated_limits_ignored(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PropagateResourceLimits") if slurm else None
    other = slurm.get("PropagateResourceLimitsExcept") if slurm else None
    if pair and other:
        message = f"{pair.key}={pair.value} is ignored beside {other.key}={other.value}"
        yield Problem(pair, message, "keep one of them")


@rule("time-limit-missing", "warning")
def time_limit_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not _backfills(slurm) or len(slurm.node_of) < _SEVERAL_NODES:
        return
    found = [
        one
        for one in slurm.partitions
        if limit_s(one) == UNLIMITED_S and limit_s(one, "DefaultTime") == UNLIMITED_S
    ]
    if found:
        message = (
            f"{named(found)}: neither MaxTime nor DefaultTime; a job without --time holds its nodes for ever"
        )
        hint = "DefaultTime such as 1:00:00; backfill starts small jobs only before the known end of others"
        yield Problem(found[0].where("MaxTime"), message, hint)


@rule("backfill-window-short", "warning")
def backfill_window_short(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or not _backfills(slurm) or (slurm.partial and not slurm.get("SchedulerParameters")):
        return
    limits = [(limit, one) for one in slurm.partitions if (limit := limit_s(one)) and limit != UNLIMITED_S]
    if not limits:
        return
    longest, partition = max(limits, key=lambda one: one[0])
    window_s = _window_s(slurm)
    if window_s is not None and window_s < min(longest, _LONGEST_WINDOW_S):
        days = longest / 86400
        message = (
            f"backfill looks {window_s // 60} minutes ahead, but jobs of {partition.name} may run "
            f"{days:g} days: large jobs may wait for ever behind small ones"
        )
        minutes = int(min(longest, _LONGEST_WINDOW_S) // 60)
        hint = f"SchedulerParameters=bf_window={minutes},bf_resolution={max(60, minutes // 1440 * 60)}"
        yield Problem(slurm.get("SchedulerParameters") or partition.where("MaxTime"), message, hint)


@rule("backfill-parameters-unused", "warning")
def backfill_parameters_unused(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("SchedulerType") if slurm else None
    if not slurm or not pair or _backfills(slurm):
        return
    words = [word.partition("=")[0] for word in slurm.words("SchedulerParameters")]
    # The one that sched/builtin reads, too.
    unused = [word for word in words if word.lower().startswith("bf_") and word.lower() != "bf_max_job_test"]
    if unused:
        message = f"{', '.join(unused)}: no effect with {pair.key}={pair.value}"
        yield Problem(slurm.get("SchedulerParameters") or pair, message, "SchedulerType=sched/backfill")


def _propagates(slurm: Conf, limit: str) -> bool:
    """Whether a job gets the user's limit. Except counts where both keys are set."""
    kept = {word.upper() for word in slurm.words("PropagateResourceLimitsExcept")}
    if kept:
        return not kept & {limit, "ALL"}
    sent = {word.upper() for word in slurm.words("PropagateResourceLimits")}
    return not sent or bool(sent & {limit, "ALL"})


def _backfills(slurm: Conf) -> bool:
    return slurm.value("SchedulerType", "sched/backfill").lower().removeprefix("sched/") == "backfill"


def _window_s(slurm: Conf) -> int | None:
    """bf_window, which is in minutes, in seconds; None for what is no number."""
    for word in slurm.words("SchedulerParameters"):
        name, _, value = word.partition("=")
        if name.strip().lower() == "bf_window":
            return int(value) * 60 if value.isascii() and value.isdigit() else None
    return _BACKFILL_WINDOW_S
