"""Training that saves before its job is ended, and goes on from there: a few lines in the loop.

    from hpctools import preemption

    watch = preemption.Watch()
    for step in range(first, steps):
        train(step)
        if watch.should_leave():            # the same answer on all ranks, at the same step
            with watch.saving(step):
                save(step)
            watch.leave()                   # all together; the job is started again

Slurm tells a job that it will be ended: before its time limit, and when another job preempts it. hpctools
passes that on to the ranks as SIGUSR1 or SIGTERM. This file needs nothing but Python 3.8 and its standard
library. It is copied into every run folder, so that jobs find it where hpctools is not installed. Without
hpctools submit it works as well: then leave ends the program with status 75 and nothing more happens.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, Callable, Iterator, Mapping, NoReturn

# What a rank ends with to say more than "well" or "badly". 75 is EX_TEMPFAIL of sysexits.h: try again.
CHECKPOINTED = 75
DO_NOT_RESTART = 93

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
# This rank's number, by torchrun, the mpirun of Open MPI, that of MPICH and Intel, else by srun: under mpirun
# Slurm's is the number of a helper that all ranks of a node share.
RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
# One rank may save for hours while the others wait for it: gloo's own limit is half an hour.
PATIENCE = datetime.timedelta(days=7)

Agree = Callable[[bool], bool]


class Watch:
    """Notices that the job will be ended. Make one in each rank, in its main thread.

    agree: says whether any rank was warned, to all ranks alike, whatever each of them was told; every
    rank calls it at the same steps. Default: torch.distributed where it is in use, over a gloo group of
    its own, so that no GPU waits; else this process alone decides. With mpi4py it is
    `lambda warned: comm.allreduce(warned, op=MPI.LOR)`.
    """

    def __init__(self, agree: Agree | None = None) -> None:
        self._agree = agree
        self._group: Any = None
        self._before: dict[int, Any] = {}
        self.warned_s = 0.0  # when this rank was warned, in seconds since 1970; 0 if it was not
        for signum in SIGNALS:
            self._before[signum] = signal.signal(signum, self._warn)

    def _warn(self, signum: int, frame: FrameType | None) -> None:
        is_first, self.warned_s = not self.warned_s, self.warned_s or time.time()
        before = self._before[signum]
        if is_first and callable(before) and before is not signal.default_int_handler:
            before(signum, frame)  # another library's, that was here before us

    def should_leave(self) -> bool:
        """Whether the ranks are to save and leave now. A collective call: at the same steps on all ranks.

        It costs a small all-reduce among the processors of the nodes, some 0.1 ms; for very short steps
        call it every N steps only.
        """
        warned = self.warned_s > 0
        if self._agree is not None:
            return bool(self._agree(warned))
        torch = _distributed()
        if torch is None:
            return warned
        flag = torch.tensor([int(warned)])
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX, group=self._own_group(torch))
        return bool(flag.item())

    @contextlib.contextmanager
    def saving(self, step: int) -> Iterator[None]:
        """Around the saving of a checkpoint: the run folder learns of its step, and how long it took.

        Use it for every checkpoint, also those that are saved every N steps: `hpctools submit` then
        warns when a preempted job would get less time than that.
        """
        began_s = time.monotonic()
        yield
        _mark(step, time.monotonic() - began_s)

    def leave(self) -> NoReturn:
        """Wait until every rank is here, then end with the status that says: saved, start me again.

        Functions of atexit run; `finally` and the destructors of the program do not, because at this
        point gloo's, for one, can wait for ever.
        """
        self.wait_for_all()
        mpi = sys.modules.get("mpi4py.MPI")
        if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
            mpi.Finalize()  # mpirun takes a rank that leaves without for one that failed
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(CHECKPOINTED)

    def wait_for_all(self) -> None:
        """A barrier that waits for as long as a checkpoint takes."""
        torch = _distributed()
        if self._agree is not None:
            self._agree(True)
        elif torch is not None:
            torch.distributed.all_reduce(torch.tensor([1]), group=self._own_group(torch))

    def _own_group(self, torch: Any) -> Any:
        if self._group is None:
            self._group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
        return self._group


def give_up(reason: str) -> NoReturn:
    """End this rank, and the job for good: it fails with status 93 and is not started again."""
    print(f"not to be started again: {reason}", file=sys.stderr, flush=True)
    raise SystemExit(DO_NOT_RESTART)


def bad_node(reason: str) -> None:
    """Tell that this node is not fit. If the job then fails, it is submitted again, once, without it."""
    name = os.environ.get("SLURMD_NODENAME", "")
    if name and "HPCTOOLS_RUN" in os.environ:
        _write(f"bad-{name}.json", {"node": name, "reason": reason, "at_s": time.time()})


def attempt() -> int:
    """How often the job was started before, from 0."""
    text = os.environ.get("HPCTOOLS_ATTEMPT", "")
    return int(text) if text.isdigit() else 0


def _distributed() -> Any:
    """torch, if its ranks have met; it is not imported for this."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    ready = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return torch if ready else None


_longest_s = 0.0


def _mark(step: int, seconds: float) -> None:
    global _longest_s
    _longest_s = max(_longest_s, seconds)
    if "HPCTOOLS_RUN" in os.environ:
        rank = int(next(filter(None, map(os.environ.get, RANK)), 0))
        value = {"rank": rank, "step": step, "seconds": seconds, "longest_s": _longest_s, "at_s": time.time()}
        _write(f"checkpoint-{rank:05d}.json", value)


def _write(name: str, value: Mapping[str, object]) -> None:
    """A file of the attempt's folder, whole or not at all; that it cannot be written ends no training."""
    folder = os.path.join(os.environ["HPCTOOLS_RUN"], f"attempt-{attempt()}")
    beside = os.path.join(folder, f"{name}.{os.getpid()}.tmp")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file)
        os.replace(beside, os.path.join(folder, name))
    except OSError as error:
        print(f"hpctools: cannot write {name}: {error}", file=sys.stderr, flush=True)
