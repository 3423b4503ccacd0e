"""Judgments about Slurm, from what its commands say. Nothing is run here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from hpctools.doctor.check import OK, PROBLEM, WARNING, Answer, Check
from hpctools.jobs import clusters
from hpctools.slurm.sinfo import NodeGroup

RELEASES = ("22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11", "26.05")

DEFAULT_CONF = "/etc/slurm/slurm.conf"
# What every command of Slurm's, even with --version, says without slurm.conf.
NO_CONFIGURATION = ("Could not establish a configuration source", "cannot stat file")
NO_SLURM = "install Slurm's commands, or bring up a cluster: hpctools sandbox up; or submit with --local"


def release(text: str) -> str:
    """The release in what `sbatch --version` prints: "22.05.8" of "slurm-wlm 22.05.8"; else ""."""
    match = re.search(r"\b(\d\d\.\d\d)(\.\S+)?", text)
    return match[0] if match else ""


def commands(version: Answer) -> Check:
    """Slurm's commands are here, of a release that hpctools knows."""
    name = "Slurm's commands"
    found = release(version.text)
    if any(phrase in version.error for phrase in NO_CONFIGURATION):
        return Check(name, OK, "here; which release they tell only with a configuration")
    if version.error:
        return Check(name, PROBLEM, last_line(version.error), NO_SLURM)
    if found[:5] not in RELEASES:
        known = f"{RELEASES[0]} to {RELEASES[-1]}"
        return Check(name, WARNING, version.text.strip(), f"hpctools knows Slurm {known}; others may differ")
    return Check(name, OK, found)


def last_line(error: str) -> str:
    """The last line of what a command said, without the command's name."""
    lines = error.strip().splitlines() or ["no message"]
    return lines[-1].split("error: ")[-1].split("fatal: ")[-1]


def conf(environ: Mapping[str, str], config: Mapping[str, str]) -> Check:
    """Slurm's commands find their configuration."""
    name = "slurm.conf"
    given = environ.get("SLURM_CONF", "")
    used = config.get("SLURM_CONF", "")
    if missing := clusters.missing(environ):
        return Check(name, PROBLEM, f"SLURM_CONF names {missing}, which is no file", NO_SLURM)
    if given:
        return Check(name, OK, f"{given} (SLURM_CONF)")
    if used:
        return Check(name, OK, used)
    if os.path.isfile(DEFAULT_CONF):
        return Check(name, OK, DEFAULT_CONF)
    return Check(name, PROBLEM, f"no SLURM_CONF, no {DEFAULT_CONF}", NO_SLURM)


def controller(ping: Answer, config: Mapping[str, str], version: Answer) -> Check:
    """slurmctld answers, and is of the commands' release."""
    name = "slurmctld"
    lines = [line for line in ping.text.splitlines() if line.startswith("Slurmctld")]
    up = [line for line in lines if line.endswith(" is UP")]
    if not up:
        found = "; ".join(lines) or last_line(ping.error)
        return Check(
            name, PROBLEM, found, "ask who runs the cluster; for one of your own: hpctools sandbox up"
        )
    if not config:
        return Check(name, PROBLEM, f"{up[0]}, but its configuration could not be read", _AUTH)
    cluster, its = config.get("ClusterName", "?"), config.get("SLURM_VERSION", "")
    found = f"cluster {cluster}, {its}, {up[0].split(' is ')[0].removeprefix('Slurmctld')} answers"
    if len(up) < len(lines):
        down = "; ".join(line for line in lines if line not in up)
        return Check(name, WARNING, f"{found}; {down}", "tell who runs the cluster")
    # slurm.conf(5), upgrades: a controller serves commands up to two (24.11: three) releases older.
    if its[:5] < release(version.text)[:5]:
        return Check(
            name, PROBLEM, found, f"the commands here are newer ({release(version.text)}): use older ones"
        )
    return Check(name, OK, found)


_AUTH = "the usual cause is authentication: see munge below"


def munge(config: Mapping[str, str], credential: Answer, decoded: Answer) -> Check:
    """munged makes credentials and reads them."""
    name = "munge"
    kind = config.get("AuthType", "auth/munge")
    if kind != "auth/munge":
        return Check(name, OK, f"not used here: AuthType={kind}")
    error = credential.error or decoded.error
    if not error:
        return Check(name, OK, "a credential was made and read again")
    advice = "start munged (systemctl start munge); all machines of the cluster need the same key and time"
    return Check(name, PROBLEM, last_line(error), advice)


def munge_socket(config: Mapping[str, str], conf_text: str) -> str | None:
    """munged's socket, if Slurm's AuthInfo names one: in the controller's answer, else in slurm.conf."""
    said = config.get("AuthInfo", "")
    if not config and (
        match := re.search(r"^\s*AuthInfo\s*=\s*(\S+)", conf_text, re.MULTILINE | re.IGNORECASE)
    ):
        said = match[1]
    match = re.search(r"(?:^|,)socket=([^,\s]+)", said)
    return match[1] if match else None


