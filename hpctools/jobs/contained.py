"""The words that run a job's ranks in its image, under each runtime, and the lines of its script.

Of a container runtime only the start differs: what is run in the image is launch.py, with the image's
Python, and so are records, signals and statuses the same inside and outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hpctools.errors import Problem
from hpctools.jobs import containers
from hpctools.jobs.containers import PYXIS, SINGULARITY, Bind, Container, Containers
from hpctools.jobs.resources import Resources
from hpctools.jobs.spec import JobSpec

# What --bind takes as it is; commas and colons part its fields, a backslash hides them.
_PLAIN_PATH = re.compile(r"[^,:\"\\\x00-\x1f\x7f]+")
Quote = Callable[[str], str]


@dataclass(frozen=True)
class Part:
    """Words of a command line that belong together, and why they are there."""

    words: tuple[str, ...]
    reason: str = ""


def binds(spec: JobSpec, site: Containers, run: str) -> tuple[Bind, ...]:
    """What the image sees of the host: the job's own folders, the site's and the user's."""
    own = [spec.workdir, run]
    if spec.target.startswith("/") and not spec.settings.value("command"):
        own.append(spec.target.rpartition("/")[0] or "/")
    wanted = [*(Bind(one, one) for one in own), *site.binds]
    wanted += spec.container.binds if spec.container else ()
    found: list[Bind] = []
    for one in wanted:
        # The last one says what is seen at a place.
        found = [other for other in found if other.inside != one.inside] + [one]
    return tuple(one for one in found if not _is_below(one, found))


def _is_below(one: Bind, others: Sequence[Bind]) -> bool:
    """Whether a folder is seen anyhow, in a folder above it."""
    if one.outside != one.inside:
        return False
    for other in others:
        above = other.inside.rstrip("/") + "/"
        same = other.outside == other.inside and other.read_only == one.read_only
        if same and one.inside.startswith(above) and one.inside != other.inside:
            return True
    return False


def apptainer(spec: JobSpec, container: Container, site: Containers, gpus: int, run: str) -> Iterator[Part]:
    """The words of `apptainer exec`, or of Singularity's, up to the image's interpreter."""
    yield Part((container.runtime, "--quiet", "exec"))
    if container.runtime != SINGULARITY:  # it has the option since 3.10; contain.py sets its variable
        yield Part(("--no-eval",), "values of variables are text, which no shell looks into")
    if gpus and site.gpu != containers.NONE:
        yield Part((f"--{site.gpu}",), "the libraries of the driver, from the node, for its GPUs")
    if site.options:
        yield Part(site.options, "this site's own")
    reason = "what the image sees of the host, beside the home folder and /tmp"
    for one in binds(spec, site, run):
        yield Part(mount(one), reason)
        reason = ""
    yield Part(("--pwd", spec.workdir))
    yield Part((container.path, container.python))


def mount(one: Bind) -> tuple[str, str]:
    """The words that bind a folder."""
    if _PLAIN_PATH.fullmatch(one.outside) and _PLAIN_PATH.fullmatch(one.inside):
        to = f":{one.inside}" if one.inside != one.outside or one.read_only else ""
        return "--bind", f"{one.outside}{to}{':ro' * one.read_only}"
    # The other form is a line of CSV.
    fields = [f"source={one.outside}", f"destination={one.inside}"]
    quoted = ['"' + text.replace('"', '""') + '"' for text in fields]
    return "--mount", ",".join(["type=bind", *quoted, *["ro"] * one.read_only])


def pyxis(spec: JobSpec, container: Container, site: Containers, run: str) -> Iterator[Part]:
    """The options of srun that Pyxis adds, up to the image's interpreter."""
    yield Part((f"--container-image={container.path or enroot(container.source)}",))
    pairs = [f"{one.outside}:{one.inside}{':ro' * one.read_only}" for one in binds(spec, site, run)]
    yield Part((f"--container-mounts={','.join(pairs)}",), "what the image sees of the host")
    yield Part((f"--container-workdir={spec.workdir}",))
    same = ("--container-mount-home", "--no-container-remap-root", "--no-container-entrypoint")
    yield Part(same, "as under Apptainer: your home folder, yourself, and no program of the image's own")
    if spec.exports:
        names = ",".join(name for name, _ in spec.exports)
        yield Part((f"--container-env={names}",), "elsewhere the image's own values win")
    if site.options:
        yield Part(site.options, "this site's own")
    yield Part((container.python,))


