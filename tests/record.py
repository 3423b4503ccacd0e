"""Record what the Slurm at hand answers, for the tests of hpctools/slurm.

    python tests/record.py

Submits small jobs that end in every way that can be brought about in two minutes, writes each
command's answer to tests/recorded/RELEASE/, and cancels what still runs. Takes a cluster whose
nodes have GPUs and are not busy. Names of this machine (host, kernel, folders) are replaced by
others of the same kind; nothing else is changed.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hpctools import process  # noqa: E402
from hpctools.slurm import sacct, sacctmgr, sbatch, scontrol, sinfo, squeue  # noqa: E402

# Fixed, so that two recordings differ in what matters only.
DELIMITER = "~0123456789abcdef~"
DEADLINE_S = 150
HOSTILE_NAME = (
    "two words|'single' \"double\" ünï☃ $(touch x) JobState=FAILED\nJobId=1 JobName=fake UserId=root(0)"
)
HOSTILE_COMMENT = "c JobState=COMPLETED StdOut=/nowhere ~|\tb\nExitCode=9:9 UserId=root(0) GroupId=root(0)"


@dataclass(frozen=True)
class Trial:
    """One job: sbatch's options, the body of its script, and the states at which it is ripe."""

    name: str
    options: tuple[str, ...]
    body: str
    ripe: tuple[str, ...]
    after: Callable[[str], Sequence[str]] | None = None


def trials(nodes: int) -> Iterable[Trial]:
    """The jobs, in the order of submission. nodes: how many the default partition has."""
    # Behind all others, whatever the site says of large jobs.
    everything = (f"--nodes={nodes}", "--gpus-per-node=1", "--exclusive", "--nice=100000")
    hold = "sleep 600"
    yield Trial("completed", ("--nodes=2", "--gpus-per-node=1"), "sleep 1", ("COMPLETED",))
    yield Trial("failed", ("--gpus-per-node=2",), "exit 7", ("FAILED",))
    yield Trial("signalled", (), "kill -KILL $$", ("FAILED",))
    yield Trial("timeout", ("--time=1",), hold, ("TIMEOUT",))
    yield Trial("cancelled", (), hold, ("CANCELLED",), lambda job: ["scancel", job])
    yield Trial("requeued", (), hold, ("PENDING",), lambda job: ["scontrol", "requeue", job])
    yield Trial("array", ("--array=0-3",), "exit $SLURM_ARRAY_TASK_ID", ("FAILED",))
    yield Trial("array limit", ("--array=1-9:2%1", "--output=a %A_%a.out"), hold, ("RUNNING",))
    yield Trial("running", ("--nodes=2", "--gpus-per-node=2", "--comment=one"), hold, ("RUNNING",))
    yield Trial(HOSTILE_NAME, (f"--comment={HOSTILE_COMMENT}", "--output=h %j %x.out"), hold, ("RUNNING",))
    yield Trial("held", ("--hold", "--array=0-2"), hold, ("PENDING",))
    yield Trial("begin", ("--begin=now+1hour",), hold, ("PENDING",))
    yield Trial("resources", everything, hold, ("PENDING",))
    yield Trial("priority", everything, hold, ("PENDING",))
    yield Trial("dependency", ("--dependency=afterok:{running}",), hold, ("PENDING",))
    yield Trial("never", ("--dependency=afterok:{failed}",), hold, ("PENDING",))
    yield Trial("het", ("--hold", "--nodes=1", ":", "--nodes=2"), hold, ("PENDING",))


def ask(words: Sequence[str], **more: str) -> process.Completed:
    """Run a command as hpctools does."""
    environment = {name: value for name, value in os.environ.items() if name not in squeue.UNSET}
    return process.run(words, env={**environment, **squeue.ENV, **more}, timeout_s=60)


def submit(trial: Trial, folder: Path, known: dict[str, str]) -> str:
    """Submit one job and return its id."""
    script = folder / "job.sh"
    script.write_text(f"#!/bin/bash\n{trial.body}\n")
    words = sbatch.command(str(script))
    options = [option.format(**known) if "{" in option else option for option in trial.options]
    answer = process.run([*words[:-1], f"--job-name={trial.name}", *options, words[-1]], cwd=folder)
    return sbatch.parse(answer.check()).job_id


def wait(ids: Iterable[str], states: Iterable[str], until: float) -> None:
    """Wait until one record of each job is in one of these states."""
    missing = set(ids)
    while missing and time.monotonic() < until:
        jobs = squeue.parse(ask(squeue.command(job_ids=tuple(missing))).check())
        missing -= {job.array_job_id or job.job_id for job in jobs if job.state in states}
        time.sleep(0.5)
    if missing:
        raise SystemExit(f"not {'/'.join(states)} in time: {', '.join(sorted(missing))}")


def ripen(ids: dict[str, str], nodes: int) -> None:
    """Wait until every job has come as far as its trial says."""
    until = time.monotonic() + DEADLINE_S
    for trial in trials(nodes):
        if trial.after:
            wait([ids[trial.name]], ("RUNNING",), until)
            ask(trial.after(ids[trial.name])).check()
    for trial in trials(nodes):
        wait([ids[trial.name]], trial.ripe, until)
    # The scheduler gives Resources and Priority as reasons only when it has tried.
    time.sleep(5)


