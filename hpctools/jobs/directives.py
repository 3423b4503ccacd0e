"""A job's #SBATCH lines: every option of sbatch that it depends on stands in its script."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hpctools.errors import ParseError, Problem
from hpctools.jobs.options import OPTIONS
from hpctools.jobs.resources import Resources
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec
from hpctools.slurm import sbatch

# Who gives one of these by --sbatch-option means it instead of what we would fill in.
_INSTEAD_OF: Mapping[str, tuple[str, ...]] = {
    "gpus-per-node": ("gres",),
    "exclusive": ("exclusive", "oversubscribe"),
    "mem": ("mem-per-cpu", "mem-per-gpu"),
    "requeue": ("no-requeue",),
}
# SBATCH_ variables that would undo what the script says, beside those of the options in it: sbatch
# gives variables precedence over directives.
_UNWANTED = frozenset({"SBATCH_ERROR", "SBATCH_INPUT", "SBATCH_WAIT"})
# One of these in the script undoes all of its group.
_GROUPS = (
    frozenset(
        {"SBATCH_GPUS_PER_NODE", "SBATCH_GRES", "SBATCH_GPUS", "SBATCH_GPUS_PER_TASK", "SBATCH_TRES_PER_TASK"}
    ),
    frozenset({"SBATCH_MEM_PER_NODE", "SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU"}),
)
_VARIABLES: Mapping[str, str] = {
    "time": "TIMELIMIT",
    "array": "ARRAY_INX",
    "mem": "MEM_PER_NODE",
    "job-name": "JOB_NAME",
}

Directive = tuple[str, str | None]


def stdout(spec: JobSpec, run: str) -> str:
    """The job's StdOut as Slurm takes it: absolute, its own patterns escaped where they are none.

    Slurm replaces %j and the like in every part of the path, and %% by a percent sign (sbatch(1),
    FILENAME PATTERN); a user's --output is a pattern already.
    """
    chosen = spec.settings.text("output")
    if chosen:
        return os.path.join(spec.workdir.replace("%", "%%"), chosen)
    log = "slurm-%A_%a.out" if spec.settings.text("array") else "slurm.out"
    return os.path.join(run.replace("%", "%%"), log)


def of(spec: JobSpec, resources: Resources, site: Site, run: str) -> tuple[Directive, ...]:
    """The options of sbatch, by name, in the order of the table; run is the run folder."""
    values: dict[str, str | None] = {"job-name": spec.name}
    for option in OPTIONS:
        text = spec.settings.text(option.name) if option.sbatch else None
        if text:
            values.setdefault(option.sbatch, text)
    values["ntasks-per-node"] = str(resources.tasks)
    if resources.cpus_per_task:
        values["cpus-per-task"] = str(resources.cpus_per_task)
    values.pop("mem", None)
    if resources.mem is not None:
        values["mem"] = resources.mem
    values |= _gpus(resources, site)
    values["requeue"] = None
    if warn_s := resources.warn_before_s:
        # Not B: to the batch script. The ranks are to hear it, and with B: nobody hears of preemption.
        values["signal"] = f"USR1@{warn_s}"
    if resources.exclusive:
        values["exclusive"] = None
    if site.export == "NONE":
        values["export"] = site.export
    # Not --error: without it both outputs go to one log, in order.
    values |= {"chdir": spec.workdir, "output": stdout(spec, run), "open-mode": "append"}
    extra = spec.settings.entries("sbatch-option")
    for ours, theirs in _INSTEAD_OF.items():
        if any(name in extra for name in theirs):
            values.pop(ours, None)
    return tuple({**values, **{name.removeprefix("--"): text for name, text in extra.items()}}.items())


def _gpus(resources: Resources, site: Site) -> dict[str, str | None]:
    if not resources.gpus:
        return {}
    if site.gpu_option == "gres":
        return {"gres": f"gpu:{resources.gpu_words}"}
    return {"gpus-per-node": resources.gpu_words}


def lines(directives: tuple[Directive, ...]) -> str:
    """The #SBATCH lines. Raises ParseError for a value that cannot be carried: see problems."""
    return "\n".join(sbatch.directive(name, value) for name, value in directives)


def problems(spec: JobSpec, directives: tuple[Directive, ...]) -> tuple[Problem, ...]:
    """The values that no #SBATCH line can carry."""
    settings = {option.sbatch: option.name for option in OPTIONS if option.sbatch}
    settings |= {"gres": "gpus-per-node", "gpus-per-node": "gpus-per-node"}
    found = []
    for name, value in directives:
        where = _where(spec, settings.get(name), name)
        try:
            sbatch.directive(name, value)
        except ParseError:
            reason = sbatch.directive_problem(value or "") or "it cannot be carried in a directive"
            hint = _HINTS.get(name, "")
            found.append(Problem(where, f"{value!r}: {reason}", hint))
    return tuple(found)


_HINTS = {
    "chdir": "submit from another folder",
    "output": "choose another --runs-dir or --output",
}


def _where(spec: JobSpec, setting: str | None, name: str) -> str:
    if setting:
        return spec.settings.where(setting)
    if name == "chdir":
        return "working folder"
    if name == "output":
        return spec.settings.where("output" if spec.settings.text("output") else "runs-dir")
    return spec.settings.where(f"sbatch-option.{name}")


def environment(environ: Mapping[str, str], directives: tuple[Directive, ...]) -> dict[str, str]:
    """The environment that sbatch is run in.

    Inside of a job without what describes that job: a nested sbatch would take it for a request.
    Elsewhere without the SBATCH_* variables that would override a directive.
    """
    if "SLURM_JOB_ID" in environ:
        ours = ("SLURM_", "SRUN_", "SBATCH_")
        return {
            name: text for name, text in environ.items() if not name.startswith(ours) or name == "SLURM_CONF"
        }
    names = {f"SBATCH_{_VARIABLES.get(name, name.upper().replace('-', '_'))}" for name, _ in directives}
    unwanted = names.union(_UNWANTED, *(group for group in _GROUPS if group & names))
    return {name: text for name, text in environ.items() if name not in unwanted}
