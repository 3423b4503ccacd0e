"""Judgments about this machine: Python, torch, container runtimes, folders. Only looks are taken."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpctools.doctor.check import OK, PROBLEM, WARNING, Answer, Check

# Container runtimes by the word that runs them; all of them understand --version.
RUNTIMES = ("apptainer", "singularity", "enroot", "podman")

# Kinds of file systems that only this machine sees (proc_filesystems(5)).
LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "bcachefs"}
)

GIB = 1024**3
# What torch's log files and a first small checkpoint take.
LEAST_FREE = GIB

TORCH = (
    "import importlib.metadata as m, sys\n"
    "print(sys.version.split()[0])\n"
    "print(next((d.version for d in m.distributions(name='torch')), ''))\n"
)


def python(version: str = sys.version.split()[0], executable: str = sys.executable) -> Check:
    """The Python that hpctools itself runs with."""
    return Check("Python", OK, f"{version} ({executable})")


def torch(answer: Answer, interpreter: str) -> Check:
    """torch is installed where a job's Python would find it; answer: what TORCH printed."""
    name = "torch"
    if answer.error:
        advice = "name the Python of your jobs with --python or in hpctools.yaml"
        return Check(name, WARNING, f"{interpreter}: {answer.error.splitlines()[-1]}", advice)
    version, _, rest = answer.text.partition("\n")
    if rest.strip():
        return Check(name, OK, f"{rest.strip()} (Python {version}, {interpreter})")
    advice = "jobs with torch need it there, or another Python (--python)"
    return Check(name, WARNING, f"not installed for {interpreter} (Python {version})", advice)


def containers(versions: Mapping[str, Answer], srun_help: Answer) -> Check:
    """Something runs images, on this machine at least."""
    name = "containers"
    found = [_version(word, answer.text) for word, answer in versions.items() if not answer.error]
    # Pyxis adds its options to srun's own help (a SPANK plugin).
    if "--container-image" in srun_help.text:
        found.append("pyxis")
    if found:
        return Check(name, OK, ", ".join(found))
    advice = "only jobs that start one themselves need it; the nodes may have what is not here"
    return Check(name, WARNING, f"none of {', '.join(RUNTIMES)}, pyxis here", advice)


def _version(word: str, text: str) -> str:
    match = re.search(r"\d+(\.\d+)+\S*", text)
    return f"{word} {match[0]}" if match else word


def since_boot(uptime: str, hostname: str, cpus: int) -> Check:
    """Which machine this is; uptime: the text of /proc/uptime."""
    try:
        minutes = int(float(uptime.split()[0])) // 60
    except (IndexError, ValueError):
        return Check("machine", OK, f"{hostname}, {cpus} CPUs")
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    up = f"{days} days {hour} h" if days else f"{hour} h {minute} min"
    return Check("machine", OK, f"{hostname}, {cpus} CPUs, {up} since boot")


def folder(parent: Path, mounts: str, all_nodes_here: bool | None) -> Check:
    """Run folders can be made in parent, where every node sees them. mounts: /proc/self/mounts.

    all_nodes_here: whether each node of the cluster is this machine; None when that is unknown.
    Raises OSError when it cannot be looked at.
    """
    name = "run folders"
    there = existing(parent)
    kind = file_system(there, mounts)
    where = f"{parent.absolute()} on {kind}"
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            name, PROBLEM, f"{where}: not writable", "submit from a folder of yours that all nodes see"
        )
    free = os.statvfs(there)
    free_bytes = free.f_bavail * free.f_frsize
    if free_bytes < LEAST_FREE or (free.f_files and free.f_favail < 1000):
        found = f"{where}: {free_bytes / GIB:.1f} GiB and {free.f_favail} files free"
        return Check(name, PROBLEM if free_bytes < GIB // 100 else WARNING, found, "make room")
    mode = there.stat().st_mode
    found = f"{where}, {free_bytes // GIB} GiB free"
    if mode & 0o002 and not mode & 0o1000:
        return Check(name, WARNING, f"{found}; everybody may write there", f"chmod o-w {there}")
    if kind in LOCAL and all_nodes_here is False:
        advice = "the nodes must see the run folder: submit from a shared file system"
        return Check(name, WARNING, f"{found}: only this machine sees it", advice)
    return Check(name, OK, found)


def existing(path: Path) -> Path:
    """path itself, or the nearest folder above it that is there."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that path lies on, from the text of /proc/self/mounts (fstab(5))."""
    best, kind = "", "an unknown file system"
    wanted = os.path.realpath(path)
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        # Blanks and backslashes of names are written in octal there.
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def state_folder(path: Path) -> Check:
    """Records of submissions can be kept."""
    there = existing(path)
    if os.access(there, os.W_OK | os.X_OK):
        return Check("records", OK, str(path))
    advice = (
        "set XDG_STATE_HOME to a folder of yours: without records no submission is safe from being doubled"
    )
    return Check("records", PROBLEM, f"{path}: not writable", advice)


def all_here(addresses: Sequence[str], hostname: str) -> bool | None:
    """Whether each node's address is this machine's own; None when no address is known."""
    if not addresses:
        return None
    mine = {hostname, hostname.split(".")[0], "localhost", "::1"}
    return all(address in mine or address.startswith("127.") for address in addresses)
