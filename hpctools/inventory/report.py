"""What one node says of itself: facts as they were measured, one JSON object a node.

Whatever is made of them (types, outliers) is made where the reports are merged, so that nodes need not
have the newest hpctools. Fields may be added; VERSION changes when an old one changes its meaning.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

from hpctools.errors import ParseError
from hpctools.inventory.model import HOST_NAME

VERSION = 1
# A node's report is a few kilobytes.
MAX_SIZE = 4 * 1024 * 1024
_WORDS: Mapping[object, str] = {int: "a whole number from 0", str: "a text", bool: "true or false"}


@dataclass(frozen=True)
class NumaNode:
    """A NUMA node that has CPUs. cpus: the kernel's list, 0-55,112-167."""

    node: int
    cpus: str
    memory_mb: int


@dataclass(frozen=True)
class GpuFacts:
    """A GPU. name: the driver's; minor: of /dev/nvidiaMINOR; numa: the NUMA node with the CPUs near to it.

    mig: whether it can be divided, profiles: into what it is. cluster and clique: its NVLink domain where
    that spans hosts.
    """

    name: str
    bus_id: str = ""
    minor: int | None = None
    memory_mb: int | None = None
    numa: int | None = None
    ecc: bool | None = None
    mig: bool = False
    profiles: tuple[str, ...] = ()
    cluster: str = ""
    clique: int | None = None


@dataclass(frozen=True)
class Nic:
    """A network adapter that jobs compute over, or could. kind: infiniband, roce, efa or slingshot.

    state: ACTIVE where its link is up. near: the GPUs, by their place in the report, that reach it over PCIe
    switches alone.
    """

    name: str
    kind: str
    rate_gbps: int | None = None
    state: str = ""
    numa: int | None = None
    near: tuple[int, ...] = ()


@dataclass(frozen=True)
class Interface:
    """An Ethernet adapter without RDMA."""

    name: str
    speed_mbps: int | None = None
    state: str = ""


@dataclass(frozen=True)
class Report:
    """A node. source: which of slurmd and sysfs told CPUs and memory. memory_mb: in MiB, as slurmd counts.

    gres: what slurmd found by itself, as it prints it. gpus_on_bus: NVIDIA's GPUs that PCI lists, also those
    that the driver has lost. gpu_links: how many pairs of GPUs have which link. memlock_kb: None is
    unlimited; memlock_of: slurmd's limit, or that of the process that looked (self). hugepages: by size
    in kB. problems: what could not be found out, and why.
    """

    host: str
    source: str
    boards: int
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    memory_mb: int
    version: int = VERSION
    gres: str = ""
    numa: tuple[NumaNode, ...] = ()
    driver: str = ""
    gpus: tuple[GpuFacts, ...] = ()
    gpus_on_bus: int = 0
    gpu_links: Mapping[str, int] = field(default_factory=dict)
    nics: tuple[Nic, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    memlock_kb: int | None = None
    memlock_of: str = ""
    hugepages: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        return {"version": self.version, **asdict(self)}


def parse(text: str) -> Report:
    """The report in a JSON text. Raises ParseError, which names the key that is wrong."""
    if not text.strip():
        raise ParseError("a report: it is empty, as when the host did not answer", "")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParseError("JSON", text[:100]) from error
    if not isinstance(value, dict) or "version" not in value:
        raise ParseError("what `hpctools inventory discover` prints", text[:100])
    if value["version"] != VERSION:
        raise ParseError(f"a report of version {VERSION}", f"version {value['version']!r}"[:100])
    report = _decoded(Report, value, "")
    assert isinstance(report, Report)  # noqa: S101 - for the type checker
    if not HOST_NAME.fullmatch(report.host):
        raise ParseError("the name of a host", report.host[:100], "host")
    for key in ("boards", "sockets", "cores_per_socket", "threads_per_core", "memory_mb"):
        if getattr(report, key) < 1:
            raise ParseError("a number above 0", str(getattr(report, key)), key)
    return report


def _decoded(kind: object, value: object, where: str) -> object:
    """value, as json gives it, as the type of an annotation: one of ours, or of its plain ones."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints, needed = _fields(kind)
        for name in needed:
            if name not in value:
                raise ParseError(f"complete: {name} is missing", json.dumps(value)[:100], where)
        return kind(
            **{
                name: _decoded(hints[name], value[name], f"{where}.{name}".lstrip("."))
                for name in hints
                if name in value
            }
        )
    if origin is types.UnionType:
        return None if value is None else _decoded(arguments[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decoded(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        return {str(key): _decoded(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    if kind is str and isinstance(value, str):
        return value
    raise ParseError(f"what belongs there ({_word(kind)})", json.dumps(value)[:100], where or "the report")


@cache
def _fields(kind: type[Any]) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """The fields of a class of ours with their types, and those that must be given."""
    needed = (one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING)
    return typing.get_type_hints(kind), tuple(needed)


def _word(kind: object) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    return "a list" if typing.get_origin(kind) is tuple else "an object"
