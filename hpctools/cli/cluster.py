"""Which cluster a command means, said where it was not told."""

from __future__ import annotations

from hpctools.cli.output import remark
from hpctools.sandbox import choice


def choose() -> None:
    """Set SLURM_CONF where one sandbox is up and nothing else names a cluster; say so on stderr.

    Raises InvalidInput when several are up.
    """
    if name := choice.choose():
        remark(f"on the sandbox {name}")
