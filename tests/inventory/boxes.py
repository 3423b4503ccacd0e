"""Machines that are not here: what their programs print and their kernels tell, as files in machines/.

The files are made from facts of real machines: structure, names and numbers are theirs; what nobody reads
is left out, and serial numbers are invented. sysfs.txt holds a file of /sys or /proc a line, PATH: TEXT.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpctools.errors import NotFound
from hpctools.inventory import report
from hpctools.inventory.discover import discover
from hpctools.process import Completed

MACHINES = Path(__file__).parent / "machines"
NAMES = tuple(sorted(folder.name for folder in MACHINES.iterdir()))
# What each program's answer is kept as.
ANSWERS = {
    ("slurmd", "-C"): "slurmd.txt",
    ("nvidia-smi", "-q", "-x"): "nvidia-smi.xml",
    ("nvidia-smi", "topo", "-m"): "topo.txt",
    ("nvidia-smi", "-L"): "list.txt",
}


def text(machine: str, name: str) -> str:
    return (MACHINES / machine / name).read_text()


class Programs:
    """A Run that answers as a machine's programs did; changed: (status, stdout) instead, None for absent."""

    def __init__(
        self, machine: str, changed: Mapping[tuple[str, ...], tuple[int, str] | None] | None = None
    ) -> None:
        self.machine, self.changed = machine, changed or {}

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Completed:
        words = tuple(argv)
        answer = self.changed.get(words, (0, ""))
        if words not in ANSWERS or answer is None:
            raise NotFound(f"{words[0]}: cannot be run")
        status, stdout = answer if words in self.changed else (0, text(self.machine, ANSWERS[words]))
        return Completed(words, status, stdout, "")


def plant(root: Path, lines: str) -> Path:
    """Make the files of a sysfs.txt below root."""
    for line in lines.splitlines():
        name, _, content = line.partition(": ")
        path = root / name.rstrip(":")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def report_of(machine: str, root: Path) -> report.Report:
    """The report of a machine; its /sys and /proc are made below root."""
    return discover(Programs(machine), plant(root, text(machine, "sysfs.txt")))
