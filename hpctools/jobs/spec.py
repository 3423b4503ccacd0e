"""A job as it was asked for: what runs, where it runs from, and its settings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpctools.errors import Problem
from hpctools.jobs import containers, secrets
from hpctools.jobs.containers import Container
from hpctools.jobs.settings import Settings
from hpctools.slurm import sbatch

# What a job without a program executes.
NOTHING = ("true",)
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")


@dataclass(frozen=True)
class JobSpec:
    """A job, before it is known what the cluster has.

    argv: the words that every rank executes; see words. workdir: where, absolute. exports: variables of
    the job. python: the interpreter of launch.py and torchrun. settings: everything else. secrets:
    variables that stand nowhere but in a file of the run folder. templates: folders that are searched
    before the packaged one. program: a file of ours that is put into the run folder and runs.
    container: the image that ranks run in; python is then the image's.
    """

    target: str
    argv: tuple[str, ...]
    workdir: str
    name: str
    python: str
    exports: tuple[tuple[str, str], ...]
    settings: Settings
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    container: Container | None = None
    templates: tuple[Path, ...] = ()
    program: str = ""

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.settings.number("nodes") or 1

    @property
    def launcher(self) -> str:
        """What starts the ranks: torchrun, srun, accelerate, mpirun or none."""
        return self.settings.text("launcher") or "torchrun"

    @property
    def is_rank_per_gpu(self) -> bool:
        """Whether each GPU gets a rank of its own unless it is said otherwise."""
        return self.launcher != "none"

    @property
    def is_task_per_node(self) -> bool:
        """Whether Slurm starts one task on each node, which starts the ranks there."""
        return self.launcher in ("torchrun", "accelerate")

    def words(self, run: str) -> tuple[str, ...]:
        """What every rank executes, in a run folder."""
        if not self.program:
            return self.argv
        return (self.argv[0], os.path.join(run, self.program), *self.argv[2:])

    @property
    def gpus(self) -> int | None:
        """GPUs on each node; None where all of the node type's are meant."""
        text = self.settings.text("gpus-per-node")
        return None if text is None else int(text.rpartition(":")[2])

    @property
    def gpu_type(self) -> str | None:
        """The type of GPU that was named, by --gpus-per-node TYPE:N or by --gpu-type."""
        in_count = (self.settings.text("gpus-per-node") or "").rpartition(":")[0]
        alone = self.settings.text("gpu-type")
        if in_count and self.settings.layer("gpus-per-node") <= self.settings.layer("gpu-type"):
            return in_count
        return alone or in_count or None

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions that were named; Slurm takes the one that starts the job first."""
        return tuple(filter(None, (self.settings.text("partition") or "").split(",")))

    @property
    def runs_dir(self) -> str:
        """Where the run folder is made, absolute."""
        return os.path.join(self.workdir, self.settings.text("runs-dir") or "runs")

    @property
    def folder_name(self) -> str:
        """The name as a part of a file's name: letters, digits, dots, dashes, at most 40."""
        return _UNSAFE.sub("-", self.name).strip("-.")[:40].strip("-.") or "job"


def build(
    target: str,
    args: Sequence[str],
    settings: Settings,
    cwd: str,
    environ: Mapping[str, str],
    problems: list[Problem],
    templates: tuple[Path, ...] = (),
    program: str | None = None,
) -> JobSpec:
    """The job of a target and its arguments. What is wrong with it is added to problems.

    program: of a job without a target, a file of ours, "" for nothing at all.
    """
    python = _python(settings, cwd, environ)
    if program is None:
        first = _program(target, settings, cwd, python, problems)
    else:
        first = (python, program) if program else NOTHING
    spec = JobSpec(
        target=target,
        argv=(*first, *args),
        workdir=cwd,
        name=settings.text("name") or _default_name(target),
        python=python,
        exports=_exports(settings, environ, problems),
        settings=settings,
        secrets=secrets.gather(settings, environ, cwd, problems),
        templates=templates,
        program=program or "",
    )
    problems.extend(_contradictions(spec))
    return spec


def _program(
    target: str, settings: Settings, cwd: str, python: str, problems: list[Problem]
) -> tuple[str, ...]:
    """The words that run TARGET."""
    if not target:
        problems.append(Problem("TARGET", "is missing", "the script to run"))
        return (target,)
    if settings.value("command"):
        return (target,)
    # Without a slash a program is looked up in PATH, and a leading dash is an option of Python.
    word = target if target.startswith("/") else os.path.join(".", target)
    path = os.path.join(cwd, target)
    if not os.path.isfile(path):
        problems.append(_missing(target, path))
    elif not os.access(path, os.R_OK):
        problems.append(Problem("TARGET", f"{target} cannot be read"))
    elif not target.endswith(".py") and not os.access(path, os.X_OK):
        hint = f"chmod +x {target}; or --command, with the program that runs it as TARGET"
        problems.append(Problem("TARGET", f"{target} is neither *.py nor executable", hint))
    if not target.endswith(".py"):
        return (word,)
    return (python, target if not target.startswith("-") else word)


