"""Paths of logs with Slurm's patterns: %j, %A_%a (sbatch(1), FILENAME PATTERN)."""

from __future__ import annotations

import os


def absolute(pattern: str, work_dir: str) -> str:
    """A log's path as Slurm tells it, absolute; "" where it tells none.

    From 25.11 on Slurm tells slurm-%j.out without its folder where no --output was given. The
    folder's name is no pattern, so its percent signs are doubled.
    """
    return os.path.join(work_dir.replace("%", "%%"), pattern) if pattern else ""
