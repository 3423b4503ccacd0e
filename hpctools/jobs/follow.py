"""Following a job: why it waits, its log from the moment it starts, how it ended.

The log is read from the file, five times a second, without asking Slurm anything. Slurm is asked
beside that, in a thread, because it may take its time to answer.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hpctools.errors import NotFound
from hpctools.jobs import named, report, watch, words
from hpctools.jobs.logs import Tail, Writer
from hpctools.jobs.named import Named
from hpctools.jobs.pace import AWAY, GLANCE_S, Away, Pace, Results
from hpctools.jobs.record import Record
from hpctools.jobs.said import visible
from hpctools.jobs.state import JobState
from hpctools.jobs.watch import Seen
from hpctools.process import Run
from hpctools.slurm import units, why

# What follow ends with when Ctrl-C detaches it: the job goes on, so it has no status yet.
DETACHED = 128 + 2
# Jobs often start at once, and pass through a moment without a reason or with nodes to be cleaned:
# only what lasts longer is told.
SETTLES_S = 3.0

T = TypeVar("T")


def _say(text: str) -> None:
    print(f"hpctools: {visible(text)}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Teller:
    """Where news goes that is not the log: say for lines, live for a line that is rewritten (an
    empty text takes it away); live does nothing where there is no terminal.
    """

    say: Callable[[str], None] = _say
    live: Callable[[str], None] = lambda _: None


class Followed(Protocol):
    """A log that is followed: Tail, RankTail."""

    def copy(self, out: Writer, /) -> int: ...

    def drain(self, out: Writer, /) -> int: ...

    def close(self) -> None: ...


def follow(
    record: Record,
    out: Writer,
    run: Run,
    *,
    teller: Teller | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Follow a submission to its end: its log to out, all else to teller; returns the job's status.

    A job that is put back into the queue is followed on, and so is one while Slurm is away. Ctrl-C
    detaches: the job goes on, and 130 is returned. Raises NotFound when Slurm has no such job.
    """
    teller = teller or Teller()
    job = named.by_record(record, run)
    if job.job_id is None:
        raise NotFound(f"{record.run}: Slurm has no job of this submission")
    tail = Tail(record.log(), say=teller.say) if record.array is None else None
    try:
        with contextlib.closing(tail) if tail is not None else contextlib.nullcontext():
            ended = Follower(job, tail, out, run, teller, sleep, clock).to_the_end()
        whole = report.settled(ended, run, sleep)
    except KeyboardInterrupt:
        teller.live("")
        teller.say(f"detached; job {job.job_id} goes on. Follow it again: hpctools logs -f {job.job_id}")
        teller.say(f"To end it: hpctools cancel {job.job_id}")
        return DETACHED
    for line in words.end(whole):
        teller.say(line)
    return whole.status or 0


