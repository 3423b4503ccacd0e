"""What a job left behind in its run folder: logs and the statuses of its ranks.

    RUN/slurm.out                 the log of the job (of a task of an array: slurm-12_3.out)
    RUN/attempt-0/                one for each time that Slurm started the job
    RUN/task-3/attempt-0/         the same of a task of an array
    RUN/ended-3                   that this task has ended, and needs no secrets any more
        rank-00000.log            what the rank wrote
        rank-00000.json           how it ended        node-000.json: the same of a node's task
        result.json               the job's status, its first failure and what comes next
        begin.json                when it began, and where
        checkpoint-00000.json     the newest checkpoint, and how long it took
        bad-n3.json               that a node was found unfit
        preflight.json            what the preflight found of all nodes; preflight-000.json: of one

The files are written by those of hpctools/jobs/runtime and by hpctools/preemption.py. Any of them may be
missing or half a file, because a job can be killed at any moment: then it is treated as not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# result.json ends with the last lines of the rank that failed: it is small. Whatever is larger
# than this was not written by us.
LARGEST_RECORD = 4 * 1024 * 1024

# What a rank ends with that has saved and is to be started again (hpctools/preemption.py).
CHECKPOINTED, DO_NOT_RESTART = 75, 93


@dataclass(frozen=True)
class Failure:
    """How a rank, or a node's task (rank is None then), failed.

    status: 0..255, 128+signal. ended_s: seconds since 1970. asked: it was told to stop before. stage:
    "preflight" or "container" where it failed before there was a rank.
    """

    rank: int | None
    local_rank: int | None
    node: int | None
    host: str
    status: int
    signal: str | None
    ended_s: float
    last_lines: tuple[str, ...] = ()
    asked: bool = False
    stage: str = ""


@dataclass(frozen=True)
class Result:
    """The end of one attempt: the status of the job, and the first rank that failed.

    state: finished, checkpointed, failed, stopped (told to end, and nothing was saved) or do not
    restart; "" where the attempt was killed before it could say. reason: why the job is started again,
    or why it is not. successor: the job that goes on with the run, where it is not the same one.
    checkpoint_step, checkpoint_s: the newest checkpoint, and the seconds that the longest one took.
    """

    status: int
    first_failure: Failure | None
    ended_s: float
    state: str = ""
    reason: str = ""
    successor: str | None = None
    checkpoint_step: int | None = None
    checkpoint_s: float | None = None


def attempts(run: Path, task: str | None = None) -> tuple[Path, ...]:
    """The folders of a job's attempts, oldest first; task is the task's id in an array."""
    parent = run if task is None else run / f"task-{task}"
    found: list[tuple[int, Path]] = []
    try:
        with os.scandir(parent) as entries:
            for entry in entries:
                number = entry.name.removeprefix("attempt-")
                if number != entry.name and number.isdecimal():
                    found.append((int(number), Path(entry.path)))
    except OSError:
        return ()
    return tuple(path for _, path in sorted(found))


def tasks(run: Path) -> tuple[str, ...]:
    """The ids of the tasks of an array that have started, in order."""
    try:
        names = [name.removeprefix("task-") for name in os.listdir(run) if name.startswith("task-")]
    except OSError:
        return ()
    return tuple(sorted((name for name in names if name.isdecimal()), key=int))


def rank_log(attempt: Path, rank: int) -> Path:
    """The file that holds both outputs of a rank."""
    return attempt / f"rank-{rank:05d}.log"


def ranks(attempt: Path) -> tuple[int, ...]:
    """The ranks that have a log in an attempt's folder, in order."""
    try:
        names = os.listdir(attempt)
    except OSError:
        return ()
    numbers = (n[5:-4] for n in names if n.startswith("rank-") and n.endswith(".log"))
    return tuple(sorted(int(number) for number in numbers if number.isdecimal()))


def result(attempt: Path) -> Result | None:
    """How an attempt ended: as result.json says, else made from what the ranks recorded.

    None while nothing has ended. A killed batch script leaves no result.json, but its ranks may
    have left their own.
    """
    said = _read(attempt / "result.json")
    if said is not None:
        failure = said.get("first_failure")
        saved, after = _mapping(said.get("checkpoint")), _mapping(said.get("next"))
        job_id = str(after.get("job_id") or "")
        return Result(
            _int(said.get("status"), 1),
            _failure(failure) if isinstance(failure, Mapping) else None,
            _float(said.get("ended_s")),
            state=str(said.get("state") or ""),
            reason=str(after.get("reason") or said.get("reason") or ""),
            successor=job_id if job_id.isdecimal() else None,
            checkpoint_step=_optional_int(saved.get("step")),
            checkpoint_s=_float(saved.get("seconds")) if saved else None,
        )
    first = first_failure(attempt)
    return None if first is None else Result(first.status, first, first.ended_s)


def successor(run: Path, task: str | None = None) -> str | None:
    """The newest job that went on with a run under an id of its own."""
    for folder in reversed(attempts(run, task)):
        known = result(folder)
        if known is not None and known.successor is not None:
            return known.successor
    return None


def job_ids(run: Path) -> tuple[str, ...]:
    """The jobs of a run's attempts, oldest first: successors have ids of their own."""
    began = (_read(attempt / "begin.json") or {} for attempt in attempts(run))
    return tuple(dict.fromkeys(str(one["job_id"]) for one in began if str(one.get("job_id")).isdecimal()))


def is_earlier(attempt: Path, job_id: str, restarts: int | None) -> bool:
    """Whether an attempt belongs to an earlier start of a job than the one after so many restarts."""
    began = _read(attempt / "begin.json") or {}
    count = str(began.get("restart_count"))
    return (
        restarts is not None and began.get("job_id") == job_id and count.isdecimal() and int(count) < restarts
    )


def has_ended(attempt: Path) -> bool:
    """Whether the batch script wrote its result: one stat, for those who look often."""
    return (attempt / "result.json").exists()


def first_failure(attempt: Path) -> Failure | None:
    """The earliest failure among the records of an attempt's ranks, else of its nodes' tasks.

    Those that were told to stop come last: they end badly because another one did.
    """
    for prefix in ("rank-", "node-"):
        failed = [record for record in _records(attempt, prefix) if record.status not in (0, CHECKPOINTED)]
        if failed:
            return min(failed, key=lambda record: (record.asked, record.ended_s))
    return None


def _records(attempt: Path, prefix: str) -> Iterator[Failure]:
    try:
        names = sorted(os.listdir(attempt))
    except OSError:
        return
    for name in names:
        if name.startswith(prefix) and name.endswith(".json"):
            record = _read(attempt / name)
            if record is not None:
                yield _failure(record)


def _read(path: Path) -> Mapping[str, object] | None:
    import json

    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_RECORD + 1)
        value = json.loads(data) if len(data) <= LARGEST_RECORD else None
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _failure(record: Mapping[str, object]) -> Failure:
    lines = record.get("last_lines")
    signal = record.get("signal")
    return Failure(
        rank=_optional_int(record.get("rank")),
        local_rank=_optional_int(record.get("local_rank")),
        node=_optional_int(record.get("node")),
        host=str(record.get("host") or ""),
        status=_int(record.get("status"), 1),
        signal=str(signal) if signal else None,
        ended_s=_float(record.get("ended_s")),
        last_lines=tuple(str(line) for line in lines) if isinstance(lines, list) else (),
        asked=record.get("asked") is True,
        stage=next((name for name in ("preflight", "container") if record.get(name) is True), ""),
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _optional_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _int(value: object, otherwise: int) -> int:
    number = _optional_int(value)
    return otherwise if number is None else number


def _float(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
