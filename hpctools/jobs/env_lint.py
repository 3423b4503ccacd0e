"""Which variables of a job are stale or harmful: of the shell, of settings, of files that set them."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from hpctools.jobs.env_rules import FATAL, RULES
from hpctools.jobs.fabric import Fabric
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec

SHELL = "your shell"
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_NETWORK = re.compile(r"FI_|RDMAV_|IBV_|GLOO_|NCCL_(NET|IB|SOCKET)")
# What stands before assignments in scripts of shells, Dockerfiles and definitions of images.
_LEADING = frozenset({"export", "declare", "typeset", "readonly", "env", "ENV", "-x", "-gx"})
_PAIRS = frozenset({"setenv", "ENV"})  # NAME VALUE, without =


@dataclass(frozen=True)
class Found:
    """A variable that somebody has set, its value, and where it comes from."""

    variable: str
    value: str
    origin: str


@dataclass(frozen=True)
class Finding:
    """A variable that breaks a rule; see env_rules.Rule."""

    variable: str
    value: str
    origin: str
    severity: str
    rule: str
    message: str
    hint: str
    source: str

    def __str__(self) -> str:
        return (
            f"{self.variable}={self.value} (from {self.origin}) {self.message} [{self.source}]; {self.hint}"
        )


def findings(variables: Iterable[Found], fabric: Fabric) -> tuple[Finding, ...]:
    """What is wrong with variables on a fabric, the fatal first."""
    made = [
        Finding(
            one.variable,
            one.value,
            one.origin,
            rule.severity,
            rule.name,
            rule.message,
            rule.hint,
            rule.source,
        )
        for one in variables
        for rule in RULES
        if rule.finds(one.variable, one.value, fabric)
    ]
    return tuple(sorted(made, key=lambda finding: finding.severity != FATAL))


def of_job(spec: JobSpec, inherited: Mapping[str, str]) -> Iterator[Found]:
    """The variables of a job: what it is given, and what it inherits beside."""
    given = dict(spec.exports)
    for name, value in given.items():
        yield Found(name, value, spec.settings.where(f"env.{name}"))
    for name, value in inherited.items():
        if name not in given:
            yield Found(name, value, SHELL)


def of_scripts(spec: JobSpec, site: Site) -> Iterator[Found]:
    """The variables that the site's first lines set, and templates that are not packaged.

    What a template or bash makes of other values is not known here, so it is left out.
    """
    texts = [(site.setup, f"setup of {site.path}")]
    launcher = "plain" if spec.launcher == "none" else spec.launcher
    chosen = spec.settings.text("template")
    paths = [Path(chosen)] if chosen else [folder / f"{launcher}.sbatch.j2" for folder in spec.templates]
    for path in [*paths, *(folder / "base.sbatch.j2" for folder in spec.templates)]:
        with contextlib.suppress(OSError):
            texts.append((path.read_text(errors="replace"), str(path)))
    for text, origin in texts:
        yield from (one for one in of_text(text, origin) if not re.search(r"[$`]|\{[{%]", one.value))


def remarks(spec: JobSpec, site: Site, inherited: Mapping[str, str]) -> tuple[str, ...]:
    """What is to be said at submission; of the network only where the job has one."""
    return said(chain(of_job(spec, inherited), of_scripts(spec, site)), spec, site)


def said(variables: Iterable[Found], spec: JobSpec, site: Site) -> tuple[str, ...]:
    """What is wrong with variables of a job; of the network only where the job has one."""
    found = findings(variables, site.fabric)
    return tuple(str(one) for one in found if spec.nodes > 1 or not _NETWORK.match(one.variable))


def of_text(text: str, path: str) -> Iterator[Found]:
    """The variables that a file sets: a script, a file of NAME=value lines, a Dockerfile.

    It is read, never run: what is set by a function or in a loop is not seen.
    """
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quote that ends on a later line
            words = line.split()
        origin = f"{path}:{number}"
        if len(words) == 3 and words[0] in _PAIRS and "=" not in words[1]:
            yield Found(words[1], words[2], origin)
            continue
        while words and words[0] in _LEADING:
            del words[0]
        for word in words:
            match = _ASSIGNED.fullmatch(word.rstrip(";"))
            if not match:
                break
            yield Found(match[1], match[2], origin)
