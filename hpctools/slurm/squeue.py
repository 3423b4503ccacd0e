"""squeue: the jobs that slurmctld knows: waiting, running, and for a while (MinJobAge) ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.errors import ParseError
from hpctools.slurm import file_pattern, rows, tres, units
from hpctools.slurm.job_id import JobId

# Set for every call: points in time as seconds since 1970, and the task numbers of an array whole
# instead of cut at 64 characters (squeue(1), ENVIRONMENT VARIABLES).
ENV: Mapping[str, str] = MappingProxyType({"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"})
# Taken out of the environment for every call: a user's own defaults that would hide jobs.
UNSET = (
    "SQUEUE_ACCOUNT",
    "SQUEUE_ALL",
    "SQUEUE_ARRAY",
    "SQUEUE_ARRAY_UNIQUE",
    "SQUEUE_FEDERATION",
    "SQUEUE_FORMAT",
    "SQUEUE_FORMAT2",
    "SQUEUE_LICENSES",
    "SQUEUE_LOCAL",
    "SQUEUE_NAMES",
    "SQUEUE_PARTITION",
    "SQUEUE_PRIORITY",
    "SQUEUE_QOS",
    "SQUEUE_SIBLING",
    "SQUEUE_SORT",
    "SQUEUE_STATES",
    "SQUEUE_USERS",
)
# What squeue says, with status 1, of a single job that slurmctld has forgotten or never knew. Of
# several jobs it leaves the unknown ones out without a word.
UNKNOWN_JOB = "Invalid job id specified"

# Columns of squeue --Format, all of them in every release from 20.11 on.
_COLUMNS = (
    "JobID",
    "ArrayJobID",
    "ArrayTaskID",
    "HetJobID",
    "UserName",
    "Account",
    "Partition",
    "QOS",
    "State",
    "Reason",
    "NumNodes",
    "NodeList",
    "SubmitTime",
    "EligibleTime",
    "StartTime",
    "EndTime",
    "TimeUsed",
    "TimeLimit",
    "RestartCnt",
    "tres-alloc",
    "Dependency",
    "Name",
    "Comment",
    "WorkDir",
    "STDOUT",
)
_START_COLUMNS = ("JobID", "StartTime", "SchedNodes", "Reason")


@dataclass(frozen=True)
class QueuedJob:
    """One job, or one task of an array, or (array_task_id "2-7%3") all waiting tasks of an array.

    job_id is the number under which slurmctld keeps it. Times are seconds since 1970, durations
    seconds. time_limit_s is None without limit; start_s of a waiting job is a forecast, mostly None.
    tres is what is or would be allocated (mem in megabytes). stdout is the path as it was given
    to --output, its patterns (%j, %A) not filled in, and absolute; where none was given, releases
    before 24.05 tell slurm-ID.out even of array tasks and srun's jobs, where that is wrong. Text
    may hold any character but NUL.
    """

    job_id: str
    array_job_id: str | None
    array_task_id: str | None
    het_job_id: str | None
    user: str
    account: str
    partition: str
    qos: str
    state: str
    reason: str
    nodes: int
    node_list: str
    submit_s: int
    eligible_s: int | None
    start_s: int | None
    end_s: int | None
    elapsed_s: int
    time_limit_s: int | None
    restarts: int
    tres: Mapping[str, int]
    dependency: str
    name: str
    comment: str
    work_dir: str
    stdout: str

    @property
    def label(self) -> str:
        """The id that people use: 12, 15_3, 15_[4-7%2]."""
        if self.array_job_id is None:
            return self.job_id
        return str(JobId(self.array_job_id, self.array_task_id))


@dataclass(frozen=True)
class ExpectedStart:
    """When the scheduler last thought that a waiting job would start; None where it did not look."""

    job_id: str
    start_s: int | None
    node_list: str
    reason: str


def command(
    *, job_ids: Sequence[str] = (), user: str | None = None, me: bool = False, delimiter: str | None = None
) -> list[str]:
    """The words that ask for jobs, to be run with ENV.

    Those that wait or run; with job_ids, these in whatever state. Ids may be 12, 15 (all tasks of
    an array), 15_3. delimiter: for tests; each call makes its own.
    """
    words = ["squeue", "--Format", _format(_COLUMNS, delimiter)]
    if job_ids:
        words += ["--states=all", f"--jobs={','.join(job_ids)}"]
    if user is not None:
        words.append(f"--user={user}")
    if me:
        words.append("--me")
    return words


def start_command(job_id: str, *, delimiter: str | None = None) -> list[str]:
    """The words that ask when a waiting job is expected to start, to be run with ENV."""
    # Not --start: it prints the same forecast, but always in its own fixed columns.
    return ["squeue", "--states=PENDING", "--Format", _format(_START_COLUMNS, delimiter), f"--jobs={job_id}"]


def _format(columns: Sequence[str], delimiter: str | None) -> str:
    between = delimiter or rows.delimiter()
    return ",".join(f"{column}:{between}" for column in columns)


def parse(text: str) -> tuple[QueuedJob, ...]:
    """The jobs of an answer to command. Raises ParseError."""
    return tuple(_job(dict(zip(_COLUMNS, values, strict=True))) for values in _rows(text, len(_COLUMNS)))


def parse_start(text: str) -> tuple[ExpectedStart, ...]:
    """The forecasts of an answer to start_command; empty when the job waits no more."""
    return tuple(
        ExpectedStart(job_id, units.parse_time_s(start), _given(nodes), reason)
        for job_id, start, nodes, reason in _rows(text, len(_START_COLUMNS))
    )


def _rows(text: str, width: int) -> list[list[str]]:
    names, found = rows.read(text, "an answer of squeue")
    if len(names) != width:
        raise ParseError("an answer of squeue", text[:200])
    return found


def _job(value: Mapping[str, str]) -> QueuedJob:
    array_task = _optional(value["ArrayTaskID"])
    return QueuedJob(
        job_id=value["JobID"],
        # squeue gives each job's own id where it belongs to no array.
        array_job_id=value["ArrayJobID"] if array_task is not None else None,
        array_task_id=array_task,
        het_job_id=_optional(value["HetJobID"]),
        user=value["UserName"],
        account=_given(value["Account"]),
        partition=value["Partition"],
        qos=_given(value["QOS"]),
        state=value["State"],
        reason=value["Reason"],
        # "2-4" is a range that a waiting job asked for: it gets at least the first.
        nodes=units.parse_count(value["NumNodes"].partition("-")[0]),
        node_list=_given(value["NodeList"]),
        submit_s=units.parse_time_s(value["SubmitTime"]) or 0,
        eligible_s=units.parse_time_s(value["EligibleTime"]),
        start_s=units.parse_time_s(value["StartTime"]),
        end_s=units.parse_time_s(value["EndTime"]),
        elapsed_s=_elapsed(value["TimeUsed"]),
        time_limit_s=_limit(value["TimeLimit"]),
        restarts=units.parse_count(value["RestartCnt"]),
        tres=MappingProxyType(tres.parse(value["tres-alloc"])),
        dependency=_given(value["Dependency"]),
        name=value["Name"],
        comment=_given(value["Comment"]),
        work_dir=value["WorkDir"],
        stdout=file_pattern.absolute(_given(value["STDOUT"]), value["WorkDir"]),
    )


def _optional(text: str) -> str | None:
    return None if text in ("N/A", "") else text


def _given(text: str) -> str:
    return "" if text in ("(null)", "N/A", "n/a") else text


def _elapsed(text: str) -> int:
    # squeue says INVALID when the clocks of two machines disagree.
    return 0 if text in ("INVALID", "N/A") else units.parse_duration_s(text) or 0


def _limit(text: str) -> int | None:
    # NOT_SET and Partition_Limit: it takes the partition's; squeue does not tell how much that is.
    return None if text in ("NOT_SET", "Partition_Limit", "N/A", "INVALID") else units.parse_duration_s(text)
