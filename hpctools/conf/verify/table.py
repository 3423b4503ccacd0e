"""Which keys are replaced, and by what: the fixed list.

A value is replaced, never its key, so that the daemons still judge the key; where nothing can stand in
its place it is left out. Plugins are replaced only where the release has them: a name that is wrong
stays, and is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hpctools.conf.verify.ground import Ground
from hpctools.slurm import releases
from hpctools.slurm.units import NO, YES

# Exists everywhere, and succeeds.
TRUE = "/bin/true"
# The result of a Rule that takes the key out.
LEFT_OUT = ""

New = Callable[[str, Ground], str | None]


@dataclass(frozen=True)
class Rule:
    """new: the value in the place of the candidate's, LEFT_OUT, or None where it may stay.

    default: what the daemons take where the key is missing, if that has to be replaced, too.
    for_nodes: only needed where slurmd runs; the controller alone is booted with the candidate's own.
    """

    kind: str
    new: New
    default: str | None = None
    for_nodes: bool = False


def _text(text: str) -> New:
    return lambda value, ground: None if value == text else text


def _made(make: Callable[[Ground], str]) -> New:
    return lambda value, ground: make(ground)


def _plugin(kind: str, new: str) -> New:
    """kind/new for any plugin of this kind that the release has. Without kind/ the daemons refuse a name
    (plugin_context_create of plugin.c)."""

    def replaced(value: str, ground: Ground) -> str | None:
        known = releases.plugins(kind, ground.release) - {"none", new, "common"}
        return f"{kind}/{new}" if value in {f"{kind}/{name}" for name in known} else None

    return replaced


def _plugins(kind: str, new: str = "") -> New:
    """kind/new, or nothing, for a list of such plugins, with kind/ or without."""

    def replaced(value: str, ground: Ground) -> str | None:
        names = {_short(kind, word, ground) for word in value.split(",")}
        if names <= {"none", new} or not names <= releases.plugins(kind, ground.release) - {"common"}:
            return None
        return f"{kind}/{new}" if new else LEFT_OUT

    return replaced


def _short(kind: str, word: str, ground: Ground) -> str:
    """The name of a plugin without kind/; before 23.11 (auth.c) auth/ could not be left out."""
    if kind == "auth" and not word.startswith("auth/") and not releases.at_least(ground.release, "23.11"):
        return f"{word}/"
    return word.removeprefix(f"{kind}/")


def _boolean(text: str) -> New:
    """text for what s_p_handle_boolean of parse_value.c takes."""
    return lambda value, ground: text if value.lower() in YES | NO and value != text else None


def _port(number: Callable[[Ground], int], *, several: bool = False) -> New:
    pattern = re.compile(r"\d+(?:-\d+)?" if several else r"\d+")
    return lambda value, ground: str(number(ground)) if not value or pattern.fullmatch(value) else None


def _tasks(value: str, ground: Ground) -> str | None:
    """TaskPlugin without what confines: task.c takes its names with task/ or without, in small letters."""
    words = value.split(",")
    kept = [word for word in words if word.removeprefix("task/") not in ("cgroup", "affinity")]
    return None if kept == words else ",".join(kept) or "task/none"


def _cgroup_plugin(value: str, ground: Ground) -> str | None:
    """22.05 and 23.02 cannot do without a plugin, but use none where nothing is confined."""
    optional = releases.at_least(ground.release, "23.11")
    plugins = releases.plugins("cgroup", ground.release) - {"common"}
    valid = {f"cgroup/{name}" for name in plugins} | {"autodetect"} | ({"disabled"} if optional else set())
    return ("disabled" if optional else "autodetect") if value in valid else None


def _authentication(value: str, ground: Ground) -> str | None:
    """Whoever else would vouch for users: no key of the site's is here, and none is no answer to munge."""
    name = _short("auth", value, ground)
    return "auth/munge" if name in releases.plugins("auth", ground.release) - {"munge", "common"} else None


