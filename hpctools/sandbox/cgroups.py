"""The cgroup folders that Slurm leaves behind when its daemons end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from hpctools.sandbox import processes

CGROUPS = Path("/sys/fs/cgroup")


def folders(nodes: Iterable[str], mount: Path = CGROUPS) -> list[Path]:
    """Slurm's folders of these nodes in each hierarchy of version 1 (slurm_<node>), deepest first."""
    found: list[Path] = []
    for node in nodes:
        for top in mount.glob(f"*/slurm_{node}"):
            found += [*(path for path in top.rglob("*") if path.is_dir()), top]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def remove(nodes: Iterable[str]) -> None:
    """Remove them; one whose last process is still going is tried again for a while."""

    def none_left() -> bool:
        for folder in folders(nodes):
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not folders(nodes)

    processes.wait_until(none_left, 5)
