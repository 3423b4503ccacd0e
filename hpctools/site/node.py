"""What the probe told of a node: adapters, interfaces, programs, shared folders, and the fabric they make.

The probe hands on files of /sys; they are read by the reader that the inventory has for a node's own, from
a copy of the tree.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from hpctools.errors import ParseError
from hpctools.inventory import nodes, sysfs
from hpctools.inventory.report import Nic
from hpctools.jobs.fabric import TCP

MARK = "hpctools-facts "
# What has no way to other nodes, or is a part of what has: bridges, tunnels, a BMC's USB.
_LOCAL = (
    "lo",
    "docker",
    "br-",
    "virbr",
    "veth",
    "cni",
    "flannel",
    "cali",
    "usb",
    "dummy",
    "ifb",
    "tun",
    "tap",
)


@dataclass(frozen=True)
class Shared:
    """A file system of a network: where it is mounted, its type, the folder in it that the user can write.

    here: whether it is mounted where jobs are submitted, too.
    """

    mount: str
    type: str
    own: str
    here: bool = True


@dataclass(frozen=True)
class Node:
    """A node as a job sees it.

    nics: adapters with RDMA. links: interfaces that are up, by name, with their speed in Mbit/s (None:
    unknown). routes: the interface to each other node that was asked for. memlock_kb: None is unlimited.
    programs: container runtimes with their versions. modules: the file that sets up modules, or "".
    """

    name: str
    nics: tuple[Nic, ...]
    links: Mapping[str, int | None]
    routes: Mapping[str, str]
    memlock_kb: int | None
    programs: Mapping[str, str]
    modules: str
    python: tuple[str, str]
    shared: tuple[Shared, ...]

    @property
    def kind(self) -> str:
        """The fabric that a job would use: of the adapters near the GPUs, else of the fastest, else TCP."""
        return next((nic.kind for nic in self.compute), TCP)

    @property
    def compute(self) -> tuple[Nic, ...]:
        """The adapters of the fabric: those that hang with GPUs on PCIe switches, else the fastest."""
        return nodes.adapters(self.nics)

    @property
    def others(self) -> tuple[Nic, ...]:
        """Adapters that are not of the fabric."""
        return tuple(nic for nic in self.nics if nic not in self.compute)

    @property
    def route(self) -> str:
        """The interface by which it reaches all the others; "" where there is not one."""
        found = set(self.routes.values()) - {"lo"}
        return found.pop() if len(found) == 1 else ""

    @property
    def shared_mounts(self) -> tuple[str, ...]:
        """Where file systems of a network are mounted."""
        return tuple(one.mount for one in self.shared)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Interfaces that are up and lead out of the node."""
        return tuple(name for name in self.links if not name.startswith(_LOCAL))


def parse(text: str) -> Node:
    """The node of what the probe printed; a site's prolog may have printed more. Raises ParseError."""
    line = next((one for one in reversed(text.splitlines()) if one.startswith(MARK)), "")
    try:
        return of_facts(json.loads(line.removeprefix(MARK)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParseError("what the probe of a node prints", text[-200:]) from error


def of_facts(facts: Mapping[str, Any]) -> Node:
    """The node of the probe's facts."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _plant(root, facts["files"], facts["folders"])
        links = {
            one.name: sysfs.number(sysfs.read(one / "speed"))
            for one in sysfs.folders(root / "sys/class/net")
            if sysfs.read(one / "operstate") == "up"
        }
        nics, memlock_kb = sysfs.nics(root), sysfs.memlock(root)[0]
    places = facts["places"]
    return Node(
        name=str(facts["node"]),
        nics=tuple(
            replace(one, near=_near(places["adapters"].get(one.name, ""), places["gpus"])) for one in nics
        ),
        links=links,
        routes={str(peer): found[0] for peer, found in facts["routes"].items() if found},
        memlock_kb=memlock_kb,
        programs={str(name): str(text) for name, text in facts["programs"].items()},
        modules=next(iter(facts["modules"]), ""),
        python=(str(facts["python"][0]), str(facts["python"][1])),
        shared=tuple(Shared(**one) for one in facts["shared"]),
    )


def _plant(root: Path, files: Mapping[str, str], folders: Sequence[str]) -> None:
    for name in [*folders, *files]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(name)
    for name in folders:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _near(adapter: str, gpus: Sequence[str]) -> tuple[int, ...]:
    """The GPUs on the same PCIe switch: their paths part below the same port of the processor."""
    return tuple(
        index
        for index, gpu in enumerate(gpus)
        if (port := _root_port(gpu))
        and port == _root_port(adapter)
        and adapter.count("/") > port.count("/") + 1
    )


def _root_port(path: str) -> str:
    """/sys/devices/pci0000:15/0000:15:01.0 of .../0000:16:00.0/0000:17:00.0/0000:18:00.0."""
    parts = path.split("/")
    at = next((index for index, one in enumerate(parts) if one.startswith("pci")), None)
    return "/".join(parts[: at + 2]) if at is not None and len(parts) > at + 2 else ""
