"""What is put into a run folder before its job is submitted.

job.sbatch   what is submitted        job.json    every setting, with where it comes from
launch.py    what runs in the job     argv.json   the words that every rank executes
restart.py   whether it starts again  python/     hpctools.preemption, for ranks without hpctools
preflight.py looks at the nodes first, with --preflight
contain.py   goes into the image, with --image
secrets.json variables that stand nowhere else, while the job lives
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import clusters, directives, record, secrets
from hpctools.jobs.record import Record
from hpctools.jobs.request import Request
from hpctools.jobs.resources import Resources
from hpctools.jobs.spec import JobSpec

SCRIPT = "job.sbatch"
LAUNCH = Path(__file__).parent / "runtime" / "launch.py"
# What jobs use, by its place in the run folder.
COPIED: Mapping[str, Path] = MappingProxyType(
    {
        LAUNCH.name: LAUNCH,
        "restart.py": LAUNCH.with_name("restart.py"),
        "python/hpctools/__init__.py": LAUNCH.with_name("stand_in.py"),
        "python/hpctools/preemption.py": Path(__file__).parent.parent / "preemption.py",
    }
)
PREFLIGHT = LAUNCH.with_name("preflight.py")
CONTAIN = LAUNCH.with_name("contain.py")
# Stands for what is chosen at submission: the moment and six random digits.
EXAMPLE = "YYYYMMDDThhmmssZ-xxxxxx"


def example(spec: JobSpec) -> str:
    """A run folder as it could be called; nothing is there."""
    return os.path.join(spec.runs_dir, f"{spec.folder_name}-{EXAMPLE}")


def script(request: Request, resources: Resources, run: str, say: Callable[[str], None]) -> str:
    """The text of the job's script; variables that its template does not read are said."""
    from hpctools.jobs import render

    text, unread = render.render(request.spec, resources, request.site, run)
    for name in unread:
        say(f"--set {name}: the job's template does not use it")
    return text


def make(
    request: Request, resources: Resources, say: Callable[[str], None], *, submitted: bool = True
) -> str:
    """Make a run folder, whole or not at all, and return its path; without a script where nothing
    is submitted. Raises InvalidInput where none can be made.
    """
    spec = request.spec
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    run = os.path.join(spec.runs_dir, f"{spec.folder_name}-{stamp}-{os.urandom(3).hex()}")
    beside = os.path.join(spec.runs_dir, f".{os.path.basename(run)}")
    contents = {
        "job.json": _json(_resolved(request, resources)),
        "argv.json": _json(spec.argv),
        **{name: source.read_bytes() for name, source in COPIED.items()},
    }
    if spec.container:
        contents[CONTAIN.name] = CONTAIN.read_bytes()
    if submitted:
        if spec.secrets:
            contents[secrets.FILE] = _json(dict(spec.secrets))
        if spec.settings.value("preflight"):
            contents[PREFLIGHT.name] = PREFLIGHT.read_bytes()
        contents[SCRIPT] = script(request, resources, run, say).encode("utf-8", "surrogateescape")
    try:
        os.makedirs(spec.runs_dir, exist_ok=True)
        os.makedirs(os.path.join(beside, "python", "hpctools"), 0o700)
        os.chmod(beside, 0o700)
        for name, data in contents.items():
            _write(os.path.join(beside, name), data)
        os.rename(beside, run)
    except OSError as error:
        problem = Problem(spec.settings.where("runs-dir"), f"{spec.runs_dir}: {error.strerror}")
        raise InvalidInput([problem]) from error
    return run


def remove(entry: Record) -> None:
    """Take away the run folder and the record of a job that does not exist.

    Only what make put there: if anything else has appeared it is kept.
    """
    for name in (SCRIPT, secrets.FILE, "job.json", "argv.json", *COPIED, PREFLIGHT.name, CONTAIN.name):
        Path(entry.run, name).unlink(missing_ok=True)
    try:
        os.rmdir(os.path.join(entry.run, "python", "hpctools"))
        os.rmdir(os.path.join(entry.run, "python"))
        os.rmdir(entry.run)
        os.rmdir(os.path.dirname(entry.run))  # the folder of runs, if this would have been the first
    except OSError:
        pass  # something else is in it
    (record.folder() / f"{os.path.basename(entry.run)}.json").unlink(missing_ok=True)


def new_record(request: Request, resources: Resources, run: str, environ: Mapping[str, str]) -> Record:
    """The record of a submission that is about to be tried."""
    spec = request.spec
    conf = clusters.conf(environ)
    return Record(
        token=directives.stdout(spec, run),
        run=run,
        name=spec.name,
        target=spec.target,
        state="submitting",
        created_s=int(time.time()),
        cluster=clusters.name(conf),
        slurm_conf=conf,
        nodes=spec.nodes,
        gpus_per_node=resources.gpus,
        array=spec.settings.text("array"),
        image=spec.container.described() if spec.container else None,
    )


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


def _json(value: object) -> bytes:
    import json

    return (json.dumps(value, indent=1) + "\n").encode()


def _resolved(request: Request, resources: Resources) -> dict[str, object]:
    spec, site = request.spec, request.site
    settings = spec.settings.values.items()
    return {
        "target": spec.target,
        "argv": spec.argv,
        "workdir": spec.workdir,
        "name": spec.name,
        "python": spec.python,
        "image": spec.container.described() if spec.container else None,
        "nodes": spec.nodes,
        "ranks_per_node": resources.ranks,
        "gpus_per_node": resources.gpu_words,
        "cpus_per_task": resources.cpus_per_task,
        "mem": resources.mem,
        "exclusive": resources.exclusive,
        "site": str(site.path) if site.path else None,
        "settings": {name: {"value": one.value, "origin": one.origin} for name, one in settings},
    }
