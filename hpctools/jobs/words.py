"""What hpctools says about jobs, in words. All pure: values in, lines out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from hpctools.jobs import state
from hpctools.jobs.report import Part, Report, Usage
from hpctools.jobs.run_folder import DO_NOT_RESTART, Failure, Result
from hpctools.jobs.said import Said
from hpctools.jobs.state import JobState
from hpctools.slurm import units, why

# So many tasks of an array are told one by one; of larger ones the rest is counted.
TASKS_TOLD = 20


def moment(epoch_s: float) -> str:
    """A point in time in this machine's zone: 2026-11-21 14:30:05."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))


def hours(gpu_seconds: int) -> str:
    """GPU-seconds as GPU-hours: 6.69, and 0.0042 where two digits would hide them."""
    amount = gpu_seconds / 3600
    return f"{amount:.2f}" if amount >= 1 or amount == 0 else f"{amount:.4f}"


def count(number: int, noun: str) -> str:
    """1 node, 4 nodes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def place(job: JobState) -> str:
    """Where a job runs: 4 nodes (n[1-4]), 32 GPUs."""
    where = count(job.nodes, "node") + (f" ({job.node_list})" if job.node_list else "")
    return f"{where}, {count(job.gpus, 'GPU')}" if job.gpus else where


def waiting(job: JobState, start_s: int | None = None, node_list: str = "") -> str:
    """Why a job waits, and when it may start."""
    said = f"{job.reason}: {why.explain(job.reason)}" if job.reason else why.explain("None")
    if start_s is None:
        start_s = job.start_s
    if start_s is None:
        return said
    on = f" on {node_list}" if node_list else ""
    return f"{said} The scheduler's present plan, which may change: start at {moment(start_s)}{on}."


def started(job: JobState) -> str:
    """That a job runs, where, and for how long it may."""
    since = f" since {moment(job.start_s)}" if job.start_s else ""
    left = job.time_left_s
    limit = f", {units.format_duration(left)} left of its time limit" if left is not None else ""
    return f"runs on {place(job)}{since}{limit}"


def ending(job: JobState, status: int | None, result: Result | None) -> str:
    """How a job ended: FAILED, status 7 (the first failure's): It ended with an error."""
    said = job.state
    failure = result.first_failure if result else None
    if status:
        said += f", status {status}"
    if status and failure is not None and status == failure.status:
        said += " (the first failure's)"
    if job.state in (state.UNKNOWN, state.FORGOTTEN, state.LOCAL):
        return f"{said}: {job.reason}"
    if job.state == "FAILED" and result is not None and failure is None and status == state.CANCELLED_STATUS:
        return f"{said}: No rank failed by itself; it was told to end (preempted, or by a signal)."
    told = _reason(result) if job.state in ("FAILED", "PREEMPTED") else ""
    return f"{said}: {told or why.explain_state(job.state)}"


def _reason(result: Result | None) -> str:
    """What is known of a job that did not just complete, beyond Slurm's word for it."""
    if result is None:
        return ""
    if result.state == "finished" and not result.status:
        return "It has finished. Slurm 24.05 and newer call a job so that was preempted before."
    if result.state == "do not restart" and result.status == DO_NOT_RESTART:
        return "A rank said that it is not to be started again."
    if result.state == "checkpointed":
        return "Its ranks saved and left, and it was not started again."
    if result.first_failure is not None and result.first_failure.stage == "preflight":
        return "Nothing was trained: the preflight found bad nodes."
    return ""


def first_failure(failure: Failure) -> str:
    """Which rank failed first, where and how."""
    who = f"rank {failure.rank}" if failure.rank is not None else f"the {failure.stage or 'launcher'}"
    node = f" (node {failure.node})" if failure.node is not None else ""
    how = f"status {failure.status}" + (f", {failure.signal}" if failure.signal else "")
    when = f", at {moment(failure.ended_s)}" if failure.ended_s else ""
    return f"{who} on {failure.host or 'an unknown host'}{node}: {how}{when}"


def used(usage: Usage) -> str:
    """The GPU-hours of all runs, and how sure they are."""
    said = hours(usage.gpu_seconds)
    more = []
    if len(usage.runs) > 1:
        each = " + ".join(f"{units.format_duration(run.elapsed_s)} x {run.gpus}" for run in usage.runs)
        more.append(f"{count(len(usage.runs), 'run')}: {each}")
    more.append("as accounted" if usage.accounted else "by slurmctld's count of the last run")
    if not usage.settled:
        more.append("so far")
    return f"{said} ({'; '.join(more)})"


def headline(whole: Report) -> Said:
    """The first line of a status: which job it is."""
    job = whole.parts[0].job
    if not job.job_id:
        return Said("job", f"without an id ({job.name})", sentence=False)
    number = whole.seen.named.job_id if whole.is_array else job.job_id
    return Said("job", f"{number} ({job.name})", sentence=False)


def short_state(job: JobState, status: int | None) -> str:
    """A state for a table: FAILED 7 with its status, where that says more."""
    return f"{job.state} {status}" if job.state == "FAILED" and status else job.state


def short_time(job: JobState) -> str:
    """How long it ran, or runs."""
    return units.format_duration(job.elapsed_s) if job.node_list and not job.waiting else "-"


def short_place(job: JobState) -> str:
    """Where it runs, why it waits, or when it ended."""
    if job.waiting:
        planned = f", planned {short_moment(job.start_s)}" if job.start_s else ""
        return f"{job.reason or '-'}{planned}"
    if job.ended:
        return f"{short_moment(job.end_s)}" if job.end_s else job.reason
    return job.node_list or job.reason


def short_moment(epoch_s: float) -> str:
    """14:30 today, 11-21 14:30 on another day."""
    local = time.localtime(epoch_s)
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", local)
    return time.strftime("%H:%M" if today else "%m-%d %H:%M", local)


def end(whole: Report) -> list[str]:
    """How a job that was followed ended: its state, the first failure, what it used."""
    part = whole.parts[0]
    if whole.is_array:
        said = [f"array {whole.seen.named.job_id}: {tally(part.job for part in whole.parts)}"]
        failed = [part for part in whole.parts if part.status]
        said += [f"task {one.job.array_task_id}: {_task(one)}; {one.log}" for one in failed[:TASKS_TOLD]]
        if len(failed) > TASKS_TOLD:
            said.append(f"and {len(failed) - TASKS_TOLD} more tasks did not end well")
        used_any = any(run.gpus for run in whole.usage.runs)
        return [*said, *([f"GPU-hours: {hours(whole.usage.gpu_seconds)} of all tasks"] if used_any else [])]
    failure = part.result.first_failure if part.result else None
    name = f'job {part.job.job_id} "{part.job.name}"'
    said = [f"{name}: {ending(part.job, part.status, part.result)}"]
    if failure is not None and part.status:
        said.append(f"first failure: {first_failure(failure)}")
    if part.job.node_list:
        said.append(f"ran {_ran(part.job)}")
    if any(run.gpus for run in part.usage.runs):
        said.append(f"GPU-hours: {used(part.usage)}")
    return said


def describe(whole: Report) -> list[Said]:
    """Everything about a job, for `status`."""
    if not whole.is_array:
        return [*_part(whole.parts[0]), *_origin(whole)]
    said = [Said("state", f"{whole.state}; {tally(part.job for part in whole.parts)}")]
    failed = [part for part in whole.parts if part.status]
    waits = [part for part in whole.parts if part.job.waiting]
    told = failed + waits + [p for p in whole.parts if not p.job.ended and not p.job.waiting]
    for part in told[:TASKS_TOLD]:
        label = f"task {part.job.array_task_id}" if (part.job.array_task_id or "").isdecimal() else "tasks"
        said += [Said(label, _task(part)), *_failed(part)]
        if part.status and part.log is not None:
            said.append(Said("log", str(part.log), sentence=False))
    if len(told) > TASKS_TOLD:
        said.append(Said("", f"and {len(told) - TASKS_TOLD} more (--json shows all)"))
    if whole.usage.gpu_seconds:
        said.append(Said("GPU-hours", f"{hours(whole.usage.gpu_seconds)} of all tasks"))
    return [*said, *_origin(whole)]


def tally(jobs: Iterable[JobState]) -> str:
    """How many tasks are in which state: 2 RUNNING, 5 COMPLETED."""
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.state] = counts.get(job.state, 0) + tasks_in(job)
    return ", ".join(f"{number} {word}" for word, number in counts.items())


