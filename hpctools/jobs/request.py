"""What somebody asked for: the settings of all layers, the site and the job that come of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import containers, settings, site, spec, templates
from hpctools.jobs.settings import Layer, Settings
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec

BESIDE = "hpctools.yaml"


@dataclass(frozen=True)
class Request:
    """A job, its site, and everything that is wrong with them as far as the cluster is not asked."""

    spec: JobSpec
    site: Site
    problems: tuple[Problem, ...]

    @property
    def settings(self) -> Settings:
        """All settings."""
        return self.spec.settings

    def check(self) -> None:
        """Raises InvalidInput with all problems, if there are any."""
        if self.problems:
            raise InvalidInput(self.problems)


def gather(
    target: str,
    args: Sequence[str] = (),
    values: Mapping[str, object] = {},
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: str | None = None,
    origin: str = settings.ARGUMENT,
) -> Request:
    """The request of a target with settings given by a caller, completed by all other layers."""
    try:
        cwd = cwd or os.getcwd()
    except FileNotFoundError as error:
        raise InvalidInput([Problem("working folder", "is not there any more")]) from error
    problems: list[Problem] = []
    layers = _layers(target, values, environ, cwd, origin, problems)
    name = next((layer["site"] for layer in layers if "site" in layer), None)
    where = settings.place("site", name.origin) if name else ""
    chosen = site.load(site.find(name.text if name else None, cwd, problems, where), problems)
    merged = settings.merge([*layers, chosen.defaults], problems)
    changes = {name: text or "" for name, text in merged.entries("set").items()}
    chosen = site.change(chosen, changes, problems)
    searched = templates.folders(chosen, environ)
    merged, template = templates.choose(merged, searched, cwd, problems)
    program = templates.program(template, target, args, problems) if template else None
    if template and program is not None:
        target = template.name
    job = spec.build(target, args, merged, cwd, environ, problems, searched, program)
    job = replace(job, container=containers.of(merged, chosen.containers, cwd, problems))
    if environ.get("SLURM_CLUSTERS") or environ.get("SBATCH_CLUSTERS"):
        hint = "unset it, and name the cluster by SLURM_CONF"
        problems.append(Problem("$SLURM_CLUSTERS", "jobs for another cluster cannot be submitted yet", hint))
    return Request(job, chosen, tuple(problems))


def _layers(
    target: str,
    values: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: str,
    origin: str,
    problems: list[Problem],
) -> list[Layer]:
    """The layers above the site's, the strongest first."""
    # A command is somewhere in PATH: the folder that it is run from speaks for it.
    beside = Path(cwd, "" if values.get("command") else os.path.dirname(target), BESIDE)
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    # Within a job SBATCH_* describe that job's own submission, not what the user wants of this one.
    inside = "SLURM_JOB_ID" in environ
    return [
        settings.given(values, origin, problems),
        settings.variables(environ, problems),
        settings.file(beside, problems),
        settings.file(Path(config, "hpctools", "config.yaml"), problems),
        {} if inside else settings.sbatch_variables(environ),
    ]
