"""Whether a job is started again, decided and done inside the job, on the batch host.

    restart.py begin ...        count this attempt and print its number; end a crash loop
    restart.py end STATUS ...   after the ranks: put the job back into the queue, or a successor

Slurm by itself requeues a job whose node died, and one that outlived its grace time. A job that saved and
left in time has ended for Slurm: so it has to ask for its own requeue. Where that is forbidden, and where
a node must be left out (which Slurm refuses for a running job), a successor is submitted: the same script
and run folder under another id, that starts when this job has ended.

Copied into the run folder beside launch.py; standard library, Python 3.8 and newer.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, NamedTuple, Sequence

RUN = os.path.dirname(os.path.abspath(__file__))
Record = Dict[str, Any]

CHECKPOINTED = 75
SLURM_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 5
# How long we wait to be killed by the requeue that Slurm has granted.
REQUEUE_S = 120


class Limits(NamedTuple):
    """At most so many attempts; retries of them after failures; crashes in a row, each quick, end it."""

    max_attempts: int
    retries: int
    crashes: int
    crash_s: int


class Attempt(NamedTuple):
    """One attempt of the run. state is "" for one that left no result: killed, or its node died.

    node_lost: a node of it died, or Slurm ended it before it could decide about a restart.
    """

    number: int
    state: str
    status: int
    seconds: float
    node_lost: bool


class Decision(NamedTuple):
    """verb: "requeue", "successor" or "end". exclude: nodes that a successor leaves out. by_slurm: Slurm
    has ended the job, and may start it again itself.
    """

    verb: str
    reason: str
    exclude: Sequence[str] = ()
    by_slurm: bool = False


# --- what was -----------------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"hpctools: {text}", file=sys.stderr, flush=True)


def home() -> str:
    """The folder that outlives attempts: the run's own, or one for each task of an array."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return os.path.join(RUN, "task-" + task) if task else RUN


def job_id() -> str:
    """What Slurm calls this job, ID_TASK in an array: the number alone, of an array's last task to start, is
    the array's own, and scontrol takes it for all of its tasks.
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def folder_of(number: int) -> str:
    return os.path.join(home(), f"attempt-{number}")


def read(path: str) -> Record:
    """A JSON file of ours; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        value = json.load(file)
        if isinstance(value, dict):
            return value
    return {}


def write(path: str, value: Record) -> None:
    beside = f"{path}.{os.getpid()}.tmp"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    os.replace(beside, path)


def attempts() -> list[Attempt]:
    """All attempts so far, oldest first."""
    try:
        names = os.listdir(home())
    except OSError:
        return []
    numbers = (name[len("attempt-") :] for name in names if name.startswith("attempt-"))
    return [attempt(number) for number in sorted(int(one) for one in numbers if one.isdigit())]


def attempt(number: int) -> Attempt:
    folder = folder_of(number)
    began, result = read(os.path.join(folder, "begin.json")), read(os.path.join(folder, "result.json"))
    ended_s = float(result.get("ended_s") or newest_change(folder))
    began_s = float(began.get("started_s") or ended_s)
    return Attempt(
        number,
        str(result.get("state") or ""),
        int(result.get("status") or 0),
        max(0.0, ended_s - began_s),
        bool(result.get("lost_nodes")) or "next" not in result,
    )


def newest_change(folder: str) -> float:
    """When something was written there last: until then an attempt without a result was alive."""
    newest = 0.0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                newest = max(newest, entry.stat().st_mtime)
    return newest


def crash_loop(so_far: Sequence[Attempt], limits: Limits) -> str:
    """Why it is one: the last attempts all failed soon after their start. Empty if it is none."""
    last = list(so_far)[-limits.crashes :] if limits.crashes else []
    if len(last) < max(limits.crashes, 1):
        return ""
    if any(one.state not in ("failed", "") or one.seconds > limits.crash_s for one in last):
        return ""
    return f"the last {len(last)} attempts failed within {limits.crash_s} s of their start"


# --- begin --------------------------------------------------------------------------------------


