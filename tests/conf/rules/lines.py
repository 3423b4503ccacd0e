"""A slurm.conf of a few lines, and what some rules say of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpctools.conf.finding import Finding
from hpctools.conf.judge import lint

BEGIN = "ClusterName=alpha\nSlurmctldHost=head\n"


def say(folder: Path, rules: Sequence[str], *lines: str, release: str = "26.05") -> list[Finding]:
    """What rules find in a whole slurm.conf that holds lines."""
    (folder / "slurm.conf").write_text(BEGIN + "".join(f"{line}\n" for line in lines))
    return [one for one in lint([str(folder)], release=release) if one.rule in rules]
