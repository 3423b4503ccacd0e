"""NVIDIA's GPUs as nvidia-smi tells of them: its XML, its topology and its list.

Drivers differ in what they tell: what is absent, N/A or an error's text is None or "" here. MIG's profiles
stand in the list alone; the XML counts instances without naming them.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpctools.errors import ParseError

# Eight GPUs with all the clocks that they support take 1 MB.
MAX_XML = 32 * 1024 * 1024

# What stands for a value that there is none of, or that a lost GPU does not give (nvmlErrorString).
_NOTHING = frozenset({"N/A", "Unknown Error", "GPU is lost", "Not Supported", "Insufficient Permissions"})
_MIB = re.compile(r"([0-9]{1,12}) MiB")
_MINOR = re.compile(r"[0-9]{1,4}")
_CLIQUE = re.compile(r"[0-9]{1,10}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LISTED = re.compile(r"GPU \d+: .*\(UUID: ([^\s)]+)\)")
_LISTED_MIG = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+:")

# Words that say who made it, and not what it is.
_MAKERS = frozenset({"nvidia", "amd", "tesla", "quadro", "geforce", "grid", "instinct"})
# Words that only say what it is together with the next ones: rtx_4090, rtx_pro_6000, titan_v.
_FAMILIES = frozenset({"rtx", "gtx", "pro", "titan", "radeon"})
# Words behind the number that make another model of it: rtx_2080_ti, rtx_6000_ada.
_VARIANTS = frozenset({"ti", "super", "ada"})


@dataclass(frozen=True)
class Gpu:
    """One GPU. bus_id: as sysfs has it, 0000:1b:00.0. minor: of its device file /dev/nvidiaMINOR.

    mig: whether it can be divided now; instances: how many parts it has. cluster and clique: its NVLink
    domain where that spans hosts (GB200 NVL72), "" and None elsewhere.
    """

    name: str
    uuid: str = ""
    bus_id: str = ""
    minor: int | None = None
    memory_mb: int | None = None
    ecc: bool | None = None
    mig: bool = False
    instances: int = 0
    cluster: str = ""
    clique: int | None = None


@dataclass(frozen=True)
class Query:
    """What `nvidia-smi -q -x` says. attached: how many GPUs it counts, None where it does not say."""

    driver: str
    attached: int | None
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class Topology:
    """What `nvidia-smi topo -m` says. links: (GPU, GPU or NIC) to NV18, PIX, PXB, PHB, NODE or SYS.

    numa: the NUMA nodes of each GPU, its own memory's among them (Grace); cpus: as the table has them,
    which drivers cut off where CPUs are numbered by turns.
    """

    gpus: tuple[str, ...]
    nics: tuple[str, ...] = ()
    numa: tuple[tuple[int, ...], ...] = ()
    cpus: tuple[str, ...] = ()
    links: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def near(self, nic: str) -> tuple[int, ...]:
        """The GPUs, by index, that reach nic over PCIe switches alone."""
        return tuple(
            index for index, gpu in enumerate(self.gpus) if self.links.get((gpu, nic)) in ("PIX", "PXB")
        )

    def gpu_links(self) -> Mapping[str, int]:
        """How many pairs of GPUs have which kind of link."""
        counts: dict[str, int] = {}
        for index, gpu in enumerate(self.gpus):
            for other in self.gpus[index + 1 :]:
                kind = self.links.get((gpu, other), "")
                counts[kind] = counts.get(kind, 0) + 1
        return counts


def query_command() -> list[str]:
    return ["nvidia-smi", "-q", "-x"]


def topology_command() -> list[str]:
    return ["nvidia-smi", "topo", "-m"]


def list_command() -> list[str]:
    return ["nvidia-smi", "-L"]


def parse_query(text: str) -> Query:
    """The driver and the GPUs of an answer to query_command, in its order. Raises ParseError."""
    root = _root(text)
    attached = _text(root, "attached_gpus")
    return Query(
        driver=_text(root, "driver_version"),
        attached=int(attached) if _MINOR.fullmatch(attached) else None,
        gpus=tuple(_gpu(element) for element in root.iterfind("gpu")),
    )


def _root(text: str) -> ET.Element:
    # A document that defines entities can be made to fill the memory: nvidia-smi's has a plain DOCTYPE
    # line. Python's expat never fetches what a DOCTYPE points at.
    if len(text) > MAX_XML or "<!ENTITY" in text or re.search(r"<!DOCTYPE[^>]*\[", text):
        raise ParseError("the XML of nvidia-smi", text[:200])
    try:
        root = ET.fromstring(text)  # noqa: S314
    except (ET.ParseError, ValueError) as error:
        raise ParseError("the XML of nvidia-smi", text[:200]) from error
    if root.tag != "nvidia_smi_log":
        raise ParseError("the XML of nvidia-smi", text[:200])
    return root


def _text(element: ET.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    return "" if text in _NOTHING else text


def _gpu(element: ET.Element) -> Gpu:
    memory = _MIB.fullmatch(_text(element, "fb_memory_usage/total"))
    minor = _text(element, "minor_number")
    ecc = _text(element, "ecc_mode/current_ecc")
    cluster = _text(element, "fabric/clusterUuid").lower()
    clique = _text(element, "fabric/cliqueId")
    # All zeros: NVLink ends at this host (HGX), whatever the clique's number.
    spans = _UUID.fullmatch(cluster) is not None and cluster.strip("0-") != ""
    return Gpu(
        name=_text(element, "product_name"),
        uuid=_text(element, "uuid"),
        bus_id=_bus_id(_text(element, "pci/pci_bus_id") or element.get("id", "")),
        minor=int(minor) if _MINOR.fullmatch(minor) else None,
        memory_mb=int(memory[1]) if memory else None,
        ecc={"Enabled": True, "Disabled": False}.get(ecc),
        mig=_text(element, "mig_mode/current_mig") == "Enabled",
        instances=len(element.findall("mig_devices/mig_device")),
        cluster=cluster if spans else "",
        clique=int(clique) if spans and _CLIQUE.fullmatch(clique) else None,
    )


def _bus_id(text: str) -> str:
    """00000000:1B:00.0 as sysfs writes it, 0000:1b:00.0; "" for what is none."""
    match = re.fullmatch(r"(?:0000)?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", text.lower())
    return match[1] if match else ""


def parse_list(text: str) -> Mapping[str, tuple[str, ...]]:
    """The MIG profiles on each GPU, by its UUID, of an answer to list_command: 1g.10gb, 3g.40gb."""
    found: dict[str, list[str]] = {}
    profiles: list[str] = []
    for line in text.split("\n"):
        if match := _LISTED.match(line):
            profiles = found.setdefault(match[1], [])
        elif match := _LISTED_MIG.match(line):
            profiles.append(match[1])
    return {uuid: tuple(each) for uuid, each in found.items()}


def parse_topology(text: str) -> Topology:
    """The table of an answer to topology_command. Raises ParseError.

    Older drivers name NICs in the header (mlx5_0), newer ones number them and explain below the table.
    """
    # The header is underlined, even into a file.
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n")
    heads = [index for index, line in enumerate(lines) if line.split()[:1] == ["GPU0"]]
    if len(heads) < 2 or heads[0] + 1 != heads[1]:
        raise ParseError("the table of nvidia-smi topo -m", text[:200])
    words, affinities = _header(lines[heads[0]])
    gpus = tuple(word for word in words if re.fullmatch(r"GPU[0-9]{1,4}", word))
    legend = dict(re.findall(r"^\s+(NIC[0-9]+):\s+(\S+)\s*$", "\n".join(lines), re.MULTILINE))
    names = [legend.get(word, word) for word in words]
    links: dict[tuple[str, str], str] = {}
    numa: dict[str, tuple[int, ...]] = {}
    cpus: dict[str, str] = {}
    for line in lines[heads[1] :]:
        row, cells, rest = _row(line, len(words), len(affinities))
        if row not in gpus:
            break
        links |= {(row, name): cell for name, cell in zip(names, cells, strict=True) if cell != "X"}
        told = dict(zip(affinities, rest, strict=False))
        cpus[row] = told.get("CPU Affinity", "")
        numa[row] = numbers(told.get("NUMA Affinity", ""))
    if list(numa) != list(gpus):
        raise ParseError("the table of nvidia-smi topo -m", text[:200])
    return Topology(
        gpus=gpus,
        nics=tuple(name for word, name in zip(words, names, strict=True) if word not in gpus),
        numa=tuple(numa[gpu] for gpu in gpus),
        cpus=tuple(cpus[gpu] for gpu in gpus),
        links=links,
    )


def _header(line: str) -> tuple[list[str], list[str]]:
    """The names of the devices, and those of the columns behind them."""
    names, _, behind = line.partition("CPU Affinity")
    affinities = re.findall(r"NUMA Affinity|GPU NUMA ID", behind)
    return names.split(), ["CPU Affinity", *affinities]


def _row(line: str, devices: int, affinities: int) -> tuple[str, list[str], list[str]]:
    """A row's name, its links, and the cells behind them; "" for the name of what is no whole row."""
    if "\t" in line:
        name, *cells = (cell.strip() for cell in line.split("\t"))
    else:
        name, *cells = line.split() or [""]
        # Blanks do not show which cell is empty: it is the first, the CPUs that a job may not use.
        cells = cells[:devices] + [""] * (devices + affinities - len(cells)) + cells[devices:]
    if len(cells) < devices:
        return "", [], []
    return name, cells[:devices], cells[devices:]


