"""`conf upgrade`: what a newer release breaks in a configuration, and the files that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpctools.conf.finding import Finding
from hpctools.conf.judge import lint
from hpctools.conf.mending import Fixed, fix
from hpctools.slurm.releases import RELEASES

# From which releases the daemons take over state and database: the release notes of each.
# https://slurm.schedmd.com/upgrades.html: two releases back until 24.05, three since.
_REACH = {
    "23.02": ("21.08", "22.05"),
    "23.11": ("22.05", "23.02"),
    "24.05": ("23.02", "23.11"),
    "24.11": ("23.02", "23.11", "24.05"),
    "25.05": ("23.11", "24.05", "24.11"),
    "25.11": ("24.05", "24.11", "25.05"),
    "26.05": ("24.11", "25.05", "25.11"),
}


@dataclass(frozen=True)
class Upgrade:
    """fixed: the configuration under the new release. new: what of fixed.mended and fixed.left is not
    wrong in the old one already. steps: the releases to go through, the last is the new one.
    """

    fixed: Fixed
    new: tuple[Finding, ...]
    steps: tuple[str, ...]


def upgrade(paths: Sequence[str], *, to: str, since: str | None = None) -> Upgrade:
    """What becomes of the configurations at paths under release to; since: the release they are for.

    Nothing is written. Raises InvalidInput as lint does, and where to is older than since.
    """
    fixed = fix(paths, release=to)
    said = {_said(finding, since) for finding in lint(paths, release=since)} if since else set()
    every = (*fixed.mended, *fixed.left)
    return Upgrade(fixed, tuple(one for one in every if _said(one, to) not in said), steps(since, to))


def steps(since: str | None, to: str) -> tuple[str, ...]:
    """The fewest releases from since to to that Slurm upgrades over, since itself left out."""
    way: list[str] = [to]
    while since and since not in (way[0], *_REACH.get(way[0], ())):
        earlier = [release for release in _REACH.get(way[0], ()) if release in RELEASES]
        if not earlier:
            break
        way.insert(0, min(earlier, key=RELEASES.index))
    return tuple(way)


def _said(finding: Finding, release: str) -> tuple[str, str, str]:
    """What two releases say alike: lines move when files are mended, and a message may name the release."""
    return finding.file, finding.rule, finding.message.replace(release, "")
