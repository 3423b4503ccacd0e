"""Files that were not judged."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import At, Problem
from hpctools.conf.rules import rule


@rule("not-judged", "warning")
def not_judged(candidate: Candidate) -> Iterator[Problem]:
    for path, why in candidate.unread:
        yield Problem(At(path), f"{why}; it was not judged", "run as who may read it, root or SlurmUser")
