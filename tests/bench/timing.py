"""Running commands for the clock, the figures of many runs, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import random
import re
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_S = 60
# What would change what is measured; PYTHONDONTWRITEBYTECODE would make Python compile each time.
SCRUBBED = ("PYTHON", "HPCTOOLS_", "SLURM_", "SBATCH_", "SUBMITIT_", "TORCHX_", "VIRTUAL_ENV")
KEPT = ("SLURM_CONF",)


@dataclass(frozen=True)
class Row:
    """A command that is timed. submits: what it prints last on stdout tells a job's id."""

    key: str
    what: str
    words: tuple[str, ...]
    submits: bool = False
    optional: bool = False


@dataclass
class Times:
    """Wall time of a command, and CPU time of it and its children, in seconds, one a round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """One run of a command."""

    status: int
    stdout: str
    stderr: str
    wall_s: float = 0
    cpu_s: float = 0

    @property
    def last_words(self) -> str:
        """Its last line, for a message."""
        return ((self.stderr.strip() or self.stdout.strip()).splitlines() or ["it said nothing"])[-1].strip()


class CannotRun(Exception):
    """A command does not do what it should."""


def plain_environment() -> dict[str, str]:
    """That of a user who has set nothing up but a cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SCRUBBED)}
    return kept | {name: os.environ[name] for name in KEPT if os.environ.get(name)}


def ask(words: Sequence[str | Path], env: Mapping[str, str], timeout_s: float = COMMAND_S) -> str:
    """What a command that is not timed prints. Raises CannotRun with its last line."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(str(error)) from error
    if done.returncode:
        raise CannotRun(f"{words[0]}: {Ended(done.returncode, done.stdout, done.stderr).last_words}")
    return done.stdout.strip()


def timed(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> Ended:
    """Run a command in folder to its end. It is killed after COMMAND_S."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start_s = time.perf_counter()
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=env)
        # Popen.wait with a timeout would look every few milliseconds; a thread that kills costs less.
        watchdog = threading.Timer(COMMAND_S, child.kill)
        watchdog.start()
        status = child.wait()
        wall_s = time.perf_counter() - start_s
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        watchdog.cancel()
        out.seek(0)
        err.seek(0)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said = out.read().decode(errors="replace"), err.read().decode(errors="replace")
        return Ended(status, said[0], said[1], wall_s, cpu_s)


def job_id(stdout: str) -> str:
    """The id that a tool printed: the last number, as of "Submitted batch job 7", slurm://torchx/7."""
    found: list[str] = re.findall(r"\d+", stdout)
    if not found:
        raise CannotRun(f"it printed no job's id but {stdout.strip()!r}")
    return found[-1]


def run_once(row: Row, folder: Path, env: Mapping[str, str]) -> tuple[Ended, str | None]:
    """One timed run, and the job that it submitted. Raises CannotRun unless it did what it should."""
    ended = timed(row.words, folder, env)
    if ended.status:
        raise CannotRun(f"`{' '.join(row.words)}` ended with {ended.status}: {ended.last_words}")
    return ended, job_id(ended.stdout) if row.submits else None


def measure(
    rows: Sequence[Row],
    rounds: int,
    limit_s: float,
    folder: Path,
    env: Mapping[str, str],
    tidy: Callable[[Sequence[str]], None],
) -> dict[Row, Times]:
    """Time every row once a round, in another order each time, until rounds or limit_s are over.

    tidy is given the jobs of each round and is not timed.
    """
    times = {row: Times() for row in rows}
    order, chance = list(rows), random.Random(0)  # noqa: S311 - repeatable, not secret
    until_s = time.monotonic() + limit_s
    for _ in range(rounds):
        chance.shuffle(order)
        jobs = []
        for row in order:
            ended, job = run_once(row, folder, env)
            times[row].wall_s.append(ended.wall_s)
            times[row].cpu_s.append(ended.cpu_s)
            jobs += [job] if job else []
        tidy(jobs)
        if time.monotonic() > until_s:
            break
    return times


def table(times: Mapping[Row, Times], unit: Sequence[str]) -> Iterator[str]:
    """The figures of each row, in milliseconds, and as multiples of the rows named in unit together."""
    unit_s = sum(statistics.median(one.wall_s) for row, one in times.items() if row.key in unit)
    yield f"| | command | median ms | minimum ms | 90 % below ms | CPU ms | median / ({' + '.join(unit)}) |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for row, one in times.items():
        middle_s = statistics.median(one.wall_s)
        high_s = sorted(one.wall_s)[int(0.9 * (len(one.wall_s) - 1))]
        seconds = (middle_s, min(one.wall_s), high_s, statistics.median(one.cpu_s))
        figures = " | ".join(f"{1000 * each:.1f}" for each in seconds)
        yield f"| {row.key} | {row.what} | {figures} | {middle_s / unit_s:.2f} |"


def machine(folder: Path) -> str:
    """What this runs on."""
    models = re.findall(r"^model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kind = ask(["df", "--output=fstype", folder], os.environ).splitlines()[-1]
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({(models or [platform.machine()])[0]}), "
        f"{platform.freedesktop_os_release().get('PRETTY_NAME', platform.system())}, "
        f"Linux {platform.release()}; the run folders are on {kind}"
    )
