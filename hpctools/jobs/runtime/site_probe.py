"""Looks at a node for `hpctools site`: what it has, and whether it has what a site's file says.

    site_probe.py facts [PEER ...]   print, as one line of JSON, what tells of network, mounts and programs
    site_probe.py look               srun's task on each node: check what look.json beside this file names,
                                     and write look-NNN.json

The first comes to the node through srun's standard input; the second is a copy in a folder that all nodes
share. Any Python from 3.8 on and its standard library. Files of /sys and /proc are handed on as they are:
hpctools reads them where it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from typing import Any, Dict, Sequence

Record = Dict[str, Any]
OK, WARNING, BAD, SKIPPED = "ok", "warning", "bad", "skipped"
FILES = (
    "sys/class/infiniband/*/ports/*/link_layer",
    "sys/class/infiniband/*/ports/*/state",
    "sys/class/infiniband/*/ports/*/rate",
    "sys/class/infiniband/*/device/uevent",
    "sys/class/infiniband/*/device/numa_node",
    "sys/class/net/*/operstate",
    "sys/class/net/*/speed",
    "sys/class/net/*/type",
    "sys/class/net/*/device/uevent",
    "proc/self/limits",
    "proc/sys/kernel/hostname",
    "proc/sys/net/ipv4/ip_local_port_range",
)
FOLDERS = (
    "sys/class/infiniband/*/device/physfn",
    "sys/class/net/*/device/physfn",
    "sys/class/net/*/device/infiniband",
    "sys/class/net/*/device",
    "sys/class/net/*",
)
# Where modules are set up for a shell that is no login shell.
MODULES = ("/etc/profile.d/lmod.sh", "/etc/profile.d/z00_lmod.sh", "/etc/profile.d/modules.sh")
RUNTIMES = ("apptainer", "singularity", "enroot")
# Kinds of file systems that several nodes can have, as /proc/mounts names them.
SHARED = (
    "nfs",
    "lustre",
    "gpfs",
    "beegfs",
    "fhgfs",
    "weka",
    "ceph",
    "fuse.ceph",
    "panfs",
    "pvfs",
    "orangefs",
)
NVIDIA, DISPLAYS = "0x10de", ("0x0300", "0x0302")
TOOL_S = 20.0
IMAGE_S = 120.0  # an image on a cold file system
SIOCGIFADDR = 0x8915


def read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 18).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def said_by(words: Sequence[str], seconds: float = TOOL_S) -> str:
    """What a program prints. Raises OSError, SubprocessError."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace").strip()


# --- facts --------------------------------------------------------------------------------------


def facts(peers: Sequence[str], root: str = "/") -> Record:
    """Files by their path below root, and what only a program on the node can tell."""
    found = {}
    for pattern in FILES:
        for path in glob.glob(os.path.join(root, pattern)):
            found[os.path.relpath(path, root)] = read(path)
    folders = [one for pattern in FOLDERS for one in glob.glob(os.path.join(root, pattern))]
    return {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "files": found,
        "folders": sorted(os.path.relpath(one, root) for one in folders if os.path.isdir(one)),
        "places": places(root),
        "routes": {peer: route(peer) for peer in peers},
        "programs": programs(),
        "modules": [one for one in MODULES if os.path.exists(one)],
        "python": [sys.executable, version()],
        "shared": shared(read(os.path.join(root, "proc/mounts"))),
    }


def places(root: str) -> Record:
    """Where on PCI adapters and GPUs hang: the real path of their devices, adapters by name."""
    adapters = glob.glob(os.path.join(root, "sys/class/infiniband/*"))
    gpus = [
        os.path.realpath(device)
        for device in glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))
        if read(os.path.join(device, "vendor")) == NVIDIA
        and read(os.path.join(device, "class")).startswith(DISPLAYS)
    ]
    named = {os.path.basename(one): os.path.realpath(os.path.join(one, "device")) for one in adapters}
    return {"adapters": named, "gpus": sorted(gpus)}


def shared(text: str) -> list[Record]:
    """File systems of a network in /proc/mounts, and the folder there that this user can write, if any."""
    found = []
    for row in (line.split() for line in text.splitlines()):
        if len(row) > 2 and row[2].startswith(SHARED):
            place = row[1].replace("\\040", " ")  # as the kernel writes a blank
            below = [os.path.join(place, os.environ.get("USER", "")), place]
            own = [one for one in below if os.access(one, os.W_OK | os.X_OK)]
            found.append({"mount": place, "type": row[2], "own": own[0].rstrip("/") if own else ""})
    return found


