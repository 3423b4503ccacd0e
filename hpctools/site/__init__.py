"""Site files: written from a live cluster, and proved by a job.

    import hpctools.site

    print(hpctools.site.init())
    bad = [one for one in hpctools.site.check("./site.yaml") if one.verdict == "bad"]

Which cluster is asked is decided as on the command line. Errors are those of hpctools.errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpctools.sandbox import choice
from hpctools.site import checking, starting
from hpctools.site.checking import Asked
from hpctools.site.verdicts import Check

__all__ = ["Check", "check", "init"]

Say = Callable[[str], None]


def init(
    partition: str | None = None,
    account: str | None = None,
    *,
    probe: bool = True,
    say: Say = lambda _: None,
) -> str:
    """The text of a site's file for the cluster at hand, as `hpctools site init` prints it.

    probe: whether a job of seconds looks at one node. Raises InvalidInput for a partition that is not there,
    NotFound and SlurmUnavailable without Slurm.
    """
    choice.choose()
    return starting.init(partition, account, probe=probe, say=say)


def check(
    site: str | None = None,
    *,
    partitions: Sequence[str] = (),
    nodes: int | None = None,
    gpus_per_node: int | str | None = None,
    account: str | None = None,
    wait_s: float = 600,
    say: Say = lambda _: None,
) -> tuple[Check, ...]:
    """Prove a site's file (default: as for submit) by a job in each partition, as `hpctools site check` does.

    wait_s: for how long a job may wait for its nodes. Raises InvalidInput with all that is wrong in the file.

    >>> [one.name for one in hpctools.site.check("./site.yaml") if one.verdict == "bad"]
    ['setup', 'scratch']
    """
    choice.choose()
    gpus = None if gpus_per_node is None else str(gpus_per_node)
    return checking.check(Asked(site, tuple(partitions), nodes, gpus, account, wait_s), say=say)