def numbers(text: str, highest: int = 65535) -> tuple[int, ...]:
    """The numbers of a list of the kernel's, 0,3-9,11-17, sorted; () for what is none."""
    found: set[int] = set()
    for word in text.strip().split(","):
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", word)
        if not match:
            return ()
        first, last = int(match[1]), int(match[2] or match[1])
        if last > highest:
            return ()
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def slurm_name(product: str) -> str:
    """The name that AutoDetect gives to a GPU: nvidia_h100_80gb_hbm3 (src/plugins/gpu/common)."""
    return product.lower().replace(" ", "_")


def slurm_type(product: str) -> str:
    """A short type that is a part of slurm_name, as Slurm wants it: h100, rtx_4090; "" without one."""
    name = slurm_name(product)
    words = list(re.finditer(r"[^_]+", name))
    while words and words[0][0] in _MAKERS:
        words.pop(0)
    if not words:
        return ""
    last = 0
    while words[last][0] in _FAMILIES and last + 1 < len(words):
        last += 1
    while last and last + 1 < len(words) and words[last + 1][0] in _VARIANTS:
        last += 1
    # What follows a hyphen is the board's form: a100-sxm4-80gb.
    end = words[last].start() + len(words[last][0].partition("-")[0])
    return _as_type(name[words[0].start() : end])


def mig_type(product: str) -> str:
    """The type before _PROFILE of a divided GPU: a100 of a100_1g.5gb, h100_80gb_hbm3 of
    h100_80gb_hbm3_1g.10gb. Slurm's name of an instance is slurm_name up to the first hyphen and the
    profile (gpu_nvml.c), and the type must be a part of that, too.
    """
    return _as_type(slurm_name(product).partition("-")[0].removeprefix("nvidia_"))


def _as_type(text: str) -> str:
    return text if re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", text) else ""