def tasks_in(job: JobState) -> int:
    """How many tasks of an array a line stands for: 12_[4-7,9%2] is five."""
    total = 0
    for part in (job.array_task_id or "0").partition("%")[0].split(","):
        first, _, rest = part.partition("-")
        last, _, step = rest.partition(":")
        if not all(word.isdecimal() for word in (first, last or first, step or "1")):
            return 1  # cut short by an old squeue: "1-3,5..."
        total += (int(last or first) - int(first)) // max(1, int(step or 1)) + 1
    return total


def _task(part: Part) -> str:
    job = part.job
    if job.waiting:
        tasks = "" if (job.array_task_id or "").isdecimal() else f"{job.array_task_id}: "
        return f"{tasks}{job.state}: {waiting(job)}"
    if not job.ended:
        return f"{job.state}: {started(job)}"
    return f"{job.state}, status {part.status}, after {units.format_duration(job.elapsed_s)}"


def _part(part: Part) -> list[Said]:
    job = part.job
    said = [Said("state", _state(part))]
    if job.dependency:
        said.append(Said("dependency", job.dependency, sentence=False))
    if part.result is not None and (part.result.reason or part.attempts > 1):
        said.append(Said("attempts", attempts(part.attempts, part.result)))
    said += _failed(part)
    if job.node_list and not job.waiting:
        said.append(Said("ran", _ran(job)))
    if any(run.gpus for run in part.usage.runs):
        said.append(Said("GPU-hours", used(part.usage)))
    if job.submit_s:
        again = f", restarted {count(job.restarts, 'time')}" if job.restarts else ""
        said.append(Said("submitted", f"{moment(job.submit_s)}{_by(job)}{again}"))
    if part.log is not None:
        said.append(Said("log", str(part.log), sentence=False))
    if part.error_log is not None:
        said.append(Said("error log", str(part.error_log), sentence=False))
    return said