def begin(limits: Limits) -> int:
    """Print the number of this attempt. Without a number printed the job is to end, with our status."""
    so_far = attempts()
    last = so_far[-1] if so_far else None
    number = last.number + 1 if last else 0
    reason = ""
    if last and last.state == "finished":
        # Slurm requeues what it has warned, even if it ended well in time (24.05 and newer).
        say(f"attempt {last.number} has finished: there is nothing left to do")
        forget_secrets()
        return 0
    if last and last.state == "do not restart":
        reason = f"attempt {last.number} said that it is not to be started again"
    elif number >= limits.max_attempts:
        reason = f"{number} attempts were made, and --max-attempts is {limits.max_attempts}"
    else:
        reason = crash_loop(so_far, limits)
    os.makedirs(folder_of(number), mode=0o700, exist_ok=True)
    if reason and last:
        status = last.status or 1
        say(f"not started again: {reason}")
        result = {"status": status, "state": "do not restart", "reason": reason, "ended_s": time.time()}
        write(os.path.join(folder_of(number), "result.json"), result)
        forget_secrets()
        return status
    began = {
        "attempt": number,
        "job_id": os.environ.get("SLURM_JOB_ID"),
        "restart_count": os.environ.get("SLURM_RESTART_COUNT", "0"),
        "nodes": os.environ.get("SLURM_JOB_NODELIST"),
        "started_s": time.time(),
    }
    write(os.path.join(folder_of(number), "begin.json"), began)
    with contextlib.suppress(OSError):
        os.unlink(mark_of(os.environ.get("SLURM_ARRAY_TASK_ID", "")))
    if number:
        say(f"attempt {number}, on {began['nodes']}")
    print(number)
    return 0


# --- secrets ------------------------------------------------------------------------------------


def forget_secrets() -> None:
    """Take them away when no attempt is to come; that there were some is kept, for one that comes all
    the same."""
    path = os.path.join(RUN, "secrets.json")
    if os.path.exists(path) and is_last_task():
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.close(os.open(os.path.join(RUN, "secrets.removed"), os.O_WRONLY | os.O_CREAT, 0o600))


def is_last_task() -> bool:
    """Whether no other task of this array will want anything of the run folder.

    Tasks may end together, and Slurm lists them for a while after. So each marks its end before it looks:
    the last one to do so sees the marks of all others.
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if not array or not task:
        return True
    with contextlib.suppress(OSError):
        os.close(os.open(mark_of(task), os.O_WRONLY | os.O_CREAT, 0o600))
    known = arrays()
    jobs = ",".join(sorted({array, *known}))
    form = "--Format=ArrayTaskID,State,RestartCnt"
    done = slurm(["squeue", "--noheader", "--array", "--jobs=" + jobs, form])
    # A task that got a successor meanwhile is not over.
    return done.returncode == 0 and arrays() == known and all(map(is_over, done.stdout.splitlines()))


def mark_of(task: str) -> str:
    """In the folder of all tasks: who makes a file there sees those of the others, on NFS too."""
    return os.path.join(RUN, "ended-" + task)


def is_over(line: str) -> bool:
    """Whether a task of an array that squeue lists will not run any more."""
    words = line.split()
    if len(words) != 3:
        return False
    task, state, restarts = words
    if os.path.exists(mark_of(task)):
        return True
    # One that was killed has left no mark. A requeued one is COMPLETING too, but Slurm has counted that.
    begun = glob.glob(os.path.join(glob.escape(RUN), "task-" + task, "attempt-*", "begin.json"))
    return state == "COMPLETING" and restarts in [read(path).get("restart_count") for path in begun]


def arrays() -> set[str]:
    """The arrays that use this run folder: the first one, and the successors of single tasks."""
    found = set()
    with contextlib.suppress(OSError), open(os.path.join(RUN, "job_id"), encoding="ascii") as file:
        found.add(file.read().strip())
    for path in glob.glob(os.path.join(glob.escape(RUN), "task-*", "attempt-*", "result.json")):
        found.add(str((read(path).get("next") or {}).get("job_id") or ""))
    return {one for one in found if one.isdigit()}


# --- end ----------------------------------------------------------------------------------------


def decide(
    so_far: Sequence[Attempt],
    limits: Limits,
    job: dict[str, str],
    bad: dict[str, str],
    lost: Sequence[str],
    had_successor_without: bool,
) -> Decision:
    """What happens after the last of these attempts.

    job: the fields of scontrol show job, empty if it does not say. bad: nodes that were found unfit, and
    why. lost: nodes that died. had_successor_without: a node was left out before in this run.
    """
    now = so_far[-1]
    if now.state in ("finished", "do not restart"):
        return Decision("end", "")
    if job and job.get("JobState") != "RUNNING" and not ran_out(job):
        # COMPLETING hides what it was. After a preemption whose grace is over Slurm requeues by itself.
        reason = "left to Slurm: the job was cancelled, or is requeued by it already"
        return Decision("end", reason, by_slurm=True)
    preempted = job.get("PreemptTime", "None") not in ("None", "N/A", "")
    earlier = [one for one in so_far[:-1] if one.state == "failed" and not one.node_lost]
    failures = len(earlier) + (now.state == "failed")
    if now.number + 1 >= limits.max_attempts:
        return Decision("end", f"{now.number + 1} attempts were made, as --max-attempts allows")
    loop = crash_loop(so_far, limits)
    if now.state == "checkpointed":
        why = "preempted" if preempted else "asked to leave"
        return Decision("requeue", f"{why}, and has saved")
    if loop:
        return Decision("end", loop)
    if bad and not had_successor_without:
        said = "; ".join(f"{node}: {reason}" for node, reason in sorted(bad.items()))
        return Decision("successor", f"bad nodes are left out ({said})", sorted(bad))
    if lost:
        return Decision("requeue", f"{', '.join(lost)} died")
    if preempted:
        return Decision("requeue", "preempted, without a last checkpoint")
    if now.state == "failed" and failures <= limits.retries:
        return Decision("requeue", f"failed; retry {failures} of {limits.retries}")
    return Decision("end", "")


def ran_out(job: dict[str, str]) -> bool:
    """Whether a job's time limit has passed."""
    ran_s, limit_s = seconds(job.get("RunTime", "")), seconds(job.get("TimeLimit", ""))
    return ran_s is not None and limit_s is not None and ran_s >= limit_s


