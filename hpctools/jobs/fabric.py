"""The network between the nodes, and the variables that NCCL and libfabric need on it.

Few are needed: NCCL finds most by itself, and what it is told wrongly it believes. Each one that is
set has its reason, which stands in the job's script as a comment. Facts are from NCCL's user guide
(env.rst), aws-ofi-nccl's doc/efa-env-var.md and the guides of Slingshot sites.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hpctools.errors import ParseError, Problem
from hpctools.jobs import readers
from hpctools.jobs.nearest import unknown

INFINIBAND, ROCE, EFA, SLINGSHOT, TCP = KINDS = ("infiniband", "roce", "efa", "slingshot", "tcp")
# The fabric that people know by its name.
TITLES: Mapping[str, str] = MappingProxyType(
    {INFINIBAND: "InfiniBand", ROCE: "RoCE", EFA: "EFA", SLINGSHOT: "Slingshot", TCP: "TCP"}
)
LIBFABRIC = "AWS Libfabric"
# What NCCL calls its way to the network: built in, or a plugin's own name.
NETS: Mapping[str, str] = MappingProxyType(
    {INFINIBAND: "IB", ROCE: "IB", EFA: LIBFABRIC, SLINGSHOT: LIBFABRIC, TCP: "Socket"}
)
NEWEST = (99, 0)
Version = tuple[int, ...]

_WORDS = re.compile(r"[\^]?=?[A-Za-z0-9_.:-]+(,[A-Za-z0-9_.:-]+)*")
_VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}")


@dataclass(frozen=True)
class Variable:
    """A variable of the job, and why it is needed."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Fabric:
    """The fabric of a site, as its file says.

    kind: one of KINDS. net: NCCL's name of the network, where it is not the usual one. interfaces:
    NCCL_SOCKET_IFNAME. hcas: the adapters of the compute fabric. nccl, ofi_plugin: the oldest
    versions that jobs have. traffic_class, service_level, gid_index: of RoCE. bandwidth_gb_s: the
    bus bandwidth that an all-reduce should have, in GB/s. variables: further ones of the site.
    """

    kind: str = ""
    net: str = ""
    interfaces: str = ""
    hcas: str = ""
    nccl: Version = NEWEST
    ofi_plugin: Version = NEWEST
    traffic_class: int | None = None
    service_level: int | None = None
    gid_index: int | None = None
    bandwidth_gb_s: float | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """NCCL_NET: the only way to other nodes that NCCL may take."""
        return self.net or NETS.get(self.kind, "")

    @property
    def title(self) -> str:
        """The fabric's name."""
        return TITLES.get(self.kind, self.kind)


def _version(text: str) -> Version:
    if not _VERSION.fullmatch(text):
        raise ParseError("a version", text)
    return tuple(map(int, text.split(".")))


def _words(text: str) -> str:
    if not _WORDS.fullmatch(text):
        raise ParseError("a list of names", text)
    return text


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise ParseError("a number", text) from error
    if not 0 < found < 1e6:
        raise ParseError("a number above 0", text)
    return found


# The keys of a site's fabric, each with its reader and what it takes.
KEYS: Mapping[str, tuple[Callable[[str], object], str]] = MappingProxyType(
    {
        "kind": (readers.one_of(*KINDS), ", ".join(KINDS)),
        "net": (readers.word, "the name that NCCL's log gives after 'Using network'"),
        "interfaces": (_words, "=ib0, or hsn"),
        "hcas": (_words, "mlx5_0,mlx5_1"),
        "nccl": (_version, "2.20"),
        "ofi_plugin": (_version, "1.5.0"),
        "traffic_class": (readers.amount, "106"),
        "service_level": (readers.amount, "3"),
        "gid_index": (readers.amount, "3"),
        "bandwidth_gb_s": (_number, "40"),
    }
)


def read(entries: Mapping[str, tuple[object, str]], problems: list[Problem]) -> Fabric:
    """The fabric of a site's file: of each key its value and where it stands.

    A value is text, or of `variables` a map of texts.
    """
    found: dict[str, object] = {}
    for key, (value, where) in entries.items():
        if key == "variables" and isinstance(value, Mapping):
            found[key] = _variables(value, where, problems)
        elif key not in KEYS and key != "variables":
            problems.append(unknown(where, "key of a fabric", key, [*KEYS, "variables"]))
        elif value is not None:
            found |= _one(key, value, where, problems)
    made = replace(Fabric(), **found)  # type: ignore[arg-type]
    if entries and not made.kind and "kind" not in entries:
        where = next(iter(entries.values()))[1]
        problems.append(Problem(where, "the fabric has no kind", f"kind: {'|'.join(KINDS)}"))
    return made


def change(fabric: Fabric, key: str, text: str, where: str, problems: list[Problem]) -> Fabric:
    """The fabric after --set site.fabric.KEY=text."""
    if key not in KEYS:
        problems.append(unknown(where, "key of a fabric", key, KEYS))
        return fabric
    return replace(fabric, **_one(key, text, where, problems))  # type: ignore[arg-type]


def _one(key: str, value: object, where: str, problems: list[Problem]) -> dict[str, object]:
    reader, form = KEYS.get(key, (None, "{NAME: value}"))
    if reader is None or not isinstance(value, str):
        expected = "a map is" if reader is None else "text is"
        problems.append(Problem(where, f"fabric: {key}: {expected} expected", form))
        return {}
    try:
        return {key: reader(value)}
    except ParseError as error:
        problems.append(Problem(where, f"fabric: {key}: {error}", form))
        return {}


