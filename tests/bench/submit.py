"""How long submitting a job takes: hpctools, what it is made of, and three other tools.

    python tests/bench/submit.py > result.md

Prints a table in Markdown. All commands run in every round, in an order that changes, so that
whatever else the machine does meets each of them; the figures are medians and minima over rounds.
Nothing is judged: a goal that is missed is printed, and the exit status is 0 all the same.

hpctools is installed from a wheel of this checkout into a virtual environment that is removed
afterwards; the others have theirs in $XDG_CACHE_HOME/hpctools/bench, made once (--fresh: again).
All are of the Python that runs this, which needs pip and a package index.

The cluster is that of SLURM_CONF or /etc/slurm; without either a sandbox is started, and ended. The
jobs must not start, or they would take part in the timing: who may is given a partition of its own
that is DOWN, removed at the end; who may not, or names a --partition, has jobs cancelled at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.bench import venvs
from tests.bench.timing import (
    CannotRun,
    Row,
    Times,
    ask,
    machine,
    measure,
    plain_environment,
    run_once,
    table,
)

OTHERS = ("submitit", "simple-slurm", "torchx")
# Name, its words, the row above the line, those below it, the goal.
GOALS = (("d", "c / (a + b)", "c", ("a", "b"), 2.0), ("f/e", "f / e", "f", ("e",), 1.5))
SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
SANDBOX_S = 120

SCRIPTS = {
    "train.py": "print('trains')\n",
    "job.sh": """#!/bin/sh
#SBATCH --nodes={nodes} --gpus-per-node={gpus} --time=10 --partition={partition}
srun python3 train.py
""",
    "with_submitit.py": """import submitit
executor = submitit.AutoExecutor(folder="submitit", cluster="slurm")
executor.update_parameters(
    nodes={nodes}, tasks_per_node=1, gpus_per_node={gpus}, timeout_min=10, slurm_partition="{partition}"
)
print(executor.submit(submitit.helpers.CommandFunction(["python3", "train.py"])).job_id)
""",
    "with_simple_slurm.py": """from simple_slurm import Slurm
slurm = Slurm(nodes={nodes}, gpus_per_node={gpus}, time="10", partition="{partition}")
print(slurm.sbatch("srun python3 train.py"))
""",
}


@dataclass(frozen=True)
class Shape:
    """The job that everyone submits."""

    nodes: int
    gpus: int
    partition: str


def say(text: str) -> None:
    """Tell on stderr what goes on; stdout is the result."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def cluster(program: Path, env: dict[str, str]) -> Iterator[str]:
    """Put the cluster at hand, else a new sandbox, into env; yields what it is."""
    if "SLURM_CONF" in env or SYSTEM_CONF.exists():
        yield "the cluster at hand"
        return
    name = f"bench-{os.getpid()}"
    say("starting a sandbox ...")
    try:
        ask([program, "sandbox", "up", "--name", name], env, SANDBOX_S)
        status = json.loads(ask([program, "sandbox", "status", "--name", name, "--json"], env))
        env["SLURM_CONF"] = status["slurm_conf"]
        yield "a sandbox of its own"
    finally:
        ask([program, "sandbox", "down", "--purge", "--name", name], env, SANDBOX_S)


