"""Options that exclude each other, and options that need another one (read_config.c)."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least

_CORES = frozenset({"cr_socket", "cr_socket_memory", "cr_core", "cr_core_memory", "cr_memory"}) | {
    "cr_cpu",
    "cr_cpu_memory",
}
_UNITS = frozenset({"none", "sockets", "cores", "threads"})
# PrologFlags that make slurmd run a step for the job, which Contain is.
_CONTAIN = frozenset({"contain", "x11", "runinjob"})
# Words of HealthCheckNodeState that stand alone.
_ALONE = ("start_only", "reboot_only")
_ALONE_SINCE = "26.05"
_STEPMGR_SINCE = "24.05"
_JOBCOMP_CHECKED_SINCE = "23.02"
# Since then of any plugin; before, of tmpfs.
_ANY_NAMESPACE_SINCE = "25.11"
_CONS_TRES_IS_DEFAULT_SINCE = "23.11"


@rule("conflicting-options", "fatal")
def conflicting_options(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for key, first, second in _EXCLUSIVE:
        pair = slurm.get(key)
        if pair and first in pair.value.lower() and second in pair.value.lower():
            yield Problem(pair, f"{pair.key}: {first} and {second} exclude each other", "keep one of them")
    pair = slurm.get("CommunicationParameters")
    if pair and "disableipv4" in pair.value.lower() and "enableipv6" not in pair.value.lower():
        yield Problem(pair, "DisableIPv4 without EnableIPv6 leaves no way to communicate", "add EnableIPv6")
    yield from _prolog(slurm)
    pair, words = _words(slurm, "HealthCheckNodeState")
    alone = next((word for word in _ALONE if word in words), None)
    if pair and alone and len(set(words)) > 1 and at_least(candidate.release, _ALONE_SINCE):
        yield Problem(pair, f"{alone.upper()} goes with no other state", "keep it alone")
    pair, words = _words(slurm, "SelectTypeParameters")
    if pair and sum(word in _CORES for word in words) > 1:
        yield Problem(
            pair, f"{pair.key}={pair.value} names several units to share", "keep one, as CR_Core_Memory"
        )
    elif pair and "cr_one_task_per_core" in words and any(word.startswith("cr_cpu") for word in words):
        yield Problem(pair, "CR_ONE_TASK_PER_CORE does not go with CR_CPU", "CR_Core or CR_Core_Memory")
    pair, words = _words(slurm, "TaskPluginParam")
    if pair and sum(word in _UNITS for word in words) > 1:
        yield Problem(pair, f"{pair.key}={pair.value} binds to several units", "keep one of them")
    if pair and sum(word.startswith("autobind=") for word in words) > 1:
        yield Problem(pair, f"{pair.key}={pair.value} has two autobind", "keep one of them")
    if pair and {"slurmdoffspec", "slurmdspecoverride"} <= set(words):
        yield Problem(pair, "SlurmdOffSpec and SlurmdSpecOverride exclude each other", "keep one of them")


# Key, and the two words of it.
_EXCLUSIVE = (
    ("JobAcctGatherParams", "usepss", "noshared"),
    ("LaunchParameters", "enable_nss_slurm", "disable_send_gids"),
)


@rule("option-needs-other", "fatal")
def option_needs_other(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial:
        return
    level = slurm.get("SlurmSchedLogLevel")
    if level and slurm.number("SlurmSchedLogLevel", 0) and not slurm.get("SlurmSchedLogFile"):
        yield Problem(level, f"SlurmSchedLogLevel={level.value} without a SlurmSchedLogFile", "set that, too")
    plugin, parameters = slurm.get("MCSPlugin"), slurm.get("MCSParameters")
    if parameters and not plugin:
        yield Problem(parameters, "MCSParameters without an MCSPlugin", "set that, too")
    elif plugin and plugin.value == "mcs/group" and not parameters:
        yield Problem(plugin, "MCSPlugin=mcs/group without MCSParameters", "MCSParameters=select:group|group")
    script = slurm.get("JobCompType")
    if script and script.value == "jobcomp/script" and not slurm.get("JobCompLoc"):
        if at_least(candidate.release, _JOBCOMP_CHECKED_SINCE):
            yield Problem(script, "JobCompType=jobcomp/script without a JobCompLoc", "the script's path")
    default = "cons_tres" if at_least(candidate.release, _CONS_TRES_IS_DEFAULT_SINCE) else "linear"
    cons_tres = "cons_tres" in slurm.value("SelectType", default)
    most = slurm.get("MaxNodeCount")
    # In 22.05 0 was the same as not set.
    if most and not cons_tres and (slurm.number("MaxNodeCount", 0) or candidate.release != "22.05"):
        yield Problem(most, "MaxNodeCount needs select/cons_tres", "SelectType=select/cons_tres")
    pair, words = _words(slurm, "TaskPluginParam")
    for word in ("OOMKillStep", "SlurmdSpecOverride"):
        if pair and word.lower() in words and "cgroup" not in slurm.value("TaskPlugin"):
            yield Problem(pair, f"{word} needs task/cgroup", "TaskPlugin=task/cgroup,task/affinity")
    if pair and "slurmdspecoverride" in words and not cons_tres:
        yield Problem(pair, "SlurmdSpecOverride needs select/cons_tres", "SelectType=select/cons_tres")
    yield from _without_contain(slurm, candidate.release)


@rule("power-action", "fatal")
def power_action(candidate: Candidate) -> Iterator[Problem]:
    """PowerAction lines (_parse_power_action); whether the program is there only the host can tell."""
    slurm = candidate.slurm
    for line in slurm.all("PowerAction") if slurm else ():
        location, program = line.get("Location"), line.get("Program")
        if not location or location.value.lower() not in ("slurmctld", "slurmd"):
            place = location or line
            yield Problem(place, "a PowerAction runs on slurmctld or on slurmd", "Location=slurmctld")
        elif not program or not program.value.strip():
            yield Problem(program or line, "a PowerAction needs a Program", "Program=/path/to/program")
        elif location.value.lower() == "slurmctld" and not program.value.strip().startswith("/"):
            yield Problem(program, f"Program={program.value} is no absolute path", "begin it with /")


def _prolog(slurm: Conf) -> Iterator[Problem]:
    pair, words = _words(slurm, "PrologFlags")
    if pair and "nohold" in words and _CONTAIN & set(words):
        yield Problem(pair, "NoHold goes with neither Contain nor X11 nor RunInJob", "remove NoHold")
    if pair and "x11" in words and slurm.value("ProctrackType") == "proctrack/linuxproc":
        yield Problem(pair, "X11 does not go with proctrack/linuxproc", "ProctrackType=proctrack/cgroup")
    if pair and {"runinjob", "serial"} <= set(words):
        yield Problem(pair, "Serial does not go with RunInJob", "remove one of them", severity="error")


def _without_contain(slurm: Conf, release: str) -> Iterator[Problem]:
    if _CONTAIN & set(_words(slurm, "PrologFlags")[1]):
        return
    pair = slurm.get("SlurmctldParameters")
    if pair and "enable_stepmgr" in pair.value.lower() and at_least(release, _STEPMGR_SINCE):
        yield Problem(pair, "enable_stepmgr needs PrologFlags=Contain", "PrologFlags=Contain")
    pair = slurm.get("NamespaceType") or slurm.get("JobContainerType")
    if pair and "none" not in pair.value.lower():
        if "tmpfs" in pair.value or at_least(release, _ANY_NAMESPACE_SINCE):
            yield Problem(pair, f"{pair.value} needs PrologFlags=Contain", "PrologFlags=Contain")


def _words(slurm: Conf, key: str) -> tuple[Pair | None, list[str]]:
    """The pair of a key, and its words in lower case."""
    pair = slurm.get(key)
    return pair, [word for word in pair.value.lower().split(",") if word] if pair else []