def _variables(values: Mapping[object, object], where: str, problems: list[Problem]) -> dict[str, str]:
    found = {}
    for name, value in values.items():
        try:
            found[readers.variable_name(str(name))] = str(value or "")
        except ParseError as error:
            problems.append(Problem(where, f"fabric: variables: {error}", "{FI_CXI_RX_MATCH_MODE: hybrid}"))
    return found


def variables(fabric: Fabric, nodes: int, given: Container[str] = ()) -> tuple[Variable, ...]:
    """What a job on this fabric needs beside what is given; nothing on one node, which has no network
    to choose.
    """
    if not fabric.kind or nodes < 2:
        return ()
    needed = [_guard(fabric), *_interfaces(fabric), *_OF[fabric.kind](fabric)]
    said = {one.name for one in needed}
    needed += [
        Variable(name, value, "This site's own, see its file.")
        for name, value in fabric.variables.items()
        if name not in said
    ]
    own = {one.name: fabric.variables.get(one.name, one.value) for one in needed}
    return tuple(replace(one, value=own[one.name]) for one in needed if one.name not in given)


def _guard(fabric: Fabric) -> Variable:
    if fabric.kind == TCP:
        reason = "TCP is all there is here: NCCL need not look for anything faster."
    else:
        reason = (
            f"The guard: where {fabric.title} cannot be used NCCL would go on over TCP and say nothing, many "
            "times slower. With this it ends with an error instead."
        )
    return Variable("NCCL_NET", fabric.network, reason)


def _interfaces(fabric: Fabric) -> list[Variable]:
    value = fabric.interfaces or ("hsn" if fabric.kind == SLINGSHOT else "")
    if not value:
        return []
    use = "All its traffic goes" if fabric.kind == TCP else "Its ranks find each other"
    how = "not over these interfaces" if value[0] == "^" else "over these interfaces"
    exact = "exactly so called" if value.lstrip("^")[0] == "=" else "whose names begin so"
    return [Variable("NCCL_SOCKET_IFNAME", value, f"{use} {how}, {exact}.")]


def _adapters(fabric: Fabric) -> list[Variable]:
    if not fabric.hcas:
        return []
    value = fabric.hcas if fabric.hcas[0] in "=^" else f"={fabric.hcas}"
    reason = (
        "Only the adapters of the compute fabric, not those of storage or management; the = makes it exactly "
        "these (without it mlx5_1 means mlx5_10, too)."
    )
    return [Variable("NCCL_IB_HCA", value, reason)]


def _infiniband(fabric: Fabric) -> list[Variable]:
    return _adapters(fabric) + _service_level(fabric)


def _service_level(fabric: Fabric) -> list[Variable]:
    if fabric.service_level is None:
        return []
    reason = "The service level that this site's quality of service has for such traffic."
    return [Variable("NCCL_IB_SL", str(fabric.service_level), reason)]


def _roce(fabric: Fabric) -> list[Variable]:
    found = _adapters(fabric)
    if fabric.traffic_class is not None:
        reason = (
            "The traffic class that the switches treat as lossless; another one loses packets under load."
        )
        found.append(Variable("NCCL_IB_TC", str(fabric.traffic_class), reason))
    found += _service_level(fabric)
    if fabric.gid_index is not None and fabric.nccl < (2, 21):
        reason = "NCCL before 2.21 does not find the address of RoCE v2 in the adapter's table by itself."
        found.append(Variable("NCCL_IB_GID_INDEX", str(fabric.gid_index), reason))
    return found


def _efa(fabric: Fabric) -> list[Variable]:
    found = []
    if fabric.ofi_plugin < (1, 6):
        reason = "aws-ofi-nccl before 1.6 does not choose EFA by itself."
        found.append(Variable("FI_PROVIDER", "efa", reason))
        reason = "aws-ofi-nccl before 1.6 is only right with this protocol: EFA may write out of order."
        found.append(Variable("NCCL_PROTO", "simple", reason))
    elif fabric.ofi_plugin < (1, 7):
        reason = "aws-ofi-nccl 1.6 uses RDMA of the GPUs' memory only when it is told to."
        found.append(Variable("FI_EFA_USE_DEVICE_RDMA", "1", reason))
    return found


def _slingshot(fabric: Fabric) -> list[Variable]:
    return [
        Variable("NCCL_NET_GDR_LEVEL", "PHB", "Adapters and GPUs of one processor talk directly."),
        Variable("NCCL_CROSS_NIC", "1", "A ring may leave a node by another adapter than it came by."),
        Variable(
            "FI_MR_CACHE_MONITOR",
            "userfaultfd",
            "libfabric's default monitor of memory can deadlock with NCCL.",
        ),
    ]


_OF: Mapping[str, Callable[[Fabric], list[Variable]]] = MappingProxyType(
    {
        INFINIBAND: _infiniband,
        ROCE: _roce,
        EFA: _efa,
        SLINGSHOT: _slingshot,
        TCP: lambda _: [],
    }
)


def lines(needed: tuple[Variable, ...], title: str, quote: Callable[[str], str], width: int = 100) -> str:
    """The lines of bash that set what is not set yet, each with its reason; quote makes a word of a value."""
    if not needed:
        return ""
    said = [f"# NCCL on {title}. What you, your shell or a module has set already stays as it is."]
    for one in needed:
        said += textwrap.wrap(one.reason, width, initial_indent="# ", subsequent_indent="# ")
        # Not ":-": an empty value is a value, and a way to have none of ours.
        said.append(f"export {one.name}=${{{one.name}-{quote(one.value)}}}")
    return "\n".join(said)
