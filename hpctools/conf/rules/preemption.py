"""PreemptMode and PreemptType: what goes together (preempt_mode_num, _validate_and_set_defaults)."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.releases import at_least

# Only one of these; the others go with it.
_MODES = frozenset({"off", "cluster", "cancel", "requeue", "on", "suspend"})
_MODIFIERS = {"gang": "22.05", "within": "22.05", "priority": "25.05"}
_OFF = frozenset({"off", "cluster"})
_SUSPEND = frozenset({"on", "suspend"})


@rule("preempt-mode", "fatal")
def preempt_mode(candidate: Candidate) -> Iterator[Problem]:
    pair = candidate.slurm.get("PreemptMode") if candidate.slurm else None
    if not pair:
        return
    if why := mode_problem(pair.value, candidate.release):
        yield Problem(
            pair, f"PreemptMode={pair.value} is refused: {why}", "OFF, CANCEL, REQUEUE or SUSPEND,GANG"
        )
    elif set(_words(pair.value)) & _SUSPEND and set(_words(pair.value)) <= _SUSPEND:
        yield Problem(pair, "PreemptMode=SUSPEND needs GANG, which lets suspended jobs go on", "SUSPEND,GANG")


@rule("preempt-type", "fatal")
def preempt_type(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or mode_problem(slurm.value("PreemptMode"), candidate.release):
        return
    pair, kind = slurm.get("PreemptType"), slurm.get("PreemptMode")
    words = set(_words(kind.value)) if kind else set()
    # GANG is time-slicing, and no preemption.
    modes = words & _MODES - _OFF
    name = pair.value if pair else "preempt/none"
    if name == "preempt/none" and kind and (modes or words - _MODES - {"gang"}):
        message = f"PreemptMode={kind.value} without a PreemptType"
        yield Problem(kind, message, "PreemptType=preempt/qos or preempt/partition_prio, or PreemptMode=OFF")
    elif name in ("preempt/qos", "preempt/partition_prio") and not modes and pair:
        mode = kind.value if kind else "OFF"
        message = f"PreemptType={name}, but PreemptMode={mode} preempts nothing"
        yield Problem(pair, message, "PreemptMode=REQUEUE, CANCEL or SUSPEND,GANG")


def mode_problem(text: str, release: str) -> str:
    """What is wrong with the words of a PreemptMode; "" for nothing."""
    words = _words(text)
    for word in words:
        since = _MODIFIERS.get(word)
        if word not in _MODES and not since:
            return f"{word} is no mode"
        if since and not at_least(release, since):
            return f"{word} is new in {since}"
    if sum(word in _MODES for word in words) > 1:
        return "only one mode may be set"
    if "gang" in words and ("within" in words or "priority" in words):
        return "GANG goes with neither WITHIN nor PRIORITY"
    return ""


def _words(text: str) -> list[str]:
    return [word for word in text.lower().split(",") if word]