def enroot(source: str) -> str:
    """docker://HOST/NAME:TAG as Enroot has it: HOST#NAME:TAG."""
    text = source.removeprefix("docker://")
    host, slash, name = text.partition("/")
    if slash and (any(letter in host for letter in ".:[") or host == "localhost"):
        return f"{host}#{name}"
    return text


def problems(spec: JobSpec, site: Containers, run: str) -> tuple[Problem, ...]:
    """Folders that this runtime cannot bind."""
    if spec.container is None:
        return ()
    found = []
    for one in binds(spec, site, run):
        for path in (one.outside, one.inside):
            if spec.container.runtime == PYXIS and not re.fullmatch(r"[^,:]+", path):
                found.append(Problem("--image", f"Pyxis cannot mount {path!r}: it has a comma or colon"))
            elif re.search("[\udc80-\udcff]", path):
                found.append(Problem("--image", f"{path!r} cannot be seen in an image: it is not UTF-8"))
    return tuple(dict.fromkeys(found))


def words(spec: JobSpec, site: Containers, gpus: int, run: str) -> list[str]:
    """The words that run the image's interpreter on this machine, for a job under Apptainer."""
    if spec.container is None:
        return [spec.python]
    return [word for part in apptainer(spec, spec.container, site, gpus, run) for word in part.words]


def keep(spec: JobSpec) -> str:
    """What contain.py is told: the variables that win over the image's own."""
    return "--keep=" + ",".join(name for name, _ in spec.exports)


def lines(spec: JobSpec, site: Containers, taken: Resources, run: str, quote: Quote) -> str:
    """The lines of bash that choose the host's interpreter and define _container; empty without an image."""
    container = spec.container
    if container is None:
        return ""
    import sys

    interpreters = " ".join(quote(one) for one in dict.fromkeys((sys.executable, *HOST_PYTHONS)))
    said = [_HOST.format(interpreters=interpreters), ""]
    digest = f", sha256 {container.sha256}" if container.sha256 else ""
    title = quote(container.reference).replace("\n", " ")
    said.append(f"# The ranks run in the image {title}{digest}.")
    if container.runtime == PYXIS:
        said.append("# Pyxis, a plugin of Slurm's, gives srun these options.")
        before, parts = "", list(pyxis(spec, container, site, run))
    else:
        said += _CONTAIN
        before = f'"$_python" -I -S "$_run/contain.py" {keep(spec)} --'
        parts = list(apptainer(spec, container, site, taken.gpus, run))
    said.append(f"_container=({before}")
    for part in parts:
        said += [f"    # {part.reason}"] * bool(part.reason)
        said.append("    " + " ".join(map(quote, part.words)))
    said.append(")")
    if container.runtime == containers.APPTAINER:
        said.append(_UNSQUASH)
    return "\n".join(said)


# Where a login node's own Python is not on the nodes: theirs, RHEL 8's for its system too.
HOST_PYTHONS = ("python3", "/usr/bin/python3", "/usr/libexec/platform-python")
_HOST = """\
# Outside of the image, for what this script does itself, any Python from 3.8 on will do.
for _python in {interpreters} ""; do
    "$_python" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && break
done
if [[ -z $_python ]]; then
    echo "hpctools: there is no Python 3.8 or newer on $HOSTNAME, which a job in an image needs outside of it" >&2
    exit 1
fi"""
_CONTAIN = [
    "# contain.py, on each node, says which one lacks the image, and keeps out what the environment tells of",
    "# this host's own software: CONDA_PREFIX, PYTHONPATH, LD_PRELOAD. All else of it reaches the ranks.",
]
_UNSQUASH = """\
# Where Slurm does not track processes by cgroups its warnings reach every process of a step: also the one
# that holds the image's file system, which would be gone in the middle of a checkpoint. So the image is
# unpacked on the node first. (For root the kernel itself mounts it.)
_conf=$(scontrol show config)
if [[ $EUID != 0 && ( $_conf != *" = proctrack/cgroup"* || $_conf =~ SignalChildrenProcesses\\ *=\\ yes ) ]]; then
    export APPTAINER_UNSQUASH=1
fi"""