def seconds(text: str) -> int | None:
    """A duration as scontrol prints it, 1-02:03:04; None for UNLIMITED and what is no duration."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if not match:
        return None
    days, hours, minutes, rest = (int(word or 0) for word in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def slurm(words: Sequence[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm's; one that cannot be run, or does not answer, has failed."""
    try:
        return subprocess.run(
            list(words),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SLURM_TIMEOUT_S,
            env=env,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(words), 1, "", str(error))


def fields(text: str) -> dict[str, str]:
    """NAME=VALUE pairs as scontrol prints them; the first of each name."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"(?:^|\s)([A-Za-z]+)=(\S*)", text):
        found.setdefault(name, value)
    return found


def this_job() -> dict[str, str]:
    done = slurm(["scontrol", "show", "job", job_id()])
    return fields(done.stdout) if done.returncode == 0 else {}


def lost_nodes(folder: str) -> list[str]:
    """Nodes whose task left no record, and whose slurmd does not answer."""
    seen = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if re.fullmatch(r"(rank|node)-\d+\.json", name):
                seen.add(read(os.path.join(folder, name)).get("host"))
    done = slurm(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")])
    return [node for node in done.stdout.split() if node not in seen and is_lost(node)]


def is_lost(node: str) -> bool:
    said = fields(slurm(["scontrol", "show", "node", node]).stdout)
    if re.search(r"DOWN|\*", said.get("State", "")):
        return True
    if not said.get("NodeAddr") or not said.get("Port", "").isdigit():
        return False  # Slurm does not say: then nothing is claimed
    try:
        with socket.create_connection((said["NodeAddr"], int(said["Port"])), CONNECT_TIMEOUT_S):
            return False
    except OSError:
        return True


def bad_nodes(folder: str) -> dict[str, str]:
    """The nodes that ranks (hpctools.preemption.bad_node) or the preflight have found unfit, and why."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith("bad-") and name.endswith(".json"):
                one = read(os.path.join(folder, name))
                found[str(one.get("node"))] = str(one.get("reason", ""))
    for one in read(os.path.join(folder, "preflight.json")).get("bad", []):
        if one["node"] is not None:  # else the verdict is about all of them
            found[str(one["host"])] = "; ".join(one["reasons"])
    return {node: why for node, why in found.items() if re.fullmatch(r"[A-Za-z0-9._-]+", node)}