def attempts(number: int, last: Result) -> str:
    """How often a job was started, and how the newest attempt that has ended did: 2; the last one
    checkpointed at step 40 (preempted, and has saved)."""
    step = f" at step {last.checkpoint_step}" if last.state == "checkpointed" and last.checkpoint_step else ""
    reason = f" ({last.reason})" if last.reason else ""
    return f"{number}; {last.state or 'ended without a word'}{step}{reason}"


def _state(part: Part) -> str:
    job = part.job
    if job.waiting:
        expected = part.expected
        start_s, nodes = (expected.start_s, expected.node_list) if expected else (None, "")
        return f"{job.state}{', ' if job.reason else ': '}{waiting(job, start_s, nodes)}"
    if job.ended or job.state in (state.UNKNOWN, state.LOCAL):
        return ending(job, part.status, part.result)
    if job.state == "RUNNING":
        return f"RUNNING: {started(job)}"
    return f"{job.state}: {why.explain_state(job.state)} It has {place(job)}."


def _ran(job: JobState) -> str:
    if not job.ended:
        return f"{units.format_duration(job.elapsed_s)} so far"
    times = f"; {moment(job.start_s)} to {moment(job.end_s)}" if job.start_s and job.end_s else ""
    return f"{units.format_duration(job.elapsed_s)} on {place(job)}{times}"


def _by(job: JobState) -> str:
    parts = [("by", job.user), ("account", job.account), ("partition", job.partition), ("QOS", job.qos)]
    return "".join(f", {label} {value}" for label, value in parts if value)


def _failed(part: Part) -> list[Said]:
    failure = part.result.first_failure if part.result else None
    said = []
    lines: Sequence[str] = part.last_lines
    if failure is not None and part.status != 0:
        said.append(Said("first failure", first_failure(failure)))
        lines = failure.last_lines
    label = "last lines" if failure is None else ""
    for number, line in enumerate(lines):
        said.append(Said(label if number == 0 else "", f"| {line}", sentence=False))
    return said


def _origin(whole: Report) -> list[Said]:
    record = whole.seen.record
    if record is None:
        return []
    return [Said("run folder", record.run, sentence=False), Said("target", record.target, sentence=False)]