def _credentials(value: str, ground: Ground) -> str | None:
    """CredType, for which any of slurm, cred/slurm and auth/slurm may stand since 23.11 (cred.c)."""
    names = {f"cred/{name}" for name in releases.plugins("cred", ground.release)} - {"cred/munge"}
    if releases.at_least(ground.release, "23.11"):
        names |= {"slurm", "cred/slurm", "auth/slurm"}
    return "cred/munge" if value in names else None


def _only_gone(kind: str) -> New:
    """The words of a list that no longer are plugins of the release: what it has is left out."""

    def replaced(value: str, ground: Ground) -> str | None:
        gone = [
            word
            for word in value.split(",")
            if (last := releases.plugin_last_release(kind, word.removeprefix(f"{kind}/")))
            and not releases.at_least(last, ground.release)
        ]
        return None if ",".join(gone) == value else ",".join(gone)

    return replaced


def _without(*unwanted: str, add: tuple[str, ...] = ()) -> New:
    """The words of a list without some, with others added."""

    def replaced(value: str, ground: Ground) -> str | None:
        words = [word for word in value.split(",") if word]
        kept = [word for word in words if word.lower() not in unwanted]
        kept += [word for word in add if word not in kept]
        # With a quote that is not closed the value is wrong, and cannot be written with more words.
        return None if kept == words or '"' in value else ",".join(kept)

    return replaced


def _level(value: str, ground: Ground) -> str | None:
    """Errors must be seen, and debug3 of 10,000 nodes takes minutes to write."""
    quiet_or_loud = {"quiet", "fatal", "0", "1"} | {f"debug{n}" for n in range(2, 6)} | set("6789")
    return "info" if value.lower() in quiet_or_loud else None


def _silent(value: str, ground: Ground) -> str | None:
    """Nothing to syslog, for any level that there is (log_string2num of log.c)."""
    levels = {"quiet", "fatal", "error", "info", "verbose", "debug", *(f"debug{n}" for n in range(2, 6))}
    return "quiet" if value.lower() in levels - {"quiet"} or value.isdecimal() else None


def _container(value: str, ground: Ground) -> str | None:
    """JobContainerType, which since 25.11 names the plugins of NamespaceType."""
    kinds = ("job_container", "namespace")
    known = {f"job_container/{name}" for kind in kinds for name in releases.plugins(kind, ground.release)}
    return "job_container/none" if value in known - {"job_container/none"} else None


def _job_completion(value: str, ground: Ground) -> str | None:
    """A text file may stay (its path is replaced); what writes elsewhere may not."""
    known = releases.plugins("jobcomp", ground.release) - {"none", "filetxt", "common"}
    return "jobcomp/none" if value in {f"jobcomp/{name}" for name in known} else None


def _munge(value: str, ground: Ground) -> str:
    """AuthInfo: our munged's socket; how long a credential lives may stay."""
    kept = [word for word in value.split(",") if word.startswith(("ttl=", "cred_expire="))]
    return ",".join([f"socket={ground.munge_socket}", *kept])


_LOOPBACK = _without("disableipv4", "enableipv6", add=("NoCtldInAddrAny", "NoInAddrAny"))
_AUTHENTICATION = {
    "AuthType": Rule("authentication", _authentication),
    "AuthInfo": Rule("authentication", _munge, default=""),
    "AuthAltTypes": Rule("authentication", _plugins("auth")),
    "AuthAltParameters": Rule("authentication", _text(LEFT_OUT)),
    "TLSType": Rule("authentication", _plugin("tls", "none")),
    "TLSParameters": Rule("authentication", _text(LEFT_OUT)),
    "CommunicationParameters": Rule("addresses", _LOOPBACK, default=""),
    "SlurmUser": Rule("users", _made(lambda ground: ground.user), default="root"),
    # Where plugins lie is the installation's affair; another release's cannot be used.
    "PluginDir": Rule("paths", _text(LEFT_OUT)),
}

