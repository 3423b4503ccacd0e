"""A node's hardware as the kernel tells of it in /sys and /proc, below a root that tests can choose.

What is not there, or cannot be read, is unknown: "", 0 or None. Nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpctools.inventory.found import in_order
from hpctools.inventory.report import Interface, Nic, NumaNode

_NVIDIA = "0x10de"
# PCI classes: VGA and 3D controllers.
_DISPLAYS = ("0x0300", "0x0302")
_MEMORY_KB = re.compile(r"MemTotal:\s+([0-9]+) kB")
_MEMLOCK = re.compile(r"^Max locked memory\s+(\S+)", re.MULTILINE)
_ETHERNET = "1"  # if_arp.h, ARPHRD_ETHER


def read(path: Path) -> str:
    """The text of a small file without blanks around it; "" where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode(errors="replace").strip()
    except (OSError, ValueError):
        return ""


def folders(path: Path) -> list[Path]:
    """What is below path, as people count: mlx5_2 before mlx5_10."""
    try:
        names = [each.name for each in path.iterdir()]
    except OSError:
        return []
    return [path / name for name in sorted(names, key=in_order)]


def number(text: str) -> int | None:
    """A whole number from 0; -1 and other words are "unknown"."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def host(root: Path) -> str:
    return read(root / "proc/sys/kernel/hostname").partition(".")[0]


def cpus(root: Path) -> tuple[int, int, int]:
    """Sockets, cores of each, hardware threads of each core: of the CPUs that are online; 0 if unknown."""
    sockets, cores, threads = set(), set(), 0
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*"):
        package = read(folder / "topology/physical_package_id")
        siblings = read(folder / "topology/thread_siblings_list")
        if not package or not siblings or read(folder / "online") == "0":
            continue
        sockets.add(package)
        cores.add(siblings)
        threads += 1
    if not cores:
        return 0, 0, 0
    return len(sockets), max(1, len(cores) // len(sockets)), max(1, threads // len(cores))


def memory_mb(root: Path) -> int:
    match = _MEMORY_KB.search(read(root / "proc/meminfo"))
    return int(match[1]) // 1024 if match else 0


def numa(root: Path) -> tuple[NumaNode, ...]:
    """The NUMA nodes that have CPUs; a GPU's own memory (Grace) is a node without."""
    found = []
    for folder in folders(root / "sys/devices/system/node"):
        cpus, node = read(folder / "cpulist"), number(folder.name.removeprefix("node"))
        if cpus and node is not None:
            memory = _MEMORY_KB.search(read(folder / "meminfo"))
            found.append(NumaNode(node, cpus, int(memory[1]) // 1024 if memory else 0))
    return tuple(found)


def numa_of_device(root: Path, bus_id: str) -> int | None:
    return number(read(root / "sys/bus/pci/devices" / bus_id / "numa_node")) if bus_id else None


def nvidia_on_bus(root: Path) -> int:
    """How many GPUs of NVIDIA's PCI lists, virtual ones left out."""
    return sum(
        read(device / "vendor") == _NVIDIA
        and read(device / "class").startswith(_DISPLAYS)
        and not (device / "physfn").exists()
        for device in folders(root / "sys/bus/pci/devices")
    )


def nics(root: Path) -> tuple[Nic, ...]:
    """Adapters with RDMA, and Slingshot's, as physical devices."""
    found = []
    for folder in folders(root / "sys/class/infiniband"):
        if not (folder / "device/physfn").exists():
            ports = sorted((_port(port) for port in folders(folder / "ports")), reverse=True)
            _, rate, state, layer = ports[0] if ports else (False, 0, "", "")
            kind = "roce" if layer == "Ethernet" else "infiniband"
            kind = "efa" if _driver(folder) == "efa" else kind
            found.append(Nic(folder.name, kind, rate or None, state, _numa(folder)))
    for folder in folders(root / "sys/class/net"):
        if _driver(folder).startswith("cxi") and not (folder / "device/physfn").exists():
            speed = number(read(folder / "speed"))
            state = "ACTIVE" if read(folder / "operstate") == "up" else "DOWN"
            found.append(
                Nic(folder.name, "slingshot", speed // 1000 if speed else None, state, _numa(folder))
            )
    return tuple(found)


def _port(folder: Path) -> tuple[bool, int, str, str]:
    """Whether it is active, its rate in Gbit/s, its state, its link layer: the greatest is the best port."""
    state = read(folder / "state").partition(":")[2].strip()
    rate = re.match(r"([0-9]{1,6})(\.[0-9]+)? Gb/sec", read(folder / "rate"))
    return state == "ACTIVE", int(rate[1]) if rate else 0, state, read(folder / "link_layer")


def _numa(folder: Path) -> int | None:
    return number(read(folder / "device/numa_node"))


def _driver(folder: Path) -> str:
    match = re.search(r"^DRIVER=(\S+)", read(folder / "device/uevent"), re.MULTILINE)
    return match[1] if match else ""


def interfaces(root: Path) -> tuple[Interface, ...]:
    """Physical Ethernet adapters, without those that nics has."""
    return tuple(_interfaces(root))


def _interfaces(root: Path) -> Iterator[Interface]:
    for folder in folders(root / "sys/class/net"):
        device = folder / "device"
        if not device.exists() or (device / "physfn").exists() or (device / "infiniband").exists():
            continue
        if read(folder / "type") == _ETHERNET and not _driver(folder).startswith("cxi"):
            yield Interface(folder.name, number(read(folder / "speed")), read(folder / "operstate"))


def memlock(root: Path) -> tuple[int | None, str]:
    """How much memory a process may lock, in kB (None: all), and whose limit that is: slurmd's where it
    runs, from which jobs have theirs, else our own (self); "" where it is unknown.
    """
    for process, whose in ((_slurmd(root), "slurmd"), (root / "proc/self", "self")):
        if process and (match := _MEMLOCK.search(read(process / "limits"))):
            if match[1] == "unlimited":
                return None, whose
            if (limit := number(match[1])) is not None:
                return limit // 1024, whose
    return None, ""


def _slurmd(root: Path) -> Path | None:
    for process in (root / "proc").glob("[0-9]*"):
        if read(process / "comm") == "slurmd":
            return process
    return None


def hugepages(root: Path) -> Mapping[str, int]:
    """How many huge pages are set apart, by their size in kB."""
    found = {}
    for folder in folders(root / "sys/kernel/mm/hugepages"):
        match = re.fullmatch(r"hugepages-([0-9]+)kB", folder.name)
        count = number(read(folder / "nr_hugepages"))
        if match and count is not None:
            found[match[1]] = count
    return found


def near_cpus(nodes: tuple[NumaNode, ...], candidates: tuple[int, ...]) -> int | None:
    """The first of candidates that is a NUMA node with CPUs."""
    known = {one.node for one in nodes}
    return next((node for node in candidates if node in known), None)
