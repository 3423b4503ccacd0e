"""Which job is first: the weights of priority/multifactor, partitions' tiers, and preemption by them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf, Record
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.amounts import gpus, kinds_of, limit_s, named, names
from hpctools.errors import ParseError
from hpctools.slurm import units
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

_WEIGHTS = ("Age", "Assoc", "Fairshare", "JobSize", "Partition", "QOS")
_MULTIFACTOR_IS_DEFAULT = "23.11"
_HIGHEST = 2**32 - 1

# The words of PriorityFlags since 22.05, and those of later releases (_validate_and_set_defaults).
# FAIR_TREE is the default and no word any more; it does no harm.
_FLAGS = frozenset(
    "ACCRUE_ALWAYS CALCULATE_RUNNING DEPTH_OBLIVIOUS FAIR_TREE INCR_ONLY MAX_TRES NO_FAIR_TREE NO_NORMAL_ALL "
    "NO_NORMAL_ASSOC NO_NORMAL_PART NO_NORMAL_QOS NO_NORMAL_TRES SMALL_RELATIVE_TO_TIME".split()
)
_LATER_FLAGS = {"MAX_TRES_GRES": "25.05"}

# Words in the names of partitions for short work, and of those whose jobs are meant to give way.
_SHORT = frozenset("debug debugging dev devel express interact interactive quick short test testing".split())
_YIELDING = frozenset(
    "backfill besteffort flex free guest idle killable low lowprio opportunistic overflow preempt "
    "preemptable preemptible requeue scavenge scavenger spot standby".split()
)
_SHORT_S = 2 * 3600
_LONG_S = 24 * 3600


@rule("priority-overflow", "error")
def priority_overflow(candidate: Candidate) -> Iterator[Problem]:
    """slurmctld's own check leaves the weights of TRES out."""
    slurm = candidate.slurm
    if not slurm or not is_multifactor(slurm, candidate.release):
        return
    weights = _weights(slurm)
    flags = slurm.value("PriorityFlags").upper()
    highest = {pair.key: float(weight) for pair, weight in weights}
    if "NO_NORMAL_PART" in flags or "NO_NORMAL_ALL" in flags:
        factors = [_factor(partition) for partition in slurm.partitions]
        highest = {
            key: weight * (max(factors, default=1) if key.lower() == "priorityweightpartition" else 1)
            for key, weight in highest.items()
        }
    tres = slurm.get("PriorityWeightTRES")
    # Otherwise a TRES counts as often as a job has it.
    if tres and "NO_NORMAL_TRES" not in flags and "NO_NORMAL_ALL" not in flags:
        highest[tres.key] = sum(max(weight, 0.0) for _, weight in _tres_weights(tres))
    total = sum(highest.values())
    if total > _HIGHEST:
        largest = max(highest, key=lambda key: highest[key])
        place = slurm.get(largest) or slurm
        message = f"the PriorityWeights add up to {total:,.0f}: above {_HIGHEST:,} all jobs are alike"
        yield Problem(place, message, f"lower {largest}, or all weights by the same factor")