def requeue() -> bool:
    """Put this job back into the queue. Slurm kills us then."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # else Slurm would wait for us, KillWait long
    done = slurm(["scontrol", "requeue", job_id()])
    if done.returncode:
        say(f"Slurm does not requeue the job: {' '.join(done.stderr.split())}")
        return False
    time.sleep(REQUEUE_S)
    return True


def successor(job: dict[str, str], exclude: Sequence[str]) -> tuple[str | None, str]:
    """Submit this script again, to start when this job has ended; returns the new job's id, or why there
    is none.
    """
    # What describes this job would be taken for a request.
    ours = ("SLURM_", "SRUN_", "SBATCH_")
    env = {n: v for n, v in os.environ.items() if n == "SLURM_CONF" or not n.startswith(ours)}
    words = ["sbatch", "--parsable", f"--dependency=afterany:{job_id()}"]
    without = [job["ExcNodeList"]] if job.get("ExcNodeList", "(null)") not in ("(null)", "") else []
    if [*without, *exclude]:
        words.append("--exclude=" + ",".join([*without, *exclude]))
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        words.append("--array=" + os.environ["SLURM_ARRAY_TASK_ID"])
    with open(os.path.join(RUN, "job_id"), encoding="ascii") as file:
        owner = file.read().strip()
    done = slurm([*words, os.path.join(RUN, "job.sbatch"), owner], env)
    found = re.search(r"^(\d+)(;\S+)?$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        return None, f"no successor could be submitted: {' '.join((done.stderr or done.stdout).split())}"
    return found[1], ""


def stay_ended() -> None:
    """Keep Slurm from starting a job again that has been preempted once, at whichever attempt's end: 24.05
    and newer do that, since the mark of a grace time outlives the requeue that we asked for."""
    if os.environ.get("SLURM_RESTART_COUNT", "0") != "0":
        slurm(["scontrol", "update", "JobId=" + job_id(), "Requeue=0"])


def left_out_before() -> bool:
    """Whether an earlier attempt's successor left a node out."""
    return any(
        read(os.path.join(folder_of(one.number), "result.json")).get("next", {}).get("exclude")
        for one in attempts()
    )


def end(status: int, limits: Limits) -> int:
    """Start the job again where that makes sense; returns the status that the script ends with."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # out of time, there is still KillWait for a successor
    so_far = attempts()
    if not so_far:
        return status
    folder = folder_of(so_far[-1].number)
    path = os.path.join(folder, "result.json")
    result = read(path)
    if result.get("state") not in ("checkpointed", "failed", "stopped"):
        stay_ended()
        forget_secrets()
        return status
    job = this_job()
    bad = bad_nodes(folder)
    lost = lost_nodes(folder) if result["state"] != "checkpointed" else []
    if lost:
        result["lost_nodes"] = lost
        write(path, result)
    made = decide(attempts(), limits, job, bad, lost, left_out_before())
    result["next"] = {**made._asdict(), "job_id": None}
    write(path, result)
    if made.verb != "end":
        say(f"to be started again: {made.reason}")
        if made.verb == "requeue" and requeue():
            return status
        onward, refused = successor(job, made.exclude)
        if onward:
            made = made._replace(verb="successor")
        else:
            made = Decision("end", f"not started again: {refused}")
        result["next"] = {**made._asdict(), "job_id": onward}
        write(path, result)
        say(f"it goes on as job {onward}, in the same run folder" if onward else made.reason)
        if onward:
            return status
    elif made.reason:
        say(made.reason if made.by_slurm else f"not started again: {made.reason}")
    if not made.by_slurm and result["state"] != "stopped":
        stay_ended()
        forget_secrets()  # else Slurm may start the job again, which needs them
    return status


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="restart.py", allow_abbrev=False)
    parser.add_argument("command", choices=("begin", "end"))
    parser.add_argument("status", type=int, nargs="?", default=0)
    parser.add_argument("--max-attempts", type=int, default=50)
    parser.add_argument("--retries", type=int, default=0)
    parser.add_argument("--crashes", type=int, default=3)
    parser.add_argument("--crash-seconds", type=int, default=60)
    given = parser.parse_args(words)
    limits = Limits(given.max_attempts, given.retries, given.crashes, given.crash_seconds)
    return begin(limits) if given.command == "begin" else end(given.status, limits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