def _missing(target: str, path: str) -> Problem:
    from hpctools.jobs.nearest import nearest

    if os.path.isdir(path):
        return Problem("TARGET", f"{target} is a folder; the script in it is wanted")
    if os.path.exists(path):
        return Problem("TARGET", f"{target} is no regular file")
    parent = os.path.dirname(path)
    try:
        near = nearest(os.path.basename(path), os.listdir(parent), 0.7)
    except OSError:
        return Problem("TARGET", f"there is no {target}", f"there is no folder {parent}")
    found = os.path.join(os.path.dirname(target), near) if near else None
    hint = f"did you mean {found}?" if found else "--command runs a program found by PATH"
    return Problem("TARGET", f"there is no {target}", hint)


def _default_name(target: str) -> str:
    name = os.path.basename(target.rstrip("/")).removesuffix(".py") or "job"
    # The name of a file may hold what no directive carries; a name that nobody chose may be changed.
    return "".join("_" if sbatch.directive_problem(letter) else letter for letter in name)


def _python(settings: Settings, cwd: str, environ: Mapping[str, str]) -> str:
    chosen = settings.text("python")
    if settings.text("image") is not None:
        return chosen or containers.PYTHON
    if chosen:
        # A link of a virtual environment must stay a link: its folder says which one it is.
        return os.path.join(cwd, chosen) if "/" in chosen else chosen
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        python = os.path.join(environ.get(variable, ""), "bin", "python")
        if environ.get(variable) and os.access(python, os.X_OK):
            return python
    return sys.executable


def _exports(
    settings: Settings, environ: Mapping[str, str], problems: list[Problem]
) -> tuple[tuple[str, str], ...]:
    found = []
    for name, text in settings.entries("env").items():
        value = environ.get(name) if text is None else text
        if value is None:
            where = settings.where(f"env.{name}")
            problems.append(
                Problem(where, "is not set here, so there is nothing to inherit", f"{name}=VALUE")
            )
        elif "\0" in value:
            problems.append(Problem(settings.where(f"env.{name}"), "holds a NUL character"))
        else:
            found.append((name, value))
    return tuple(found)


def _contradictions(spec: JobSpec) -> list[Problem]:
    settings, found = spec.settings, []
    in_count = (settings.text("gpus-per-node") or "").rpartition(":")[0]
    alone = settings.text("gpu-type")
    same = settings.layer("gpus-per-node") == settings.layer("gpu-type")
    if in_count and alone and same and in_count != alone:
        where = settings.where("gpu-type")
        found.append(Problem(where, f"is {alone}, but --gpus-per-node says {in_count}"))
    hidden = dict(spec.secrets)
    for name, _ in spec.exports:
        if name in hidden:
            entry = f"secret.{name}"
            other = settings.where(entry if entry in settings.values else "env-file")
            text = f"{name} is given by {other}, too, and only one of the two can be its value"
            found.append(Problem(settings.where(f"env.{name}"), text, "leave one of them out"))
    output = settings.text("output") or ""
    folder = os.path.join(spec.workdir, os.path.dirname(output))
    if "%" not in folder and not os.path.isdir(folder):
        # Slurm would fail the job at its start, without a log that could say so.
        found.append(Problem(settings.where("output"), f"there is no folder {folder}", "mkdir it first"))
    return found


def doubts(spec: JobSpec) -> tuple[str, ...]:
    """What may be wrong here and right on the nodes, so that it is only said."""
    python = spec.python
    if "/" not in python or spec.container:
        return ()
    if not os.path.isfile(python) or not os.access(python, os.X_OK):
        what = "cannot be run" if os.path.exists(python) else "is not there"
        return (f"{python} {what}, on this machine; the job needs it on its nodes",)
    environment = os.path.dirname(os.path.dirname(python))
    if not spec.is_task_per_node or not os.path.isfile(os.path.join(environment, "pyvenv.cfg")):
        return ()
    library = os.path.join(environment, "lib")
    folders = os.listdir(library) if os.path.isdir(library) else []
    needed = ("torch", "accelerate") if spec.launcher == "accelerate" else ("torch",)
    return tuple(
        f"the virtual environment of {python} seems to have no {name}; --python names another one"
        for name in needed
        if not any(os.path.isdir(os.path.join(library, one, "site-packages", name)) for one in folders)
    )