@rule("priority-fifo", "warning")
def priority_fifo(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PriorityType") if slurm else None
    if not slurm or not pair or slurm.partial or not is_multifactor(slurm, candidate.release):
        return
    has_other = slurm.get("PriorityWeightTRES") or slurm.get("PrioritySiteFactorPlugin")
    if not has_other and not any(weight for _, weight in _weights(slurm)):
        message = (
            f"{pair.key}={pair.value}, but every PriorityWeight is 0: the first job submitted is the first"
        )
        yield Problem(
            pair, message, "set PriorityWeightFairshare, PriorityWeightAge and others, as the site wants"
        )


@rule("priority-weight-unused", "warning")
def priority_weight_unused(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or is_multifactor(slurm, candidate.release):
        return
    keys = [pair for pair, weight in _weights(slurm) if weight]
    if keys:
        kind = slurm.value("PriorityType", "priority/basic (the default)")
        listed = ", ".join(pair.key for pair in keys)
        message = f"{listed}: no effect with {kind}; the first job submitted is the first"
        yield Problem(keys[0], message, "PriorityType=priority/multifactor")


@rule("priority-without-slurmdbd", "error")
def priority_without_slurmdbd(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or slurm.uses_slurmdbd or not is_multifactor(slurm, candidate.release):
        return
    for pair, weight in _weights(slurm):
        factor = pair.key.lower().removeprefix("priorityweight")
        hint = "AccountingStorageType=accounting_storage/slurmdbd, or remove it"
        if weight and factor in ("age", "fairshare"):
            yield Problem(pair, f"{pair.key} needs slurmdbd; without it slurmctld ignores it", hint)
        elif weight and factor in ("assoc", "qos"):
            message = f"{pair.key} counts what slurmdbd keeps; without it no job gains anything by it"
            yield Problem(pair, message, hint, "warning")


@rule("partition-priority-unused", "warning")
def partition_priority_unused(candidate: Candidate) -> Iterator[Problem]:
    """PriorityJobFactor and PriorityWeightPartition work together; PriorityTier is apart from both."""
    slurm = candidate.slurm
    if (
        not slurm
        or slurm.partial
        or len(slurm.partitions) < 2
        or not is_multifactor(slurm, candidate.release)
    ):
        return
    factors = {_factor(partition) for partition in slurm.partitions}
    pair = slurm.get("PriorityWeightPartition")
    weight = slurm.number("PriorityWeightPartition", 0)
    if pair and weight and len(factors) == 1:
        same = f"all partitions have PriorityJobFactor={factors.pop()}"
        message = f"{pair.key}={weight}, but {same}: no job gains anything over another"
        yield Problem(
            pair, message, "give partitions different PriorityJobFactor; PriorityTier does not count here"
        )
    first = next((one for part in slurm.partitions if (one := part.get("PriorityJobFactor"))), None)
    if first and len(factors) > 1 and weight == 0:
        message = f"{first.key} counts only with PriorityWeightPartition, which is 0"
        yield Problem(
            first, message, "set PriorityWeightPartition, or use PriorityTier, which outranks all weights"
        )


@rule("short-tier-preempts", "warning")
def short_tier_preempts(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.value("PreemptType").lower() not in ("preempt/partition_prio", "partition_prio"):
        return
    for high in slurm.partitions:
        losers = [low for low in slurm.partitions if _is_short_over(high, low) and _can_lose(slurm, low)]
        nodes = set(names(slurm, high)) if losers else set()
        losers = [low for low in losers if not nodes.isdisjoint(names(slurm, low))]
        if losers:
            tiers = ", ".join(sorted({f"{_tier(low)}" for low in losers}))
            message = (
                f"jobs of {high.name} (PriorityTier={_tier(high)}) push running jobs of {named(losers)} "
                f"(PriorityTier={tiers}) off the nodes that they share"
            )
            hint = "the same PriorityTier with a larger PriorityJobFactor, or PreemptMode=OFF for those"
            yield Problem(high.where("PriorityTier", "Priority"), message, hint)


@rule("preemption-without-tiers", "warning")
def preemption_without_tiers(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PreemptType") if slurm else None
    if not slurm or not pair or slurm.partial or not slurm.partitions:
        return
    if pair.value.lower().removeprefix("preempt/") != "partition_prio":
        return
    tiers = {_tier(partition) for partition in slurm.partitions}
    if len(tiers) == 1:
        same = f"all partitions have PriorityTier={tiers.pop()}"
        message = f"{pair.key}={pair.value}, but {same}: nothing is preempted"
        yield Problem(pair, message, "give partitions whose jobs may preempt a higher PriorityTier")


@rule("suspend-keeps-gpus", "warning")
def suspend_keeps_gpus(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.value("PreemptType").lower().removeprefix("preempt/") in ("", "none"):
        return
    hint = "PreemptMode=REQUEUE or CANCEL where nodes have GPUs"
    pair = slurm.get("PreemptMode")
    if pair and "suspend" in pair.value.lower() and slurm.uses_gpus:
        message = (
            f"{pair.key}={pair.value}: a suspended job keeps its GPUs, so none can be preempted for its GPUs"
        )
        yield Problem(pair, message, hint)
        return
    for partition in slurm.partitions:
        own = partition.get("PreemptMode")
        if own and "suspend" in own.value.lower() and any(map(gpus, kinds_of(slurm, partition))):
            message = f"{own.key}={own.value} of {partition.name}: a suspended job keeps its GPUs"
            yield Problem(own, message, hint)


@rule("priority-decay-off", "fatal")
def priority_decay_off(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PriorityDecayHalfLife") if slurm else None
    if not slurm or not pair or not _is_zero(pair.value):
        return
    reset = slurm.get("PriorityUsageResetPeriod")
    hint = "a half-life such as 7-0, or PriorityUsageResetPeriod=MONTHLY"
    if not reset and not slurm.partial:
        message = f"{pair.key}={pair.value} without PriorityUsageResetPeriod: Slurm refuses the file"
        yield Problem(pair, message, hint)
    elif reset and reset.value.lower() == "none":
        message = f"{pair.key}={pair.value} and {reset.key}={reset.value}: no use is ever forgotten"
        yield Problem(pair, message, hint, "warning")


@rule("unknown-priority-flag", "warning")
def unknown_priority_flag(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("PriorityFlags") if slurm else None
    if not slurm or not pair:
        return
    for word in slurm.words("PriorityFlags"):
        since = _LATER_FLAGS.get(word.upper())
        if since and not at_least(candidate.release, since):
            yield Problem(pair, f"{word} is new in {since}; {candidate.release} passes over it", "remove it")
        elif not since and word.upper() not in _FLAGS:
            known = ", ".join(sorted(_FLAGS - {"FAIR_TREE"}))
            yield Problem(pair, f"{word} is no word of {pair.key}; Slurm passes over it", f"one of {known}")


def is_multifactor(slurm: Conf, release: str) -> bool:
    """Whether priorities are those of priority/multifactor, by PriorityType or the release's default."""
    default = "multifactor" if at_least(release, _MULTIFACTOR_IS_DEFAULT) else "basic"
    return slurm.value("PriorityType", default).lower().removeprefix("priority/") == "multifactor"


def _weights(slurm: Conf) -> list[tuple[Pair, int]]:
    """Each PriorityWeight that is set and a number."""
    pairs = [pair for name in _WEIGHTS if (pair := slurm.get(f"PriorityWeight{name}"))]
    return [(pair, weight) for pair in pairs if (weight := slurm.number(pair.key, 0)) is not None]


def _tres_weights(pair: Pair) -> list[tuple[str, float]]:
    """The weights of a PriorityWeightTRES; one that is no number is another rule's."""
    found = []
    for word in pair.value.split(","):
        name, _, text = word.partition("=")
        number = re.match(r"-?[0-9]*\.?[0-9]+", text)
        if number:
            found.append((name.strip().lower(), float(number[0])))
    return found


def _factor(partition: Record) -> int:
    return _number(partition, "Priority", "PriorityJobFactor")


def _tier(partition: Record) -> int:
    return _number(partition, "Priority", "PriorityTier")


def _number(partition: Record, *keys: str) -> int:
    """The first of keys that is set (Priority sets both), else Slurm's 1."""
    return next((partition.number(key, 1) or 0 for key in keys if partition.get(key)), 1)


def _is_short_over(high: Record, low: Record) -> bool:
    """Whether high is for short work, outranks low, and low's jobs are not meant to give way."""
    if _tier(high) <= _tier(low) or _words(low) & _YIELDING or _words(low) & _SHORT:
        return False
    if _words(high) & _SHORT:
        return True
    most, other = limit_s(high), limit_s(low)
    return most is not None and other is not None and 0 < most <= _SHORT_S and other >= _LONG_S


def _can_lose(slurm: Conf, partition: Record) -> bool:
    mode = partition.value("PreemptMode", slurm.value("PreemptMode", "OFF"))
    return mode.lower() != "off"


def _words(partition: Record) -> set[str]:
    return set(re.split(r"[^a-z]+", partition.name.lower()))


def _is_zero(text: str) -> bool:
    try:
        return units.parse_duration_s(text) == 0
    except ParseError:
        return False
