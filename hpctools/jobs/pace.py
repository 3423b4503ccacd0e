"""When to ask Slurm about a job that is waited for, and what to do when Slurm is away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from hpctools.errors import CommandError, CommandTimeout, SlurmUnavailable
from hpctools.jobs import run_folder

# How often Slurm is asked: quickly at first, because most mistakes show at once, then politely.
FIRST_S, LONGEST_S, GROWTH = 1.0, 10.0, 1.3
# How often a log, and the run folder, is looked at, which costs Slurm nothing.
GLANCE_S = 0.2
RESULTS_S = 1.0

# Slurm did not answer: it may in a moment. A job that it does not know is no such error.
AWAY = (SlurmUnavailable, CommandTimeout)


def reason_of(error: CommandError) -> str:
    """The last line of what a command said, without the command's name."""
    lines = error.stderr.strip().splitlines() or ["no message"]
    return lines[-1].split("error: ")[-1]


class Pace:
    """When to ask Slurm next: 1 s after the first time, later up to 10 s, at once when hurried."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, longest_s: float = LONGEST_S) -> None:
        self._clock, self._longest_s = clock, longest_s
        self._interval_s = FIRST_S
        self._due_s = clock()

    def due(self) -> bool:
        """Whether it is time."""
        return self._clock() >= self._due_s

    def asked(self) -> None:
        """It was asked now."""
        self._due_s = self._clock() + self._interval_s
        self._interval_s = min(self._longest_s, self._interval_s * GROWTH)

    def hurry(self) -> None:
        """Something happened: ask soon, and often for a while."""
        self._interval_s = FIRST_S / 2
        self._due_s = min(self._due_s, self._clock() + FIRST_S / 4)


class Results:
    """Notices new results in the run folder of a job: it is about to end."""

    def __init__(
        self, run: str | os.PathLike[str] | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = None if run is None else Path(run)
        self._seen: Path | None = None
        self._clock, self._due_s = clock, clock()

    def appeared(self) -> bool:
        """Whether the newest attempt has left its result since the last call; looks once a second.

        Of arrays, nothing is noticed: looking at a thousand tasks would keep a file server busy.
        """
        if self._clock() < self._due_s:
            return False
        self._due_s = self._clock() + RESULTS_S
        attempts = run_folder.attempts(self._run) if self._run is not None else ()
        if not attempts or attempts[-1] == self._seen or not run_folder.has_ended(attempts[-1]):
            return False
        self._seen = attempts[-1]
        return True


class Away:
    """Survives Slurm's absence: says so once, and once that it is back."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.now = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        if isinstance(error, AWAY):
            if not self.now:
                self._say(f"Slurm does not answer ({reason_of(error)}); jobs run on without it")
            self.now = True
            return True
        if error is None and self.now:
            self._say("Slurm answers again")
            self.now = False
        return False
