"""A door to a Slurm that answers what a real one once did (tests/recorded), job by job."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hpctools.errors import CommandTimeout
from hpctools.process import Completed
from hpctools.slurm import rows

ROOT = Path(__file__).resolve().parent.parent / "recorded"
RELEASES = sorted(folder.name for folder in ROOT.iterdir())
# The release that answers; the fixture of this name (tests/jobs/conftest.py) runs a test with each.
release = RELEASES[0]
DELIMITER = "~0123456789abcdef~"
AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


@cache
def _answer(of_release: str, program: str) -> tuple[list[str], list[list[str]]]:
    return rows.read((ROOT / of_release / f"{program}.txt").read_text(), program)


def number(name: str, task: str | None = None) -> str:
    """The id of a job of the recording by its name (tests/record.py: "running", "array")."""
    job = next(value for value in queue() if value["NAME"] == name)
    return job["ARRAY_JOB_ID"] if task is None else f"{job['ARRAY_JOB_ID']}_{task}"


def slurm_id(name: str, task: str | None = None) -> str:
    """The number that slurmctld keeps a job, or a task of an array, under."""
    return next(
        value["JOBID"]
        for value in queue()
        if value["NAME"] == name and task in (None, value["ARRAY_TASK_ID"])
    )


def told(name: str, column: str) -> str:
    """What squeue said of a job in one of its columns."""
    return next(value[column] for value in queue() if value["NAME"] == name)


def queue() -> list[dict[str, str]]:
    """All rows of squeue's answer."""
    names, found = _answer(release, "squeue")
    return [dict(zip(names, row, strict=True)) for row in found]


class Replay:
    """Answers squeue, sacct and `scontrol show job` from the recording.

    forgotten: jobs that slurmctld knows no more. away: programs that get no answer. changes: what
    the first, second ... squeue says of a job that the recording does not, by squeue's columns;
    the last stays.
    """

    def __init__(
        self,
        *,
        forgotten: Sequence[str] = (),
        away: Mapping[str, int] | None = None,
        accounting: bool = True,
        changes: Sequence[Mapping[str, Mapping[str, str]]] = ({},),
    ) -> None:
        self.forgotten = forgotten
        self.away = dict(away or {})
        self.accounting = accounting
        self.changes = list(changes)
        self.asked: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Completed:
        self.asked.append(list(argv))
        assert timeout_s is not None, "every call is bounded in time"
        if self.away.get(argv[0], 0) > 0:
            self.away[argv[0]] -= 1
            if self.away[argv[0]] % 2:
                raise CommandTimeout(argv, 137, f"no end within {timeout_s} s")
            return Completed(tuple(argv), 1, "", AWAY)
        status, out, err = {"squeue": self._squeue, "sacct": self._sacct, "scontrol": self._scontrol}[
            argv[0]
        ](argv)
        return Completed(tuple(argv), status, out, err)

    def count(self, program: str) -> int:
        """How often a program was run."""
        return sum(1 for argv in self.asked if argv[0] == program and "--version" not in argv)

    def _squeue(self, argv: Sequence[str]) -> tuple[int, str, str]:
        if "--states=PENDING" in argv:
            known = number("resources") in ids(argv)
            return 0, (ROOT / release / f"squeue-start{'' if known else '-running'}.txt").read_text(), ""
        change = self.changes.pop(0) if len(self.changes) > 1 else self.changes[0]
        names, _ = _answer(release, "squeue")
        wanted = ids(argv)
        kept = []
        for value in queue():
            numbers = {
                value["JOBID"],
                value["ARRAY_JOB_ID"],
                f"{value['ARRAY_JOB_ID']}_{value['ARRAY_TASK_ID']}",
            }
            if (wanted and not numbers & wanted) or numbers & set(self.forgotten):
                continue
            value |= change.get(value["JOBID"], {})
            kept.append([value[name] for name in names])
        if not kept and len(wanted) == 1:
            return 1, "", "slurm_load_jobs error: Invalid job id specified\n"
        return 0, text(names, kept), ""

    def _sacct(self, argv: Sequence[str]) -> tuple[int, str, str]:
        if "--version" in argv:
            return 0, f"slurm {release}.1\n", ""
        if not self.accounting:
            return 1, "", "Slurm accounting storage is disabled\n"
        names, found = _answer(release, "sacct")
        wanted = ids(argv)
        number = names.index("JobID")
        kept = [row for row in found if not wanted or {row[number], row[number].partition("_")[0]} & wanted]
        return 0, text(names, kept), ""

    def _scontrol(self, argv: Sequence[str]) -> tuple[int, str, str]:
        job = argv[-1]
        name = next(
            (value["NAME"] for value in queue() if value["JOBID"] == value["ARRAY_JOB_ID"] == job), ""
        )
        path = ROOT / release / f"scontrol-job-{name.replace(' ', '-')}.txt"
        # Of an array it would answer with all tasks.
        if job in self.forgotten or not path.is_file() or "array" in name:
            return 1, "", "slurm_load_jobs error: Invalid job id specified\n"
        return 0, path.read_text(), ""


def ids(argv: Sequence[str]) -> set[str]:
    """The jobs that a command asks for."""
    return {job for word in argv if word.startswith("--jobs=") for job in word[7:].split(",")}


def text(names: Sequence[str], found: Sequence[Sequence[str]]) -> str:
    """Rows as squeue and sacct print them."""
    return "".join("".join(f"{value}{DELIMITER}" for value in row) + "\n" for row in (names, *found))