SLURM: Mapping[str, Rule] = {
    **_AUTHENTICATION,
    "ControlMachine": Rule("hosts", _made(lambda ground: ground.host)),
    "ControlAddr": Rule("addresses", _made(lambda ground: ground.address)),
    "BackupController": Rule("hosts", _text(LEFT_OUT)),
    "BackupAddr": Rule("addresses", _text(LEFT_OUT)),
    "SlurmctldAddr": Rule("addresses", _made(lambda ground: ground.address)),
    "SlurmctldPort": Rule("ports", _port(lambda ground: ground.ports["slurmctld"], several=True), default=""),
    "SlurmdUser": Rule("users", _made(lambda ground: ground.user), default="root"),
    "UsePAM": Rule("users", _boolean("0"), for_nodes=True),
    "DisableRootJobs": Rule("users", _boolean("NO"), for_nodes=True),
    "StateSaveLocation": Rule("paths", _made(lambda ground: ground.state), default=""),
    "SlurmctldPidFile": Rule("paths", _made(lambda ground: f"{ground.run}/slurmctld.pid"), default=""),
    "SlurmctldLogFile": Rule("paths", _made(lambda ground: f"{ground.log}/slurmctld/log"), default=""),
    "SlurmdPidFile": Rule("paths", _made(lambda ground: f"{ground.run}/%n.pid"), default=""),
    "SlurmdLogFile": Rule("paths", _made(lambda ground: f"{ground.log}/slurmd-%n/log"), default=""),
    "SlurmdSpoolDir": Rule("paths", _made(lambda ground: f"{ground.spool}/%n"), default=""),
    "SlurmSchedLogFile": Rule("paths", _made(lambda ground: f"{ground.log}/slurmctld/sched")),
    "SlurmctldDebug": Rule("paths", _level),
    "SlurmdDebug": Rule("paths", _level),
    "SlurmctldSyslogDebug": Rule("paths", _silent),
    "SlurmdSyslogDebug": Rule("paths", _silent),
    "TmpFS": Rule("paths", _text("/tmp"), for_nodes=True),  # noqa: S108 - Slurm's own default
    "JobCompLoc": Rule("paths", _made(lambda ground: f"{ground.log}/jobcomp")),
    "JobCompType": Rule("database", _job_completion),
    "MailProg": Rule("paths", _text(TRUE), default=""),
    "CredType": Rule("authentication", _credentials),
    "CertmgrType": Rule("authentication", _plugins("certmgr")),
    "CertmgrParameters": Rule("authentication", _text(LEFT_OUT)),
    "CertgenType": Rule("authentication", _plugins("certgen")),
    "CertgenParameters": Rule("authentication", _text(LEFT_OUT)),
    # pgid, since linuxproc is refused together with PrologFlags=X11.
    "ProctrackType": Rule("cgroup", _plugin("proctrack", "pgid"), default="proctrack/cgroup", for_nodes=True),
    "TaskPlugin": Rule(
        "cgroup",
        _tasks,
        for_nodes=True,
    ),
    "JobAcctGatherType": Rule("cgroup", _plugin("jobacct_gather", "linux"), for_nodes=True),
    "JobContainerType": Rule("paths", _container, for_nodes=True),
    "NamespaceType": Rule("paths", _plugin("namespace", "none"), for_nodes=True),
    **{
        key: Rule("prologs", _text(TRUE))
        for key in (
            "Prolog Epilog PrologSlurmctld EpilogSlurmctld TaskProlog TaskEpilog SrunProlog SrunEpilog "
            "HealthCheckProgram RebootProgram ResumeProgram ResumeFailProgram SuspendProgram "
            "UnkillableStepProgram SlurmctldPrimaryOnProg SlurmctldPrimaryOffProg JobCompPassScript"
        ).split()
    },
    "PlugStackConfig": Rule("spank", _made(lambda ground: f"{ground.etc}/plugstack.conf")),
    "JobSubmitPlugins": Rule("job_submit", _only_gone("job_submit")),
    "CliFilterPlugins": Rule("job_submit", _text(LEFT_OUT)),
    # Each slurmd reads the files here, and 22.05's says so as an error where they could come from slurmctld.
    "SlurmctldParameters": Rule("paths", _without("enable_configless"), for_nodes=True),
    "SlurmdParameters": Rule("hardware", _without(add=("config_overrides",)), default="", for_nodes=True),
    "SwitchType": Rule("hardware", _plugin("switch", "none")),
    "NodeFeaturesPlugins": Rule("hardware", _only_gone("node_features")),
    "BurstBufferType": Rule("hardware", _only_gone("burst_buffer")),
    **{
        f"AcctGather{name}Type": Rule("hardware", make(f"acct_gather_{name.lower()}", "none"))
        for name, make in (
            ("Energy", _plugins),
            ("Interconnect", _plugins),
            ("Filesystem", _plugin),
            ("Profile", _plugin),
        )
    },
}
# Where accounting is by slurmdbd, which is the case in each of these.
ACCOUNTING: Mapping[str, Rule] = {
    "AccountingStorageHost": Rule("database", _made(lambda ground: ground.address), default=""),
    "AccountingStoragePort": Rule("database", _port(lambda ground: ground.ports["slurmdbd"]), default=""),
    "AccountingStoragePass": Rule("database", _made(lambda ground: ground.munge_socket), default=""),
    "AccountingStorageBackupHost": Rule("database", _text(LEFT_OUT)),
    "AccountingStorageExternalHost": Rule("database", _text(LEFT_OUT)),
}
PARTITION: Mapping[str, Rule] = {
    "AllocNodes": Rule("hosts", _text("ALL")),
    "AllowGroups": Rule("users", _made(lambda ground: ground.group)),
    "DisableRootJobs": Rule("users", _boolean("NO"), for_nodes=True),
}
POWER_ACTION: Mapping[str, Rule] = {"Program": Rule("prologs", _text(TRUE))}
SLURMDBD: Mapping[str, Rule] = {
    **_AUTHENTICATION,
    "DbdHost": Rule("hosts", _made(lambda ground: ground.host), default=""),
    "DbdAddr": Rule("addresses", _made(lambda ground: ground.address), default=""),
    "DbdBackupHost": Rule("hosts", _text(LEFT_OUT)),
    "DbdPort": Rule("ports", _port(lambda ground: ground.ports["slurmdbd"]), default=""),
    # "localhost" is the socket that MYSQL_UNIX_PORT names; the database has no TCP port.
    "StorageHost": Rule("database", _text("localhost"), default=""),
    "StorageUser": Rule("database", _text("root"), default=""),
    "StorageLoc": Rule("database", _text("slurm_acct_db")),
    **{
        key: Rule("database", _text(LEFT_OUT))
        for key in "StorageBackupHost StoragePort StoragePass StoragePassScript StorageParameters".split()
    },
    "LogFile": Rule("paths", _made(lambda ground: f"{ground.log}/slurmdbd/log"), default=""),
    "PidFile": Rule("paths", _made(lambda ground: f"{ground.run}/slurmdbd.pid"), default=""),
    "ArchiveDir": Rule("paths", _made(lambda ground: ground.run)),
    "ArchiveScript": Rule("prologs", _text(TRUE)),
    "DebugLevel": Rule("paths", _level),
    "DebugLevelSyslog": Rule("paths", _silent),
}
CGROUP: Mapping[str, Rule] = {
    "CgroupMountpoint": Rule("cgroup", _text(LEFT_OUT)),
    "CgroupAutomount": Rule("cgroup", _boolean("no")),
    "CgroupPlugin": Rule("cgroup", _cgroup_plugin, default="autodetect"),
    **{
        f"Constrain{name}": Rule("cgroup", _boolean("no"))
        for name in ("Cores", "Devices", "RAMSpace", "SwapSpace", "KmemSpace")
    },
}