def accounting(config: Mapping[str, str], associations: Answer, user: str) -> Check:
    """slurmdbd answers, and the user may charge an account."""
    name = "accounting"
    kind = config.get("AccountingStorageType", "")
    if "slurmdbd" not in kind:
        advice = "jobs run; GPU-hours and old jobs are known only from hpctools' own records"
        return Check(name, WARNING, f"AccountingStorageType={kind or '(null)'}", advice)
    if associations.error:
        advice = "jobs run; GPU-hours come when slurmdbd is back: tell who runs the cluster"
        return Check(name, WARNING, last_line(associations.error), advice)
    accounts = sorted({line.split("|")[0] for line in associations.text.splitlines() if line.split("|")[0]})
    if accounts:
        return Check(name, OK, f"slurmdbd answers; accounts of {user}: {', '.join(accounts)}")
    # "all" sets associations, too (slurm.conf(5) AccountingStorageEnforce).
    enforced = re.search(r"associations|limits|qos|all|safe", config.get("AccountingStorageEnforce", ""))
    verdict = PROBLEM if enforced else WARNING
    advice = f"an administrator adds you: sacctmgr add user {user} account=ACCOUNT"
    return Check(name, verdict, f"slurmdbd answers; {user} has no account on this cluster", advice)


def nodes(groups: Sequence[NodeGroup]) -> Check:
    """There are nodes that take jobs."""
    name = "nodes"
    # A node stands in a group for each of its partitions: partitions are not added up.
    parts = sorted({group.partition for group in groups})
    counts = {part: _usable(groups, part) for part in parts}
    said = ", ".join(f"{part}: {usable} of {total}" for part, (usable, total) in counts.items())
    if not said:
        return Check(name, PROBLEM, "no partition with nodes is open to you", "ask who runs the cluster")
    if not any(usable for usable, _ in counts.values()):
        advice = "sinfo -R says why; for a sandbox: hpctools sandbox heal"
        return Check(name, PROBLEM, f"none takes jobs ({said})", advice)
    if any(usable == 0 for usable, _ in counts.values()):
        return Check(name, WARNING, f"take jobs: {said}", "sinfo -R says why nodes are down or drained")
    return Check(name, OK, f"take jobs: {said}")


def _usable(groups: Sequence[NodeGroup], partition: str) -> tuple[int, int]:
    mine = [group for group in groups if group.partition == partition]
    return sum(group.nodes for group in mine if group.usable), sum(group.nodes for group in mine)


def gpus(config: Mapping[str, str], groups: Sequence[NodeGroup]) -> Check:
    """Nodes have GPUs that Slurm hands out and counts."""
    name = "GPUs"
    kinds: dict[str, int] = {}
    for group in groups:
        for gres in group.gres:
            if gres.name == "gpu":
                label = f"{gres.count} {gres.type or 'GPU'} a node"
                kinds[label] = max(kinds.get(label, 0), group.nodes)
    if "gpu" not in config.get("GresTypes", "").split(","):
        advice = "slurm.conf needs GresTypes=gpu and nodes with Gres=gpu:...; jobs without GPUs run"
        return Check(name, WARNING, "Slurm knows no GPUs here (GresTypes)", advice)
    if not kinds:
        advice = "nodes need Gres=gpu:... in slurm.conf and gres.conf"
        return Check(name, WARNING, "no node has GPUs that Slurm knows", advice)
    found = "; ".join(sorted(kinds))
    if "gres/gpu" not in config.get("AccountingStorageTRES", "").split(","):
        advice = "GPU-hours are not accounted: slurm.conf needs AccountingStorageTRES=gres/gpu"
        return Check(name, WARNING, f"{found}; not tracked", advice)
    return Check(name, OK, f"{found}; GPU-hours are accounted")


def memlock(config: Mapping[str, str], here_bytes: int | None) -> Check:
    """Jobs may lock memory, which InfiniBand and other RDMA need. here_bytes: None for unlimited."""
    name = "locked memory"
    here = "unlimited" if here_bytes is None else f"{here_bytes // 1024} KiB"
    taken_along = config.get("PropagateResourceLimits", "ALL").upper()
    kept = config.get("PropagateResourceLimitsExcept", "").upper()
    if "MEMLOCK" in kept or "ALL" in kept or taken_along == "NONE":
        return Check(name, OK, "each node's own limit holds (LimitMEMLOCK of slurmd's unit)")
    if here_bytes is None or ("ALL" not in taken_along and "MEMLOCK" not in taken_along):
        return Check(name, OK, f"{here} here")
    advice = (
        "InfiniBand and other RDMA fail with it: an administrator sets PropagateResourceLimitsExcept=MEMLOCK"
        " and LimitMEMLOCK=infinity for slurmd, or you submit after ulimit -l unlimited"
    )
    return Check(name, WARNING, f"{here} here, and Slurm takes this limit along to the nodes", advice)
