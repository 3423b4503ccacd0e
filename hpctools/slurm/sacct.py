"""sacct: what accounting (slurmdbd) knows of jobs, also long after slurmctld has forgotten them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import file_pattern, job_id, rows, tres, units
from hpctools.slurm.job_id import JobId

# Set for every call: points in time as seconds since 1970.
ENV: Mapping[str, str] = MappingProxyType({"SLURM_TIME_FORMAT": "%s"})
# Taken out of the environment for every call.
UNSET = ("SACCT_FEDERATION", "SACCT_FORMAT", "SACCT_LOCAL", "SACCT_TRUNCATED")

# Known to sacct in every release from 20.11 on.
FIELDS = (
    "JobIDRaw",
    "JobID",
    "JobName",
    "User",
    "Account",
    "Partition",
    "QOS",
    "Cluster",
    "State",
    "ExitCode",
    "DerivedExitCode",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "ElapsedRaw",
    "TimelimitRaw",
    "ReqTRES",
    "AllocTRES",
    "NNodes",
    "NodeList",
    "Reason",
    "WorkDir",
    "SubmitLine",
)
# Fields that came later than 20.11, with the first release that has them. sacct ends with
# 'Invalid field requested' for one that it does not know.
SINCE: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"SubmitLine": (21, 8), "StdOut": (24, 5), "StdErr": (24, 5), "Restarts": (24, 11)}
)

_EXIT = re.compile(r"([0-9]+):([0-9]+)")
_CANCELLED = re.compile(r"CANCELLED by ([0-9]+)")


@dataclass(frozen=True)
class AccountedJob:
    """One job, or one task of an array, or (array_task_id "2-7%3") all waiting tasks of an array.

    A component of a heterogeneous job has a job_id of its own, and the first one's as het_job_id.
    24.11 and 26.05, unlike 22.05, tell that only once the job has started: before, each component
    looks like a job of its own, and only the first is found by the job's id. Nor do they mostly
    tell the reason of a job that waits; squeue does.
    Times are seconds since 1970, durations seconds, None where there is none yet. state is one
    word; cancelled_by is the user id behind CANCELLED. exit_status is the batch script's own,
    exit_signal the signal that ended it (0: none). tres and asked hold what was allocated and
    requested (mem in megabytes). restarts and stdout are None where the release does not tell;
    stdout is absolute, its patterns (%j, %A) not filled in, "" of jobs that have none (srun's).
    """

    job_id: str
    array_job_id: str | None
    array_task_id: str | None
    het_job_id: str | None
    het_offset: int | None
    name: str
    user: str
    account: str
    partition: str
    qos: str
    cluster: str
    state: str
    cancelled_by: int | None
    exit_status: int
    exit_signal: int
    derived_exit_status: int
    submit_s: int | None
    eligible_s: int | None
    start_s: int | None
    end_s: int | None
    elapsed_s: int
    time_limit_s: int | None
    asked: Mapping[str, int]
    tres: Mapping[str, int]
    nodes: int
    node_list: str
    reason: str
    work_dir: str
    submit_line: str
    restarts: int | None
    stdout: str | None

    @property
    def label(self) -> str:
        """The id that people use: 12, 15_3, 15_[4-7%2]."""
        if self.array_job_id is None:
            return self.job_id
        return str(JobId(self.array_job_id, self.array_task_id))


def fields(release: tuple[int, int]) -> tuple[str, ...]:
    """All fields that sacct of this release, (22, 5) for 22.05, can give us."""
    late = tuple(name for name in ("Restarts", "StdOut") if SINCE[name] <= release)
    return tuple(name for name in FIELDS if SINCE.get(name, release) <= release) + late


def command(
    *,
    job_ids: Sequence[str] = (),
    user: str | None = None,
    start: str | None = None,
    end: str | None = None,
    duplicates: bool = False,
    fields: Sequence[str] = FIELDS,
    delimiter: str | None = None,
) -> list[str]:
    """The words that ask for jobs (not their steps), to be run with ENV.

    start and end are sacct's own times ("now-2days", "2026-11-21T00:00:00"); without job_ids and
    start, sacct begins at midnight. duplicates: also the earlier runs of requeued jobs.
    delimiter: for tests; each call makes its own.
    """
    between = delimiter or rows.delimiter()
    words = ["sacct", "--allocations", "--parsable", f"--delimiter={between}", f"--format={','.join(fields)}"]
    if job_ids:
        words.append(f"--jobs={','.join(job_ids)}")
    if user is not None:
        words.append(f"--user={user}")
    if start is not None:
        words.append(f"--starttime={start}")
    if end is not None:
        words.append(f"--endtime={end}")
    if duplicates:
        words.append("--duplicates")
    return words


def parse(text: str) -> tuple[AccountedJob, ...]:
    """The jobs of an answer to command. Raises ParseError."""
    names, found = rows.read(text, "an answer of sacct")
    return tuple(record(dict(zip(names, values, strict=True))) for values in found)


def record(value: Mapping[str, str]) -> AccountedJob:
    """A job from sacct's texts by sacct's names of the fields; those left out are empty."""
    shown = job_id.parse(value.get("JobID", ""))
    state, cancelled_by = _state(value.get("State", ""))
    status, number = _exit(value.get("ExitCode", ""))
    return AccountedJob(
        job_id=value.get("JobIDRaw") or shown.job,
        array_job_id=None if shown.tasks is None else shown.job,
        array_task_id=shown.tasks,
        het_job_id=None if shown.component is None else shown.job,
        het_offset=shown.component,
        name=value.get("JobName", ""),
        user=value.get("User", ""),
        account=value.get("Account", ""),
        partition=value.get("Partition", ""),
        qos=value.get("QOS", ""),
        cluster=value.get("Cluster", ""),
        state=state,
        cancelled_by=cancelled_by,
        exit_status=status,
        exit_signal=number,
        derived_exit_status=_exit(value.get("DerivedExitCode", ""))[0],
        submit_s=units.parse_time_s(value.get("Submit", "")),
        eligible_s=units.parse_time_s(value.get("Eligible", "")),
        start_s=units.parse_time_s(value.get("Start", "")),
        end_s=units.parse_time_s(value.get("End", "")),
        elapsed_s=_elapsed(value),
        time_limit_s=_limit(value),
        asked=MappingProxyType(tres.parse(value.get("ReqTRES", ""))),
        tres=MappingProxyType(tres.parse(value.get("AllocTRES", ""))),
        nodes=units.parse_count(value.get("NNodes") or "0"),
        node_list=_given(value.get("NodeList", "")),
        reason=_given(value.get("Reason", "")),
        work_dir=value.get("WorkDir", ""),
        submit_line=value.get("SubmitLine", ""),
        restarts=units.parse_count(value["Restarts"] or "0") if "Restarts" in value else None,
        stdout=_stdout(value),
    )


def _state(text: str) -> tuple[str, int | None]:
    if match := _CANCELLED.fullmatch(text):
        return "CANCELLED", int(match[1])
    if not re.fullmatch(r"[A-Z_]+\+?", text):
        raise ParseError("a state of sacct", text)
    return text.removesuffix("+"), None


def _exit(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    if not (match := _EXIT.fullmatch(text)):
        raise ParseError("an exit code of sacct", text)
    return int(match[1]), int(match[2])


def _elapsed(value: Mapping[str, str]) -> int:
    if value.get("ElapsedRaw"):
        return units.parse_count(value["ElapsedRaw"])
    # sacct says INVALID where the end is before the start (clocks set back).
    text = value.get("Elapsed", "")
    return 0 if text in ("", "INVALID") else units.parse_duration_s(text) or 0


def _limit(value: Mapping[str, str]) -> int | None:
    text = value.get("TimelimitRaw") or value.get("Timelimit") or "UNLIMITED"
    return None if text == "Partition_Limit" else units.parse_duration_s(text)


def _stdout(value: Mapping[str, str]) -> str | None:
    told = value.get("StdOut")
    return None if told is None else file_pattern.absolute(told, value.get("WorkDir", ""))


def _given(text: str) -> str:
    return "" if text in ("None assigned", "None", "(null)") else text