def route(peer: str) -> list[str]:
    """The interface by which another node is reached, and its address; empty where it cannot be told."""
    try:
        address = socket.getaddrinfo(peer, 9, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect(address)  # sends nothing: the kernel only chooses the way
            own = asked.getsockname()[0]
            for _, name in socket.if_nameindex():
                if address_of(asked, name) == own:
                    return [name, own]
    except OSError:
        pass
    return []


def address_of(asked: socket.socket, interface: str) -> str:
    try:
        answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    except OSError:
        return ""
    return socket.inet_ntoa(answer[20:24])


def programs() -> Record:
    """Container runtimes with their versions; pyxis is a plugin that srun's help tells of."""
    found = {}
    for name in RUNTIMES:
        path = shutil.which(name)
        if path:
            try:
                found[name] = said_by([path, "version" if name == "enroot" else "--version"]).split("\n")[0]
            except (OSError, subprocess.SubprocessError) as error:
                found[name] = f"there, but it fails: {error}"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if "--container-image" in said_by(["srun", "--help"]):
            found["pyxis"] = "srun --container-image"
    return found


# --- look ---------------------------------------------------------------------------------------


def check(name: str, verdict: str, found: str, expected: str = "") -> Record:
    return {"name": name, "verdict": verdict, "found": found, "expected": expected}


def looks(wanted: Record) -> list[Record]:
    """Every check of one node. wanted: what the site's file says, from look.json."""
    found = [check("python", OK, f"{sys.executable}, {version()}")]
    found += [bind(one) for one in wanted["binds"]]
    found += [folder(*one) for one in sorted(wanted["folders"].items())]
    found += [image(one, wanted["runtime"], wanted["options"]) for one in wanted["images"]]
    found.append(ports(*wanted["ports"]))
    return found


def bind(path: str) -> Record:
    there = os.path.exists(path)
    return check("bind", OK if there else BAD, f"{path} is {'there' if there else 'not there'}")


def folder(name: str, path: str) -> Record:
    """A folder of the site's variables: there; scratch can be written, too."""
    if not os.path.isdir(path):
        return check(name, BAD, f"{path} is {'no folder' if os.path.exists(path) else 'not there'}")
    # Many sites give each user a folder below it, and it is root's.
    below = [path, os.path.join(path, os.environ.get("USER", ""))]
    for one in below if name == "scratch" else []:
        probe = os.path.join(one, f".hpctools-site-{socket.gethostname()}-{os.getpid()}")
        with contextlib.suppress(OSError):
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            os.unlink(probe)
            return check(name, OK, f"{one} can be written")
    if name == "scratch":
        return check(name, BAD, f"neither {path} nor {below[1]} can be written")
    return check(name, OK, f"{path} is there")


def image(path: str, runtime: str, options: Sequence[str]) -> Record:
    """An image that is a file: readable, and with Apptainer it starts and has a Python that will do."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:  # a folder, too: submit takes files
        return check("image", BAD, f"{path}: {error.strerror}")
    if runtime not in ("apptainer", "singularity"):
        return check("image", OK, f"{path} can be read")
    words = [
        runtime,
        "exec",
        *options,
        path,
        "python3",
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])",
    ]
    try:
        said = said_by(words, IMAGE_S).split("\n")[-1]
    except subprocess.CalledProcessError as error:
        last = (error.output or b"").decode("utf-8", "replace").strip().split("\n")[-1]
        return check("image", BAD, f"{path}: {runtime} exec ends with {error.returncode}: {last}")
    except (OSError, subprocess.SubprocessError) as error:
        return check("image", BAD, f"{path}: {error}")
    old = tuple(map(int, said.split("."))) < (3, 8) if said.replace(".", "").isdigit() else False
    return check("image", BAD if old else OK, f"{path} starts, with Python {said}", "3.8" if old else "")


def ports(first: int, last: int) -> Record:
    """How many of a range can be listened on, and whether Linux takes its own from it."""
    free = 0
    for port in range(first, last + 1):
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("", port))
            free += 1
    found = f"{free} of {last - first + 1} ports {first}-{last} are free"
    lowest, highest = (read("/proc/sys/net/ipv4/ip_local_port_range").split() + ["65536", "0"])[:2]
    if not free:
        return check("ports", BAD, found)
    if first <= int(highest) and int(lowest) <= last:
        return check("ports", WARNING, f"{found}; Linux takes {lowest}-{highest} for outgoing connections")
    return check("ports", OK if free > (last - first) // 2 else WARNING, found)


def look() -> int:
    """Check, and write what was found beside this file: written under another name, then renamed."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "look.json"), encoding="utf-8") as file:
        wanted = json.load(file)
    try:
        checks = looks(wanted)
    except Exception as error:  # whatever is wrong here shall be heard
        checks = [check("look", BAD, f"{type(error).__name__}: {error}")]
    number = os.environ.get("SLURM_NODEID", "0")
    path = os.path.join(here, f"look-{int(number):03d}.json")
    beside = f"{path}.{os.getpid()}.tmp"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"node": int(number), "checks": checks, "facts": facts([])}, file)
    os.replace(beside, path)
    return 0


def main(words: Sequence[str]) -> int:
    if words[:1] == ["facts"]:
        print("hpctools-facts", json.dumps(facts(words[1:])), flush=True)
        return 0
    if list(words) == ["look"]:
        return look()
    print("site_probe.py facts [PEER ...] | look", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
