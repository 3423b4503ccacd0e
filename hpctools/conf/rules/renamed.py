"""Options that a release knows under another name: the old one still works, and will not for ever."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Edit, Line, Pair, quoted, remove_line
from hpctools.slurm.releases import at_least
from hpctools.slurm.units import YES

_NAMESPACE_SINCE = "25.11"
_EXCLUSIVE_SINCE = "26.05"
# The route plugins went into the topology plugins, and launch/slurm into srun.
_ROUTES_UNTIL = "23.02"
_LAUNCH_UNTIL = "22.05"
_PREEMPT_UNTIL = "22.05"
_PREEMPT_WORDS = {
    "preempt_reorder_count": "reorder_count",
    "preempt_strict_order": "strict_order",
    "preempt_youngest_first": "youngest_first",
}


@rule("renamed-option", "warning")
def renamed_option(candidate: Candidate) -> Iterator[Problem]:
    slurm, release = candidate.slurm, candidate.release
    if not slurm:
        return
    if at_least(release, _NAMESPACE_SINCE):
        yield from _namespace(slurm)
    if at_least(release, _EXCLUSIVE_SINCE):
        for line in slurm.all("PartitionName"):
            yield from _exclusive(line)
    if not at_least(_ROUTES_UNTIL, release):
        yield from _route(slurm)
    pair = slurm.get("LaunchType")
    if pair and not at_least(_LAUNCH_UNTIL, release):
        edits = (remove_line(slurm.all("LaunchType")[-1]),)
        yield Problem(pair, "LaunchType is read no more: srun launches by itself", "remove it", edits=edits)
    pair = slurm.get("SchedulerParameters")
    if pair and not at_least(_PREEMPT_UNTIL, release):
        for word in pair.value.split(","):
            name, _, value = word.strip().partition("=")
            if name in _PREEMPT_WORDS:
                new = f"{_PREEMPT_WORDS[name]}{'=' * bool(value)}{value}"
                yield Problem(
                    pair, f"{name} has moved out of SchedulerParameters", f"PreemptParameters={new}"
                )


def _namespace(slurm: Conf) -> Iterator[Problem]:
    pair = slurm.get("JobContainerType")
    if pair:
        plugin = pair.value.removeprefix("job_container/")
        edits = () if slurm.get("NamespaceType") else (_rename(pair, "NamespaceType", f"namespace/{plugin}"),)
        message = f"JobContainerType is named NamespaceType since {_NAMESPACE_SINCE}"
        yield Problem(pair, message, f"NamespaceType=namespace/{plugin}", edits=edits)


def _exclusive(line: Line) -> Iterator[Problem]:
    found = [(pair, kind) for pair in line.pairs[1:] if (kind := _exclusiveness(pair))]
    for pair, kind in found:
        alone = len(found) == 1 and not line.get("Exclusive")
        message = f"{pair.key}={pair.value} is written Exclusive={kind} since {_EXCLUSIVE_SINCE}"
        edits = (_rename(pair, "Exclusive", kind),) if alone else ()
        yield Problem(pair, message, f"Exclusive={kind}", edits=edits)


def _exclusiveness(pair: Pair) -> str:
    key, value = pair.key.lower(), pair.value.lower()
    if key in ("oversubscribe", "shared"):
        return "NODE" if value == "exclusive" else ""
    kinds = {"exclusiveuser": "USER", "exclusivetopo": "TOPO"}
    return kinds.get(key, "") if value in YES else ""


def _route(slurm: Conf) -> Iterator[Problem]:
    pair = slurm.get("RoutePlugin")
    if not pair:
        return
    # read_config.c: any value with "tree" in it; the plugin itself was named route/topology.
    if "tree" in pair.value.lower() or pair.value.lower().endswith("topology"):
        edits = () if slurm.get("TopologyParam") else (_rename(pair, "TopologyParam", "RouteTree"),)
        yield Problem(pair, "there are no route plugins any more", "TopologyParam=RouteTree", edits=edits)
    else:
        edits = (remove_line(slurm.all("RoutePlugin")[-1]),)
        yield Problem(pair, "there are no route plugins any more", "remove it", edits=edits)


def _rename(pair: Pair, key: str, value: str) -> Edit:
    return Edit(pair.key_start, pair.end, f"{key}={quoted(value)}")
