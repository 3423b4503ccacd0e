"""Options that slurmctld still reads only to stop at them, or to log that they do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Edit, Line, Pair, remove_line, set_value, without_word
from hpctools.slurm.releases import at_least, known
from hpctools.slurm.units import YES

_FRONTEND_UNTIL = "24.11"
_NO_ADDR_CACHE_UNTIL = "23.02"
_OPENMPI_LOGGED = ("22.05", "23.02")
_OLD_CONTROLLERS = ("ControlMachine", "ControlAddr", "BackupController", "BackupAddr")


@rule("removed-option", "fatal")
def removed_option(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    keys = known("slurm.conf", candidate.release)
    for line in slurm.all("AccountingStoreJobComment"):
        flags = slurm.get("AccountingStoreFlags")
        wanted = line.pairs[0].value.lower() in YES
        message = "AccountingStoreJobComment is no more, whatever its value"
        hint = "AccountingStoreFlags=job_comment" if wanted else "remove it"
        last = line is slurm.all(line.key)[-1]
        edits = _job_comment(line, flags, wanted) if last else (remove_line(line),)
        yield Problem(line, message, hint, edits=edits)
    for line in slurm.all("AccountingStorageLoc"):
        if "accountingstorageloc" in keys:
            message = "AccountingStorageLoc is no more: the name of the database is slurmdbd's"
            yield Problem(line, message, "remove it", edits=(remove_line(line),))
    for line in slurm.all("SallocDefaultCommand"):
        message = "SallocDefaultCommand is no more"
        yield Problem(line, message, "LaunchParameters=use_interactive_step does what it was for")
    for line in slurm.all("FrontendName"):
        if "frontendname" in keys:
            message = "FrontendName needs a Slurm built with --enable-front-end, which no package is"
            yield Problem(line, message, "remove it")
    yield from _fast_schedule(slurm)
    scheduler = slurm.get("SchedulerParameters")
    if scheduler and slurm.value("SchedulerType", "sched/backfill") == "sched/backfill":
        text = scheduler.value.lower()
        if "max_job_bf=" in text and "bf_max_job_test=" not in text:
            mended = re.sub(r"max_job_bf=", "bf_max_job_test=", scheduler.value, count=1, flags=re.IGNORECASE)
            message = "max_job_bf is no more, and slurmctld stops at it"
            yield Problem(scheduler, message, "bf_max_job_test", edits=(set_value(scheduler, mended),))


@rule("obsolete-option", "error")
def obsolete_option(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    release = candidate.release
    fast = slurm.get("FastSchedule")
    if fast and fast.value == "1":
        line = slurm.all("FastSchedule")[-1]
        yield Problem(
            fast, "FastSchedule=1 is what Slurm always does", "remove it", edits=(remove_line(line),)
        )
    if pair := slurm.get("KeepAliveTime"):
        hint = f"CommunicationParameters=keepalivetime={pair.value}"
        yield Problem(pair, "KeepAliveTime has moved to CommunicationParameters", hint)
    pair = slurm.get("SbcastParameters")
    if pair and not slurm.get("BcastParameters"):
        edits = (Edit(pair.key_start, pair.key_start + len(pair.key), "BcastParameters"),)
        yield Problem(pair, "SbcastParameters is named BcastParameters now", "rename it", edits=edits)
    pair = slurm.get("CommunicationParameters")
    if pair and "noaddrcache" in pair.value.lower() and not at_least(_NO_ADDR_CACHE_UNTIL, release):
        edits = (without_word(pair, "NoAddrCache"),)
        yield Problem(pair, "NoAddrCache does nothing any more", "remove the word", edits=edits)
    pair = slurm.get("SlurmctldParameters")
    if pair and "cloud_reg_addrs" in pair.value.lower() and not at_least(_NO_ADDR_CACHE_UNTIL, release):
        message = "cloud_reg_addrs does nothing any more: it is always so"
        yield Problem(pair, message, "remove the word", edits=(without_word(pair, "cloud_reg_addrs"),))
    pair = slurm.get("MpiDefault")
    if pair and pair.value == "openmpi" and release in _OPENMPI_LOGGED:
        yield Problem(pair, "MpiDefault=openmpi is taken for none", "pmix", edits=(set_value(pair, "none"),))
    if slurm.get("SlurmctldHost"):
        for key in _OLD_CONTROLLERS:
            if pair := slurm.get(key):
                line = slurm.all(key)[-1]
                message = f"{pair.key} is ignored beside SlurmctldHost"
                yield Problem(pair, message, "remove it", edits=(remove_line(line),))


def _fast_schedule(slurm: Conf) -> Iterator[Problem]:
    pair = slurm.get("FastSchedule")
    if not pair or pair.value in ("", "1") or not pair.value.isdigit():
        return
    line = slurm.all("FastSchedule")[-1]
    if int(pair.value[:9]) == 2:
        message = "FastSchedule=2 is no more"
        hint = "SlurmdParameters=config_overrides does what it did"
        edits: tuple[Edit, ...] = ()
        if not slurm.get("SlurmdParameters"):
            edits = (Edit(pair.key_start, pair.end, "SlurmdParameters=config_overrides"),)
        yield Problem(line, message, hint, edits=edits)
    elif int(pair.value[:9]) != 1:
        message = f"FastSchedule={pair.value} is no more: slurmctld takes what slurm.conf says of a node"
        yield Problem(line, message, "remove it, and check what slurm.conf says of the nodes")


def _job_comment(line: Line, flags: Pair | None, wanted: bool) -> tuple[Edit, ...]:
    pair = line.pairs[0]
    if not wanted or (flags and "job_comment" in flags.value.lower()):
        return (remove_line(line),)
    if flags:
        return (
            (remove_line(line), set_value(flags, f"{flags.value},job_comment")) if _same(line, flags) else ()
        )
    return (Edit(pair.key_start, pair.end, "AccountingStoreFlags=job_comment"),)


def _same(line: Line, pair: Pair) -> bool:
    """Whether both stand in one file, which is where edits must."""
    return line.path == pair.path