def record(folder: Path, ids: dict[str, str], release: tuple[int, int]) -> dict[str, Sequence[str]]:
    """The commands to be recorded, by the name of their file."""
    every = tuple(ids.values())
    fields = sacct.fields(release)
    script = str(folder / "job.sh")
    test_only = sbatch.command(script, test_only=True)
    jobs = {f"scontrol-job-{name.replace(' ', '-')}": ids[name] for name in ids if name != HOSTILE_NAME}
    return {
        "squeue": squeue.command(job_ids=every, delimiter=DELIMITER),
        "squeue-unknown": squeue.command(job_ids=("999999999",), delimiter=DELIMITER),
        "squeue-start": squeue.start_command(ids["resources"], delimiter=DELIMITER),
        "squeue-start-running": squeue.start_command(ids["running"], delimiter=DELIMITER),
        "sacct": sacct.command(job_ids=every, fields=fields, duplicates=True, delimiter=DELIMITER),
        "sacct-unknown": sacct.command(job_ids=("999999999",), fields=fields, delimiter=DELIMITER),
        "sinfo": sinfo.command(),
        "scontrol-partitions": scontrol.partitions_command(),
        "scontrol-nodes": scontrol.node_command(),
        "scontrol-config": scontrol.config_command(),
        "scontrol-ping": scontrol.ping_command(),
        "scontrol-job-hostile": scontrol.job_command(ids[HOSTILE_NAME]),
        "scontrol-job-unknown": scontrol.job_command("999999999"),
        **{name: scontrol.job_command(job) for name, job in jobs.items()},
        "sacctmgr-associations": sacctmgr.associations_command(os.environ.get("USER", "root")),
        "sbatch-test-only": [*test_only[:-1], "--nodes=2", "--gpus-per-node=1", "--hold", script],
        "sbatch-test-only-nodes": [*test_only[:-1], "--nodes=9999", script],
        "sbatch-test-only-gpus": [*test_only[:-1], "--gpus-per-node=99", script],
        "sbatch-test-only-partition": [*test_only[:-1], "--partition=nosuch", script],
        "sbatch-test-only-account": [*test_only[:-1], "--account=nosuch", script],
        "sbatch-test-only-time": [*test_only[:-1], "--time=999-0", script],
        "sbatch-test-only-option": [*test_only[:-1], "--nosuch", script],
        "sbatch-test-only-het": [*test_only[:-1], "--nodes=1", ":", "--nodes=2", script],
        "sbatch-parsable": [*sbatch.command(script)[:-1], "--hold", "--job-name=parsable", script],
    }


def replacements(folder: Path) -> list[tuple[str, str]]:
    """Names of this machine and what is written in their place, the longest first."""
    configuration = Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")).resolve()
    pairs = {
        str(folder): "/shared/ada/project",
        str(configuration.parent): "/etc/slurm",
        platform.release(): "6.1.0-18-amd64",
        platform.node(): "login1",
    }
    if configuration.parent != Path("/etc/slurm"):
        pairs[str(configuration.parent.parent)] = "/var/lib/slurm"
    return sorted(pairs.items(), key=lambda pair: -len(pair[0]))


def replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """text with whole names replaced."""
    for old, new in pairs:
        text = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w-])", new, text)
    return text


def write(target: Path, commands: dict[str, Sequence[str]], pairs: list[tuple[str, str]]) -> list[str]:
    """Run the commands and write their answers; returns the ids of jobs made on the way."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.txt"):
        old.unlink()
    lines = []
    made = []
    for name, words in commands.items():
        answer = ask(words)
        # What sbatch --test-only answers, and every refusal, comes on stderr.
        text = answer.stdout or answer.stderr
        (target / f"{name}.txt").write_text(replaced(text, pairs), errors="surrogateescape")
        lines.append(f"{name}.txt\t{answer.status}\t{replaced(' '.join(words), pairs)}\n")
        if name == "sbatch-parsable":
            made.append(sbatch.parse(answer.check()).job_id)
    (target / "COMMANDS.tsv").write_text("file\tstatus\tcommand\n" + "".join(lines))
    return made


def main() -> None:
    """Submit, wait, record, cancel."""
    version = ask(["sinfo", "--version"]).check().split()[-1]
    major, minor = version.split(".")[:2]
    groups = sinfo.parse(ask(sinfo.command()).check())
    nodes = sum(group.nodes for group in groups if group.is_default)
    ids: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="record-") as name:
        folder = Path(name)
        try:
            for trial in trials(nodes):
                ids[trial.name] = submit(trial, folder, ids)
            ripen(ids, nodes)
            target = ROOT / "tests" / "recorded" / f"{major}.{minor}"
            commands = record(folder, ids, (int(major), int(minor)))
            made = write(target, commands, replacements(folder))
            ids.update({job: job for job in made})
        finally:
            if ids:
                process.run(["scancel", *ids.values()])
    print(f"recorded {len(commands)} answers of Slurm {version} in {target}")


if __name__ == "__main__":
    main()