@contextlib.contextmanager
def partition(asked: str | None, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A partition whose jobs do not start, or one where they may; yields its name, and which it is."""
    name = asked or f"bench_{secrets.token_hex(3)}"
    if not asked:
        try:
            ask(["scontrol", "create", f"partition={name}", "nodes=ALL", "state=DOWN"], env)
        except CannotRun:
            names = ask(["sinfo", "--noheader", "--format=%P"], env).split()
            asked = name = next((one[:-1] for one in names if one.endswith("*")), names[0])
    if asked:
        yield name, f"in partition {name}, cancelled after each round"
        return
    try:
        yield name, "in a partition that is DOWN, so that they never start"
    finally:
        ask(["scancel", f"--partition={name}"], env)
        ask(["scontrol", "delete", f"partition={name}"], env)


def rows(shape: Shape, hpctools: Path, others: Mapping[str, Path]) -> Iterator[Row]:
    """What is timed, in the order of the table."""
    python, program = str(hpctools / "python"), str(hpctools / "hpctools")
    size = ("--nodes", str(shape.nodes), "--gpus-per-node", str(shape.gpus), "--time", "10")
    submit = (program, "submit", "train.py", *size, "--partition", shape.partition)
    yield Row("", "`python -c pass`", (python, "-c", "pass"))
    yield Row("a", "`sbatch job.sh`", ("sbatch", "job.sh"), submits=True)
    yield Row("b", '`python -c "import click, jinja2"`', (python, "-c", "import click, jinja2"))
    yield Row("c", "`hpctools submit train.py ...`", submit, submits=True)
    yield Row("e", '`python -c "import click"`', (python, "-c", "import click"))
    yield Row("f", "`hpctools --help`", (program, "--help"))
    world = f"{shape.nodes}x{max(shape.gpus, 1)}"
    run = f"torchx run --scheduler slurm --scheduler_args partition={shape.partition},time=10"
    ddp = f"dist.ddp -j {world} --gpu {shape.gpus} --script train.py"
    commands = {
        "submitit": ("python with_submitit.py", ""),
        "simple-slurm": ("python with_simple_slurm.py", ""),
        "torchx": (run, ddp),
    }
    for name, folder in others.items():
        start, rest = commands[name]
        shown = f"{name}: `{start if not rest else 'torchx run --scheduler slurm ... dist.ddp ...'}`"
        words = (str(folder / start.split()[0]), *start.split()[1:], *rest.split())
        yield Row("g", shown, words, submits=True, optional=True)


def warm_up(row: Row, shape: Shape, folder: Path, env: Mapping[str, str]) -> None:
    """Run once: its files are in memory afterwards, and its job is the one that was meant."""
    _, job = run_once(row, folder, env)
    if job:
        nodes = ask(["squeue", "--noheader", f"--jobs={job}", "--format=%D"], env).split()
        ask(["scancel", job], env)
        if sum(map(int, nodes)) != shape.nodes:
            raise CannotRun(f"its job asks for {' + '.join(nodes) or 'no'} nodes, not {shape.nodes}")


def ratios(times: Mapping[Row, Times]) -> Iterator[str]:
    """What there are goals for; of medians, and of minima, which other load touches least."""
    wall = {row.key: one.wall_s for row, one in times.items()}
    yield "| | ratio | of medians | of minima | goal: at most | medians meet it |"
    yield "|---|---|--:|--:|--:|---|"
    for name, words, above, below, goal in GOALS:
        middle = statistics.median(wall[above]) / sum(statistics.median(wall[key]) for key in below)
        least = min(wall[above]) / sum(min(wall[key]) for key in below)
        met = "yes" if middle <= goal else "no"
        yield f"| {name} | {words} | {middle:.2f} | {least:.2f} | {goal} | {met} |"


def installed(fresh: bool) -> tuple[dict[str, Path], dict[str, str]]:
    """The other tools' folders of programs, and of those that cannot be installed the reason."""
    found, missing = {}, {}
    for name in OTHERS:
        try:
            found[name] = venvs.cached(name, fresh)
        except CannotRun as error:
            missing[name] = f"cannot be installed here: {error}"
    return found, missing


def usable(found: Iterator[Row], shape: Shape, folder: Path, env: Mapping[str, str]) -> dict[Row, str]:
    """The rows, after a first run of each; with the reason where one cannot be timed, else ""."""
    reasons = {}
    for row in found:
        try:
            warm_up(row, shape, folder, env)
            reasons[row] = ""
        except CannotRun as error:
            if not row.optional:
                raise
            reasons[row] = f"cannot be timed here: {error}"
    return reasons


def bench(asked: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Install, measure, and yield the lines of the result."""
    say("installing hpctools and the other tools ...")
    hpctools = venvs.hpctools(folder)
    others, missing = installed(asked.fresh)
    env, work = plain_environment(), folder / "work"
    work.mkdir()

    def tidy(jobs: Sequence[str]) -> None:
        ask(["scancel", *jobs], env)
        time.sleep(0.2)  # slurmctld goes on working on them after it has answered

    with cluster(hpctools / "hpctools", env) as which, partition(asked.partition, env) as (name, how):
        shape = Shape(asked.nodes, asked.gpus_per_node, name)
        for file, text in SCRIPTS.items():
            (work / file).write_text(text.format(nodes=shape.nodes, gpus=shape.gpus, partition=name))
        # No settings and no records of the user's own.
        user = env | {home: str(work / home) for home in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        found = usable(rows(shape, hpctools, others), shape, work, user)
        load = os.getloadavg()[0]
        say("measuring ...")
        timeable = [row for row, reason in found.items() if not reason]
        times = measure(timeable, asked.rounds, asked.limit, work, user, tidy)
        slurm = ask(["sinfo", "--version"], env)
    yield from (*table(times, ("a", "b")), "", *ratios(times), "")
    missing |= {row.what: reason for row, reason in found.items() if reason}
    yield from (f"- {name}: {why}" for name, why in missing.items())
    done = len(times[timeable[0]].wall_s)
    yield f"- Job: {shape.nodes} nodes, {shape.gpus} GPUs each; {which}, {how}. {done} rounds."
    yield f"- Versions: Python {platform.python_version()}, {slurm}, {', '.join(versions(hpctools, others))}."
    yield f"- Machine: {machine(work)}. Load average {load:.1f} before, {os.getloadavg()[0]:.1f} after."


def versions(hpctools: Path, others: Mapping[str, Path]) -> Iterator[str]:
    """Of what was imported."""
    places = dict.fromkeys(("hpctools", "click", "jinja2"), hpctools) | dict(others)
    return (f"{name} {venvs.version(folder, name)}" for name, folder in places.items())


def arguments() -> argparse.Namespace:
    about, _, rest = (__doc__ or "").partition("\n")
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, epilog=rest, formatter_class=kind)
    parser.add_argument("--rounds", type=int, default=41, help="how often each command is timed (41)")
    parser.add_argument("--limit", type=float, default=300, help="begin no round after so many seconds (300)")
    parser.add_argument("--nodes", type=int, default=4, help="nodes of the job (4)")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="GPUs of each (8)")
    parser.add_argument("--partition", help="where to submit to, instead of a partition that is DOWN")
    parser.add_argument("--fresh", action="store_true", help="install the other tools again")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was made is removed
    with tempfile.TemporaryDirectory(prefix="hpctools-bench-") as folder:
        try:
            print("\n".join(bench(asked, Path(folder))))
        except CannotRun as error:
            say(f"cannot measure: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