class Follower:
    """The state of following one job, or all tasks of an array (which have no common log)."""

    def __init__(
        self,
        job: Named,
        tail: Followed | None,
        out: Writer,
        run: Run,
        teller: Teller,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._tail, self._run = job, tail, run
        self._out = _Clean(out, teller.live)
        self._teller, self._sleep, self._clock = teller, sleep, clock
        self._question = InBackground(lambda: watch.peek(job, run))
        self._pace, self._away = Pace(clock), Away(teller.say)
        self._results = Results(job.records[0].run if job.records else None, clock)
        self._told: object = None
        self._changed_s = clock()
        self._key: object = None
        self._running = False
        self._waiting: JobState | None = None

    def to_the_end(self) -> Seen:
        """Copy the log and tell what changes until the job has ended; returns its last state."""
        while True:
            seen = self._news()
            if seen is not None:
                self._tell(seen)
                if seen.ended and not seen.away:
                    break
            copied = self._tail.copy(self._out) if self._tail is not None else 0
            if (copied and not self._running) or self._results.appeared():
                self._pace.hurry()
            if copied:
                self._waiting = None
            elif self._waiting is not None:
                self._teller.live(_live(self._waiting))
            if not copied:
                self._sleep(GLANCE_S)
        self._teller.live("")
        self._rest()
        if len(seen.jobs) > 1:
            with contextlib.suppress(*AWAY):  # slurmctld may have forgotten tasks; accounting has not
                return watch.look(self._job, self._run)
        return seen

    def _rest(self) -> None:
        if self._tail is None:
            return
        # The last lines may still be on their way from another node's cache.
        self._sleep(GLANCE_S)
        self._tail.drain(self._out)

    def _news(self) -> Seen | None:
        """Slurm's newest answer, if one came since the last call; asks again when it is time."""
        answer: Seen | None = None
        if self._question.answered:
            with self._away:
                answer = self._question.take()
        if self._question.idle and self._pace.due():
            self._question.ask()
            self._pace.asked()
        return answer

    def _tell(self, seen: Seen) -> None:
        if len(seen.jobs) > 1 or self._tail is None:
            self._tell_array(seen)
            return
        job = seen.jobs[0]
        # It has begun: what it writes is no news any more that would have to be looked into.
        self._running = not job.waiting
        key = (job.state, job.reason if job.waiting else "", job.restarts)
        if key != self._key:
            self._key, self._changed_s = key, self._clock()
        waited = job.waiting and job.reason not in ("", "None", "Cleaning")
        lasts = self._clock() - self._changed_s >= SETTLES_S
        if key != self._told and not job.ended and (waited or lasts or job.state == "RUNNING"):
            self._told = key
            self._teller.say(_news_of(job))
        if self._waiting and not job.waiting:
            self._teller.live("")
        self._waiting = job if job.waiting else None

    def _tell_array(self, seen: Seen) -> None:
        """Of an array: how many tasks are in which state, whenever that has changed."""
        tally = words.tally(seen.jobs)
        if tally != self._told and not seen.ended:  # the end is told by itself
            self._told = tally
            self._teller.say(f"array {self._job.job_id}: {tally}")


def _news_of(job: JobState) -> str:
    if job.waiting:
        again = "was put back into the queue and " if job.restarts else ""
        return f"job {job.job_id} {again}waits: {words.waiting(job)}"
    if job.state == "RUNNING":
        attempt = f" (attempt {job.restarts + 1})" if job.restarts else ""
        return f"job {job.job_id}{attempt} {words.started(job)}"
    return f"job {job.job_id} is {job.state}: {why.explain_state(job.state)}"


def _live(job: JobState) -> str:
    since = units.format_duration(max(0, int(time.time()) - (job.submit_s or int(time.time()))))
    why_not = f" ({job.reason})" if job.reason else ""
    plan = f", planned start {words.moment(job.start_s)}" if job.start_s else ""
    return f"job {job.job_id} has waited {since}{why_not}{plan}"


class _Clean:
    """Takes the live line away before the log's first bytes come."""

    def __init__(self, out: Writer, live: Callable[[str], None]) -> None:
        self._out, self._live = out, live

    def write(self, data: bytes) -> object:
        self._live("")
        return self._out.write(data)

    def flush(self) -> object:
        return self._out.flush()


class InBackground(Generic[T]):
    """Asks one thing at a time in a thread, so that all else goes on meanwhile."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answers: list[T | Exception] = []
        self.idle = True

    @property
    def answered(self) -> bool:
        """Whether there is an answer to take."""
        return bool(self._answers)

    def ask(self) -> None:
        """Begin to ask."""
        import threading

        self.idle = False
        # A daemon: whoever detaches does not wait for Slurm.
        threading.Thread(target=self._answer, daemon=True).start()

    def take(self) -> T:
        """The answer, once, when answered. Raises what asking raised."""
        answer = self._answers.pop()
        self.idle = True
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self) -> None:
        try:
            self._answers.append(self._ask())
        except Exception as error:  # it is raised where the answer is taken
            self._answers.append(error)


def follow_log(job: Named, tail: Followed, out: Writer, run: Run, *, teller: Teller | None = None) -> Seen:
    """Copy a job's log, or a rank's, to out until the job has ended; returns its last state."""
    with contextlib.closing(tail):
        return Follower(job, tail, out, run, teller or Teller()).to_the_end()
