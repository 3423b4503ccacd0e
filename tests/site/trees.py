"""Trees like /sys of machines that are not here, with the links that tell where on PCI a device hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpctools.jobs.runtime import site_probe

BRIDGE = "0000:{}:00.0"


def device(root: Path, *parts: str, **files: str) -> Path:
    """A PCI device below a root complex, and bridges; its files."""
    path = root.joinpath("sys/devices", *parts)
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text + "\n")
    link = root / "sys/bus/pci/devices" / parts[-1]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(path)
    return path


def gpu(root: Path, *parts: str) -> None:
    device(root, *parts, vendor="0x10de", **{"class": "0x030200"})


def adapter(root: Path, name: str, where: Path, layer: str, rate: str, state: str = "4: ACTIVE") -> None:
    """An RDMA adapter on a PCI device."""
    port = root / "sys/class/infiniband" / name / "ports/1"
    port.mkdir(parents=True)
    for file, text in (("link_layer", layer), ("rate", rate), ("state", state)):
        (port / file).write_text(text + "\n")
    (where / "infiniband").mkdir()
    (root / "sys/class/infiniband" / name / "device").symlink_to(where)


def interface(root: Path, name: str, state: str = "up", speed: str = "25000", kind: str = "1") -> None:
    folder = root / "sys/class/net" / name
    folder.mkdir(parents=True)
    for file, text in (("operstate", state), ("speed", speed), ("type", kind)):
        (folder / file).write_text(text + "\n")


def mounted(root: Path, *lines: str) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/mounts").write_text("".join(f"{line}\n" for line in lines))


def h100(root: Path) -> Path:
    """Two GPUs, each with an adapter on its switch; storage's adapter is as fast and hangs elsewhere."""
    for index, port in enumerate(("15", "25")):
        switch = (f"pci0000:{port}", f"0000:{port}:01.0", f"0000:{port[0]}6:00.0")
        gpu(root, *switch, f"0000:{port[0]}7:00.0", f"0000:{port[0]}8:00.0")
        where = device(root, *switch, f"0000:{port[0]}7:01.0", f"0000:{port[0]}9:00.0")
        adapter(root, f"mlx5_{3 * index}", where, "InfiniBand", "400 Gb/sec (4X NDR)")
    storage = device(root, "pci0000:35", "0000:35:01.0", "0000:36:00.0")
    adapter(root, "mlx5_1", storage, "InfiniBand", "400 Gb/sec (4X NDR)")
    office = device(root, "pci0000:45", "0000:45:01.0", "0000:46:00.0")
    adapter(root, "mlx5_2", office, "Ethernet", "25 Gb/sec (1X EDR)")
    interface(root, "lo", "unknown", "", "772")
    interface(root, "eno1")
    interface(root, "docker0", speed="10000")
    interface(root, "ib0", "down")
    return root


def facts(root: Path, **more: Any) -> dict[str, Any]:
    """What the probe tells of a tree; more: instead of what it tells of this machine."""
    found = site_probe.facts([], str(root))
    here = {
        "node": "g1",
        "programs": {},
        "modules": [],
        "routes": {},
        "python": ["/usr/bin/python3", "3.11.2"],
    }
    return {**found, **here, **more}
