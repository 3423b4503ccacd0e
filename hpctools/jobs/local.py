"""The same job on this machine, without Slurm: one node, the same run folder, launcher and records."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from hpctools import process
from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import contained, containers, record, render, resources, run_files, spec
from hpctools.jobs.record import Record
from hpctools.jobs.request import Request
from hpctools.jobs.resources import Resources
from hpctools.jobs.spec import NOTHING

# Launchers that start one rank without Slurm.
ALONE = ("mpirun", "none")
_DEVICE = re.compile(r"nvidia[0-9]+")
Say = Callable[[str], None]
# Whoever runs the program: its words and its environment.
Start = Callable[[list[str], Mapping[str, str]], int]


def run(
    request: Request,
    say: Say = lambda _: None,
    environ: Mapping[str, str] = os.environ,
    start: Start = lambda words, env: process.foreground(words, env=env),
) -> tuple[Record, int]:
    """Run a job here to its end, on our own terminal. Returns its record and its exit status.

    As many ranks as there are GPUs, or as --gpus-per-node or --ranks-per-node say. Raises
    InvalidInput with everything that is wrong.
    """
    wrong = [*request.problems, *_impossible(request)]
    if wrong:
        raise InvalidInput(wrong)
    for text in spec.doubts(request.spec):
        say(text)
    ranks = _ranks(request, environ)
    options = render.launcher_options(request.spec, render.Variables(request.site.variables))
    launcher = request.spec.launcher
    if launcher == "srun" and ranks > 1:
        say("torchrun starts the ranks instead of srun: --local has no Slurm")
        launcher, options = "torchrun", []
    if request.spec.nodes > 1:
        say(f"1 node instead of {request.spec.nodes}: --local runs on this machine only")
    if request.settings.value("preflight"):
        say("--preflight looks at the nodes of a cluster: left out with --local")
    taken = replace(resources.resolve(request.spec, request.site, None), ranks=ranks)
    folder = run_files.make(request, taken, say, submitted=False)
    entry = run_files.new_record(request, taken, folder, {})
    entry = replace(entry, state="local", cluster=None, slurm_conf=None, nodes=1)
    record.save(entry)
    say(f"run folder {folder}")
    words = [*_interpreter(request, taken, folder), "-I", "-S", os.path.join(folder, run_files.LAUNCH.name)]
    words += ["local", f"--launcher={launcher}", f"--ranks-per-node={ranks}"]
    words += [f"--options={shlex.join(options)}"] * bool(options)
    job = request.spec
    return entry, start(words, {**environ, **dict(job.exports), **dict(job.secrets)})


def _interpreter(request: Request, taken: Resources, folder: str) -> list[str]:
    """The words that run Python, on this machine or in the image."""
    job, site = request.spec, request.site.containers
    if job.container is None:
        return [job.python]
    contain = [sys.executable, "-I", "-S", os.path.join(folder, run_files.CONTAIN.name)]
    return [*contain, contained.keep(job), "--", *contained.words(job, site, taken.gpus, folder)]


def _impossible(request: Request) -> list[Problem]:
    settings = request.settings
    container = request.spec.container
    if container and container.runtime == containers.PYXIS:
        return [Problem(settings.where("image"), "Pyxis needs Slurm", "leave out --local")]
    if settings.text("array"):
        return [Problem(settings.where("array"), "an array needs Slurm", "leave out --local")]
    launcher = request.spec.launcher
    if launcher in ALONE and (settings.number("ranks-per-node") or 1) > 1:
        return [
            Problem(settings.where("ranks-per-node"), f"with --launcher {launcher} --local runs one rank")
        ]
    if settings.value("preflight") and request.spec.argv == NOTHING:
        return [Problem("--local", "nodes are looked at in a job of Slurm's", "leave out --local")]
    return []


def _ranks(request: Request, environ: Mapping[str, str]) -> int:
    if request.spec.launcher in ALONE:
        return 1
    asked = request.settings.number("ranks-per-node") or request.spec.gpus
    return asked or gpus_here(environ) or 1


def gpus_here(environ: Mapping[str, str], devices: str = "/dev") -> int:
    """The NVIDIA GPUs of this machine that a program would see."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([one for one in visible.split(",") if one.strip() not in ("", "-1")])
    return sum(1 for name in os.listdir(devices) if _DEVICE.fullmatch(name))
