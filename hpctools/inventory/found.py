"""What one host was found to have, whoever said so: its own report, a table, slurmctld."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpctools.inventory.model import Fabric, Gpus

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class Found:
    """One host and its hardware, in the words of NodeType; "" and 0 where it is not known.

    switch, rack, block, address: where it is. weight and reserved are what it is configured with.
    """

    host: str
    sockets: int
    cores_per_socket: int
    threads_per_core: int
    boards: int = 1
    memory_mb: int = 0
    tmp_disk_mb: int = 0
    numa_nodes: int = 0
    gpus: tuple[Gpus, ...] = ()
    fabric: Fabric | None = None
    features: tuple[str, ...] = ()
    switch: str = ""
    rack: str = ""
    block: str = ""
    address: str = ""
    weight: int | None = None
    reserved_cores: int = 0
    reserved_memory_mb: int = 0

    @property
    def cores(self) -> int:
        return self.boards * self.sockets * self.cores_per_socket

    @property
    def series(self) -> str:
        """The name without its numbers: hosts of one series were probably bought as equals."""
        return _DIGITS.sub("#", self.host)


def in_order(host: str) -> tuple[tuple[int, int, str], ...]:
    """The key by which hosts are sorted as people count: n2 before n10."""
    return tuple(
        # Compared as texts of one length: a name may hold more digits than Python reads as a number.
        (1, len(part.lstrip("0")), f"{part.lstrip('0')} {part}") if part.isdigit() else (0, 0, part)
        for part in _DIGITS.split(host)
        if part
    )
