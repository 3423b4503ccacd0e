"""Configurations that are too large to be one: names in short lists that stand for millions of hosts."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, once
from hpctools.conf.finding import Place, Problem
from hpctools.conf.rules import rule
from hpctools.slurm import hostlist

# 65,536 nodes, the most that slurmctld takes, each named 64 times.
_MOST_NAMES = 64 * 65536
# The rules that look at no list.
OF_ANY_SIZE = frozenset(
    "too-many-names unknown-key removed-key newer-key defunct-key unreadable-line several-keys repeated-key "
    "value-type include-missing".split()
)


@rule("too-many-names", "error")
def too_many_names(candidate: Candidate) -> Iterator[Problem]:
    found = too_many(candidate)
    if found:
        message = (
            f"with this line the lists stand for more than {_MOST_NAMES:,} names; nothing else was judged"
        )
        yield Problem(found, message, f"slurmctld takes {65536:,} nodes: look for a range that is too wide")


@once
def too_many(candidate: Candidate) -> Place | None:
    """Where the lists of a candidate have come to stand for too many names; None where they do not."""
    total = 0
    for place, text in _lists(candidate):
        total += hostlist.about(text)
        if total > _MOST_NAMES:
            return place
    return None


def _lists(candidate: Candidate) -> Iterator[tuple[Place, str]]:
    for conf in candidate.confs.values():
        for line in conf.lines:
            for pair in line.pairs:
                if "[" in pair.value:
                    yield pair, pair.value
    for yaml in candidate.yamls.values():
        if yaml.root:
            for _, value in yaml.root.walk():
                for one in (value, *value.items):
                    if "[" in one.text:
                        yield one, one.text
