"""slurmctld: started on a candidate, until it answers, ends, or does neither."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hpctools.conf.verify import messages
from hpctools.conf.verify.throwaway import Throwaway
from hpctools.errors import HpctoolsError
from hpctools.sandbox import ports, processes
from hpctools.slurm import scontrol
from hpctools.slurm.scontrol import Partition

# 10,000 nodes take 1 s on two cores; a controller that has said nothing by then hangs.
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Boot:
    """How it went. partitions: None where slurmctld did not come up. why: of that, where the log of
    slurmctld does not tell; seconds: until it answered."""

    partitions: tuple[Partition, ...] | None
    seconds: float
    why: str = ""
    crashed: bool = False


def boot(cluster: Throwaway, patience_s: float = PATIENCE_S) -> Boot:
    """Start slurmctld and wait until it answers, ends, or waits for a file that is not there."""
    begun = time.monotonic()
    cluster.forget_said("slurmctld")
    cluster.start("slurmctld")
    found: list[Boot] = []
    # A command that asks a controller which is about to crash waits in vain: ask again, with more time.
    limits_s = iter([1.0, 2.0, 4.0, 8.0])

    def decided() -> bool:
        found[:] = [one for one in (_look(cluster, begun, limits_s),) if one]
        return bool(found)

    if processes.wait_until(decided, patience_s):
        return found[0]
    why = f"slurmctld neither answers nor ends within {patience_s:.0f} s"
    return Boot(None, time.monotonic() - begun, why)


def _look(cluster: Throwaway, begun: float, limits_s: Iterator[float]) -> Boot | None:
    status = cluster.ended("slurmctld")
    if status is not None:
        return Boot(None, time.monotonic() - begun, *_ending(status))
    if messages.STALL.search(cluster.said("slurmctld")):
        return Boot(None, time.monotonic() - begun)
    partitions = _partitions(cluster, limits_s)
    return None if partitions is None else Boot(partitions, time.monotonic() - begun)


def _ending(status: int) -> tuple[str, bool]:
    if status >= 0:
        return f"slurmctld ended with status {status}", False
    name = signal.Signals(-status).name
    return f"slurmctld crashed: signal {-status} ({name})", True


def _partitions(cluster: Throwaway, limits_s: Iterator[float]) -> tuple[Partition, ...] | None:
    """What slurmctld has; None while it does not answer."""
    # A command would wait 10 s for a port on which nobody listens.
    if ports.free(cluster.sandbox.address, cluster.sandbox.ports["slurmctld"]):
        return None
    try:
        done = cluster.command(scontrol.partitions_command(), timeout_s=next(limits_s, 16.0))
    except HpctoolsError:
        return None
    return scontrol.parse_partitions(done.stdout) if done.status == 0 else None
