"""`conf lint`: what slurmctld, slurmd and slurmdbd would refuse, and what they do not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Finding, in_order
from hpctools.conf.load import candidates
from hpctools.conf.rules import rules
from hpctools.conf.rules.size import OF_ANY_SIZE, too_many


def lint(paths: Sequence[str], *, release: str) -> list[Finding]:
    """All problems of the configurations at paths (folders, or single files) under a release.

    release: major.minor, one of hpctools.slurm.releases.RELEASES. A file named alone is judged alone:
    what may stand in its siblings is not missed. Raises InvalidInput for paths that cannot be read.
    """
    return judge(candidates(paths, release))


def judge(found: Iterable[Candidate]) -> list[Finding]:
    """All problems of candidates, in the files' order, by line."""
    every = rules().values()
    # What would take hours to judge, and no cluster is, is told for that alone.
    small = [rule for rule in every if rule.name in OF_ANY_SIZE]
    return in_order(
        finding
        for candidate in found
        for rule in (small if too_many(candidate) else every)
        for finding in rule.findings(candidate)
    )
