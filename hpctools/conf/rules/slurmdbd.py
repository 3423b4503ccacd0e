"""slurmdbd.conf: what slurmdbd refuses, and what it and slurm.conf must say alike."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import At, Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import Pair
from hpctools.slurm.releases import at_least, plugins
from hpctools.slurm.units import YES

_TYPE = "accounting_storage/"
_AUTH = "auth/"
# auth_g_init: since then AuthType=munge will do.
_AUTH_BARE_SINCE = "23.11"
_PORT = 6819
# Modes that slurmdbd accepts.
_GROUP_MAY_READ = "25.11"
# slurmdb_parse_purge: a number, then the beginning of a unit.
_PURGE = re.compile(r"[0-9]+(.*)", re.DOTALL)
_UNITS = ("months", "hours", "days")
_PURGES = ("Event", "Job", "Resv", "Step", "Suspend", "TXN", "Usage", "JobScript", "JobEnv")
# What is archived before it is purged, by the key that says when.
_ARCHIVES = {
    "ArchiveEvents": "PurgeEventAfter",
    "ArchiveJobs": "PurgeJobAfter",
    "ArchiveResvs": "PurgeResvAfter",
    "ArchiveSteps": "PurgeStepAfter",
    "ArchiveSuspend": "PurgeSuspendAfter",
    "ArchiveTXN": "PurgeTXNAfter",
    "ArchiveUsage": "PurgeUsageAfter",
    "ArchiveJobScript": "PurgeJobScriptAfter",
    "ArchiveJobEnv": "PurgeJobEnvAfter",
}
_LEVELS = frozenset("quiet fatal error info verbose debug debug2 debug3 debug4 debug5".split())


@rule("slurmdbd-mode", "error")
def slurmdbd_mode(candidate: Candidate) -> Iterator[Problem]:
    """No fatal: a copy, as of a repository, has other modes than the file that slurmdbd reads."""
    conf = candidate.conf("slurmdbd.conf")
    allowed = {0o600, 0o640} if at_least(candidate.release, _GROUP_MAY_READ) else {0o600}
    for file in conf.files if conf else ():
        stat = candidate.stats.get(file.path)
        if stat and stat.mode & 0o777 not in allowed:
            modes = " or ".join(f"{mode:o}" for mode in sorted(allowed))
            secret = ", and others can read the password in it" if _is_open(stat.mode, conf) else ""
            message = f"its mode is {stat.mode & 0o777:o}: slurmdbd stops at any but {modes}{secret}"
            yield Problem(At(file.path), message, f"chmod 600 {file.path}, owned by SlurmUser")


@rule("slurmdbd-storage-type", "fatal")
def slurmdbd_storage_type(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    pair = conf.get("StorageType") if conf else None
    if conf and not pair and not _is_part(conf):
        yield Problem(conf, "StorageType is not set", "StorageType=accounting_storage/mysql")
    elif pair and pair.value == f"{_TYPE}slurmdbd":
        message = f"StorageType={pair.value} is for slurm.conf; slurmdbd needs a database"
        yield Problem(pair, message, "StorageType=accounting_storage/mysql")
    elif pair and not _is_plugin(pair.value, _TYPE, candidate.release):
        message = f"StorageType={pair.value or '(empty)'}: slurmdbd finds no such plugin"
        yield Problem(pair, message, "StorageType=accounting_storage/mysql")


@rule("slurmdbd-auth-type", "fatal")
def slurmdbd_auth_type(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    pair = conf.get("AuthType") if conf else None
    if pair and pair.value:
        name = _auth(pair.value, candidate.release)
        if not _is_plugin(name, _AUTH, candidate.release):
            message = f"AuthType={pair.value}: slurmdbd finds no such plugin"
            if _is_plugin(f"{_AUTH}{name}", _AUTH, candidate.release):
                message += f"; before {_AUTH_BARE_SINCE} it must be written with auth/"
            yield Problem(pair, message, "AuthType=auth/munge, or what slurm.conf has")


@rule("slurmdbd-host-missing", "error")
def slurmdbd_host_missing(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    if conf and not _is_part(conf) and not conf.get("DbdHost"):
        yield Problem(conf, "DbdHost is not set, and localhost is taken", "DbdHost=, as hostname -s says it")


@rule("slurmdbd-purge", "fatal")
def slurmdbd_purge(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    for name in _PURGES if conf else ():
        pair = conf.get(f"Purge{name}After") if conf else None
        if pair and not _is_purge(pair.value):
            message = f"{pair.key}={pair.value} is no number with hours, days or months"
            yield Problem(pair, message, "such as 12months or 90days, without a space")


@rule("slurmdbd-debug-level", "fatal")
def slurmdbd_debug_level(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    for key in ("DebugLevel", "DebugLevelSyslog"):
        pair = conf.get(key) if conf else None
        if pair and pair.value.lower() not in _LEVELS and not pair.value[:1].isdecimal():
            yield Problem(pair, f"{pair.key}={pair.value} is no level", "info, verbose, debug, ... debug5")


@rule("slurmdbd-archive-idle", "warning")
def slurmdbd_archive_idle(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    if not conf or conf.partial:
        return
    for key, purge in _ARCHIVES.items():
        pair = conf.get(key)
        if pair and pair.value.lower() in YES and not conf.get(purge):
            yield Problem(pair, f"{pair.key}={pair.value} does nothing without {purge}", f"{purge}=12months")


@rule("slurmdbd-archive-in-tmp", "warning")
def slurmdbd_archive_in_tmp(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    if not conf or conf.partial or conf.get("ArchiveScript"):
        return
    place = conf.get("ArchiveDir")
    on = [pair for key in _ARCHIVES if (pair := conf.get(key)) and pair.value.lower() in YES]
    if on and conf.value("ArchiveDir", "/tmp").rstrip("/") in ("/tmp", "/var/tmp"):  # noqa: S108 - of the file
        message = f"what is purged is archived in {conf.value('ArchiveDir', '/tmp')}"  # noqa: S108
        yield Problem(
            place or on[0], message, "ArchiveDir=, a folder that stays and that slurmdbd can write to"
        )


@rule("slurmdbd-password-cut", "error")
def slurmdbd_password_cut(candidate: Candidate) -> Iterator[Problem]:
    conf = candidate.conf("slurmdbd.conf")
    texts = {file.path: file.text for file in conf.files} if conf else {}
    for line in conf.all("StoragePass") if conf else ():
        pair = line.pairs[0]
        if texts.get(pair.path, "")[pair.end : pair.end + 1] == "#":
            message = "StoragePass ends at the #, which begins a comment"
            yield Problem(pair, message, "a password without #")


@rule("slurmdbd-unused", "warning")
def slurmdbd_unused(candidate: Candidate) -> Iterator[Problem]:
    conf, slurm = candidate.conf("slurmdbd.conf"), candidate.slurm
    if conf and slurm and not slurm.partial and not slurm.uses_slurmdbd:
        message = "slurm.conf does not use slurmdbd: AccountingStorageType is not accounting_storage/slurmdbd"
        yield Problem(conf, message, "AccountingStorageType=accounting_storage/slurmdbd in slurm.conf")


@rule("slurmdbd-port-differs", "error")
def slurmdbd_port_differs(candidate: Candidate) -> Iterator[Problem]:
    both = _both(candidate)
    if not both:
        return
    slurm, conf = both
    theirs, ours = conf.number("DbdPort", _PORT), slurm.number("AccountingStoragePort", _PORT)
    pair = slurm.get("AccountingStoragePort") or conf.get("DbdPort")
    # 0 stands for the default.
    if pair and theirs is not None and ours is not None and (theirs or _PORT) != (ours or _PORT):
        message = f"slurmdbd listens on {theirs or _PORT}, and slurm.conf asks on {ours or _PORT}"
        yield Problem(pair, message, "DbdPort and AccountingStoragePort alike")


@rule("slurmdbd-host-differs", "warning")
def slurmdbd_host_differs(candidate: Candidate) -> Iterator[Problem]:
    """A warning, as both may be names of one machine."""
    both = _both(candidate)
    if not both:
        return
    slurm, conf = both
    asked = slurm.get("AccountingStorageHost")
    known = [conf.value(key).lower() for key in ("DbdHost", "DbdAddr", "DbdBackupHost") if conf.get(key)]
    if not asked or not known or _is_address(asked.value):
        return
    name = asked.value.lower()
    if _short(name) not in map(_short, known) and "localhost" not in (name, *known):
        message = f"{asked.key}={asked.value}, and DbdHost of slurmdbd.conf is {conf.value('DbdHost')}"
        yield Problem(asked, message, "the machine of slurmdbd in both")


@rule("slurmdbd-backup-unused", "warning")
def slurmdbd_backup_unused(candidate: Candidate) -> Iterator[Problem]:
    both = _both(candidate)
    pair = both[1].get("DbdBackupHost") if both else None
    if both and pair and not both[0].get("AccountingStorageBackupHost"):
        message = f"{pair.key}={pair.value}, but slurm.conf does not name it"
        yield Problem(pair, message, f"AccountingStorageBackupHost={pair.value} in slurm.conf")


@rule("slurmdbd-user-differs", "error")
def slurmdbd_user_differs(candidate: Candidate) -> Iterator[Problem]:
    both = _both(candidate)
    if not both:
        return
    slurm, conf = both
    controller, database = slurm.value("SlurmUser", "root"), conf.value("SlurmUser", "root")
    if _user(controller) not in ("root", _user(database)):
        message = f"slurmdbd takes {database} and root for SlurmUser, and slurmctld runs as {controller}"
        yield Problem(conf.get("SlurmUser") or conf, message, f"SlurmUser={controller} in both files")


@rule("slurmdbd-auth-differs", "error")
def slurmdbd_auth_differs(candidate: Candidate) -> Iterator[Problem]:
    both = _both(candidate)
    if not both:
        return
    slurm, conf = both
    ours, theirs = slurm.value("AuthType", "auth/munge"), conf.value("AuthType", "auth/munge")
    ours, theirs = _auth(ours, candidate.release), _auth(theirs, candidate.release)
    pair = conf.get("AuthType") or slurm.get("AuthType")
    if pair and ours.lower() != theirs.lower():
        others = f"{slurm.value('AuthAltTypes')},{conf.value('AuthAltTypes')}".lower()
        if not any(word.lower().removeprefix(_AUTH) in others for word in (ours, theirs)):
            message = f"AuthType is {ours} in slurm.conf and {theirs} in slurmdbd.conf"
            yield Problem(pair, message, "the same in both files")


@rule("slurmdbd-wckeys-differ", "error")
def slurmdbd_wckeys_differ(candidate: Candidate) -> Iterator[Problem]:
    both = _both(candidate)
    if not both:
        return
    slurm, conf = both
    pair = slurm.get("TrackWCKey")
    if pair and pair.value.lower() in YES and conf.value("TrackWCKey").lower() not in YES:
        message = "slurm.conf tracks wckeys, and slurmdbd.conf does not: they are not stored"
        yield Problem(pair, message, "TrackWCKey=yes in slurmdbd.conf")


def _both(candidate: Candidate) -> tuple[Conf, Conf] | None:
    """slurm.conf and slurmdbd.conf, where the one uses the other and both are whole."""
    slurm, conf = candidate.slurm, candidate.conf("slurmdbd.conf")
    if not slurm or not conf or slurm.partial or conf.partial or not slurm.uses_slurmdbd:
        return None
    return slurm, conf


def _is_part(conf: Conf) -> bool:
    """Whether keys may stand elsewhere: an Include was not there, or this is what another file includes."""
    return conf.partial or conf.kind not in os.path.basename(conf.path).lower()


def _is_open(mode: int, conf: Conf | None) -> bool:
    pair: Pair | None = conf.get("StoragePass") if conf else None
    return bool(mode & 0o004 and pair and pair.value)


def _is_plugin(text: str, prefix: str, release: str) -> bool:
    """Whether a release has a plugin of that whole name, case and all."""
    return text.startswith(prefix) and text.removeprefix(prefix) in plugins(prefix[:-1], release)


def _auth(text: str, release: str) -> str:
    """AuthType as the release takes it: the later ones put auth/ before what has it not."""
    return text if text.startswith(_AUTH) or not at_least(release, _AUTH_BARE_SINCE) else f"{_AUTH}{text}"


def _is_purge(text: str) -> bool:
    match = _PURGE.fullmatch(text)
    return bool(match) and any(unit.startswith(match[1].lower()) for unit in _UNITS if match)


def _is_address(text: str) -> bool:
    return ":" in text or re.fullmatch(r"[0-9.]+", text) is not None


def _short(name: str) -> str:
    return name.partition(".")[0]


def _user(name: str) -> str:
    return "root" if name == "0" else name
