"""cgroup.conf: values that slurmd or slurmctld refuse, and those that do not do what they seem to do."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair, remove_line
from hpctools.slurm.releases import at_least
from hpctools.slurm.units import YES

# cgroup_g_init compares exactly; the first release that knows each.
_PLUGINS = {"autodetect": "22.05", "cgroup/v1": "22.05", "cgroup/v2": "22.05", "disabled": "24.05"}
_V1_DEPRECATED = "25.05"
# Read, or only looked up, and then used for nothing.
_NO_EFFECT = ("AllowedDevicesFile", "MemoryLimitEnforcement", "MemoryLimitThreshold")
_ONLY_V1 = ("MemorySwappiness",)
# gen_ctl_names and cgroup.conf(5): what EnableExtraControllers may name.
_CONTROLLERS = frozenset({"all", "io", "pids", "rdma", "hugetlb", "misc"})
_MOUNTED = "/sys/fs/cgroup"


def is_yes(conf: Conf | None, key: str) -> bool:
    """Whether a key is set to yes, as s_p_handle_boolean reads it."""
    return conf is not None and conf.value(key).lower() in YES


@rule("cgroup-plugin", "fatal")
def cgroup_plugin(candidate: Candidate) -> Iterator[Problem]:
    """slurmd loads the plugin at every start, whatever else is configured."""
    pair = _pair(candidate, "CgroupPlugin")
    if not pair:
        return
    known = [name for name, since in _PLUGINS.items() if at_least(candidate.release, since)]
    if pair.value not in known:
        message = f"CgroupPlugin={pair.value} is none that {candidate.release} has; slurmd stops"
        yield Problem(pair, message, f"one of {', '.join(known)}")


@rule("cgroup-disabled", "fatal")
def cgroup_disabled(candidate: Candidate) -> Iterator[Problem]:
    slurm, pair = candidate.slurm, _pair(candidate, "CgroupPlugin")
    if (
        not slurm
        or not pair
        or pair.value != "disabled"
        or not at_least(candidate.release, _PLUGINS["disabled"])
    ):
        return
    users = [key for key in ("TaskPlugin", "JobAcctGatherType") if "cgroup" in slurm.value(key)]
    # The default of ProctrackType is proctrack/cgroup.
    if "cgroup" in slurm.value("ProctrackType", "" if slurm.partial else "proctrack/cgroup"):
        users.insert(0, "ProctrackType")
    if users:
        message = f"CgroupPlugin=disabled, but {' and '.join(users)} of slurm.conf use cgroups; slurmd stops"
        hint = "set ProctrackType=proctrack/linuxproc, and TaskPlugin and JobAcctGatherType without cgroup"
        yield Problem(pair, message, hint)


@rule("cgroup-release-agent", "fatal")
def cgroup_release_agent(candidate: Candidate) -> Iterator[Problem]:
    """From 25.11 the parser does not know the key: removed-key."""
    pair = _pair(candidate, "CgroupReleaseAgentDir")
    conf = candidate.conf("cgroup.conf")
    if pair and conf and not at_least(candidate.release, "25.11"):
        lines = conf.all(pair.key)
        edits = (remove_line(lines[-1]),) if len(lines[-1].pairs) == 1 else ()
        yield Problem(pair, "CgroupReleaseAgentDir stops every daemon", "remove it", edits=edits)


@rule("cgroup-v1-deprecated", "warning")
def cgroup_v1_deprecated(candidate: Candidate) -> Iterator[Problem]:
    pair = _pair(candidate, "CgroupPlugin")
    if pair and pair.value == "cgroup/v1" and at_least(candidate.release, _V1_DEPRECATED):
        yield Problem(pair, "cgroup/v1 is deprecated and gets nothing new", "boot the nodes with cgroup v2")


@rule("cgroup-no-effect", "warning")
def cgroup_no_effect(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("cgroup.conf")
    if not conf:
        return
    for key in _NO_EFFECT:
        for line in conf.all(key):
            edits = (remove_line(line),) if len(line.pairs) == 1 else ()
            yield Problem(line, f"{line.key} has no effect", "remove it", edits=edits)
    if conf.value("CgroupPlugin") == "cgroup/v2":
        for key in _ONLY_V1:
            for line in conf.all(key):
                yield Problem(line, f"{line.key} has no effect with cgroup/v2", "remove it")


@rule("cgroup-memory-percent", "warning")
def cgroup_memory_percent(candidate: Candidate) -> Iterator[Problem]:
    pair = _pair(candidate, "AllowedRAMSpace")
    percent = _number(pair.value) if pair else None
    if pair and percent is not None:
        if percent < 100:
            message = (
                f"AllowedRAMSpace={pair.value}: jobs get {percent:g} % of the memory that they are given"
            )
            yield Problem(pair, message, "100, unless that is wanted", "error" if percent <= 0 else None)
        elif percent > 100:
            message = f"AllowedRAMSpace={pair.value}: jobs together may use more memory than a node has"
            yield Problem(pair, message, "100, or a RealMemory that leaves room for it")
    for key in ("MaxRAMPercent", "MaxSwapPercent"):
        pair = _pair(candidate, key)
        percent = _number(pair.value) if pair else None
        # No swap at all is a share, too: task_cgroup_memory.c adds the memory to it.
        low = key == "MaxSwapPercent"
        if pair and percent is not None and not (0 < percent <= 100 or (low and percent == 0)):
            yield Problem(pair, f"{key}={pair.value} is no share of a node's memory", "above 0, up to 100")


@rule("cgroup-swappiness", "error")
def cgroup_swappiness(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("cgroup.conf")
    pair = _pair(candidate, "MemorySwappiness")
    if not conf or not pair:
        return
    amount = conf.number("MemorySwappiness", 0)
    if amount is not None and amount > 100:
        yield Problem(pair, f"MemorySwappiness={pair.value} is above 100, and taken for 100", "from 0 to 100")


@rule("cgroup-testing-only", "warning")
def cgroup_testing_only(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("cgroup.conf")
    if not conf:
        return
    pair = conf.get("CgroupMountpoint")
    if pair and pair.value.rstrip("/") != _MOUNTED:
        message = f"CgroupMountpoint={pair.value}: systemd mounts cgroups at {_MOUNTED}"
        yield Problem(pair, message, "remove it; it is for tests and development")
    for key in ("IgnoreSystemd", "IgnoreSystemdOnFailure"):
        pair = conf.get(key)
        if pair and is_yes(conf, key):
            message = f"{pair.key}=yes: systemd may change the cgroups of jobs"
            yield Problem(
                pair, message, "only in containers without systemd; it is for tests and development"
            )


@rule("cgroup-controllers", "error")
def cgroup_controllers(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("cgroup.conf")
    pair = _pair(candidate, "EnableExtraControllers")
    if conf and pair:
        unknown = [word for word in conf.words("EnableExtraControllers") if word not in _CONTROLLERS]
        if unknown:
            message = (
                f"EnableExtraControllers: {', '.join(unknown)} is none that Slurm enables, and passed over"
            )
            yield Problem(pair, message, f"of {', '.join(sorted(_CONTROLLERS))}")


def _pair(candidate: Candidate, key: str) -> Pair | None:
    conf = candidate.conf("cgroup.conf")
    return conf.get(key) if conf else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
