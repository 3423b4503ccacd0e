"""A site's file, proved by real jobs: one in each partition, that looks at its nodes."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpctools import files
from hpctools.errors import HpctoolsError, InvalidInput, Problem
from hpctools.jobs import cancel, named, render, request, run_files, run_folder, settings, submission, watch
from hpctools.jobs.named import Named
from hpctools.jobs.options import BY_NAME
from hpctools.jobs.request import Request
from hpctools.jobs.site import Site
from hpctools.jobs.submission import Plan
from hpctools.process import Run
from hpctools.process import run as run_program
from hpctools.site import node as nodes
from hpctools.site import verdicts
from hpctools.site.starting import PROBE
from hpctools.site.verdicts import BAD, NOT_CHECKED, OK, WARNING, Answer, Check

TEMPLATE = "site-check.sbatch.j2"
# Tells the template where its folder is.
VARIABLE = "site_check.folder"
LIMIT_MIN = 10
# How long the records of nodes may take to be seen here, on a shared file system.
LATE_S = 10.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What a check was asked for. nodes and gpus: None for two nodes, and all GPUs of each."""

    site: str | None = None
    partitions: tuple[str, ...] = ()
    nodes: int | None = None
    gpus: str | None = None
    account: str | None = None
    wait_s: float = 600.0


@dataclass(frozen=True)
class Sent:
    """A job that was submitted, and the folder where its nodes write."""

    partition: str
    plan: Plan
    job: Named
    folder: Path


def check(
    asked: Asked, run: Run = run_program, say: Say = lambda _: None, environ: Mapping[str, str] = os.environ
) -> tuple[Check, ...]:
    """Check a site's file: by itself, by what Slurm says of its jobs, and by a job in each partition.

    Raises InvalidInput with all that is wrong in the file, NotFound and SlurmUnavailable without Slurm.
    """
    first = _request(asked, {}, environ)
    first.check()
    where = str(first.site.path or "there is none, so defaults are checked; hpctools site init writes one")
    found = [Check("site file", OK if first.site.path else WARNING, where)]
    named_ones = [one for word in asked.partitions for one in word.split(",") if one]
    partitions = tuple(dict.fromkeys(named_ones)) or first.spec.partitions[:1] or ("",)
    sent: list[Sent] = []
    try:
        for partition in partitions:
            found += _send(asked, partition, sent, run, say, environ)
        for one in sent:
            found += _wait(one, asked.wait_s, run, say)
    except BaseException:
        for one in sent:
            _cancel(one, run)
        raise
    return tuple(found)


def _request(asked: Asked, values: Mapping[str, object], environ: Mapping[str, str]) -> Request:
    usual: dict[str, object] = {
        "site": asked.site,
        "command": True,
        "launcher": "none",
        "account": asked.account,
        "gpus_per_node": asked.gpus,
        "time": LIMIT_MIN,
        "name": "site-check",
        "max_attempts": 1,
        "retries": 0,
        "preflight": True,
    }
    made = request.gather("true", (), {**usual, **values}, environ=environ, origin=settings.COMMAND_LINE)
    if asked.gpus is not None:
        # What an all-reduce of all GPUs should reach is no measure for some of them.
        made = replace(made, site=replace(made.site, fabric=replace(made.site.fabric, bandwidth_gb_s=None)))
    return made


def _send(
    asked: Asked, partition: str, sent: list[Sent], run: Run, say: Say, environ: Mapping[str, str]
) -> Iterator[Check]:
    """What can be told of a partition before its job runs; the job is added to sent."""
    values: dict[str, object] = {"partition": partition or None, "nodes": asked.nodes or 2}
    yield from _scripts(asked, values, partition, run, environ)
    folder = None
    try:
        plan = submission.plan(_request(asked, values, environ), run, say, environ)
        partition = _partition(plan)
        most = max((kind.usable for kind in plan.facts.node_types(partition)), default=0)
        if asked.nodes is None and most < 2:
            values["nodes"] = 1
        folder = _folder(plan.request)
        values |= {
            "template": str(folder / TEMPLATE),
            "runs_dir": str(folder),
            "set": [f"{VARIABLE}={folder}"],
        }
        plan = submission.plan(_request(asked, values, environ), run, say, environ)
        yield from (Check("request", WARNING, str(problem), partition) for problem in plan.warnings)
        answer = submission.ask(plan, run, say, environ)
        said = "; ".join(answer.message.splitlines())
        if answer.ok:
            said = f"{plan.request.spec.nodes} nodes could start at {answer.start}"
        yield Check("sbatch --test-only", OK if answer.ok else BAD, said, partition)
        if answer.ok:
            entry = submission.submit(plan, run, say, environ)
            sent.append(Sent(partition, plan, named.by_record(entry, run), folder))
            size = f"{plan.request.spec.nodes} nodes of partition {partition}"
            say(f"job {entry.job_id} looks at {size}; its log is {entry.log()}")
            return
    except InvalidInput as error:
        yield from (Check("request", BAD, str(problem), partition) for problem in error.problems)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    yield Check("job", NOT_CHECKED, "none was submitted", partition)


def _partition(plan: Plan) -> str:
    return next(iter(plan.request.spec.partitions), "") or plan.facts.default_partition or ""


def _scripts(
    asked: Asked, values: Mapping[str, object], partition: str, run: Run, environ: Mapping[str, str]
) -> Iterator[Check]:
    """Whether a script comes of the file for every launcher, and bash can read it."""
    good = []
    for launcher in BY_NAME["launcher"].choices:
        made = _request(asked, {**values, "launcher": launcher}, environ)
        try:
            made.check()
            plan = submission.plan(made, run, lambda _: None, environ)
            text = run_files.script(made, plan.resources, run_files.example(made.spec), lambda _: None)
            run(["bash", "-n"], stdin=text, timeout_s=60).check()
        except HpctoolsError as error:
            yield Check("script", BAD, f"--launcher {launcher}: {error}", partition)
        else:
            good.append(launcher)
    if good:
        yield Check("script", OK, f"renders for {', '.join(good)}", partition)


def _folder(made: Request) -> Path:
    """A new folder beside the site's runs, with what nodes look by. Raises InvalidInput."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = Path(made.spec.runs_dir, f"site-check-{stamp}-{secrets.token_hex(3)}")
    try:
        folder.mkdir(mode=0o700, parents=True)
        files.write(folder / PROBE.name, PROBE.read_bytes())
        files.write(folder / TEMPLATE, (render.PACKAGED / "internal" / TEMPLATE).read_bytes())
        files.write(folder / "look.json", json.dumps(wanted(made.site), indent=1))
    except OSError as error:
        raise InvalidInput([Problem("runs_dir", f"{made.spec.runs_dir}: {error.strerror}")]) from error
    return folder


def wanted(site: Site) -> dict[str, object]:
    """What nodes look for, as site_probe.py reads it: paths of the site's variables, binds and images."""
    paths = {name: text for name, text in site.variables.items() if text.startswith("/")}
    paths = {name: text for name, text in paths.items() if name != VARIABLE}
    inside = site.containers
    return {
        "folders": paths,
        "binds": [one.outside for one in inside.binds],
        "images": [one for one in inside.images.values() if not _pulled(one)],
        "runtime": inside.runtime,
        "options": inside.options,
        "ports": site.ports,
    }


def _pulled(image: str) -> bool:
    """Whether an image is of a registry: it is there when a job has asked for it."""
    return "://" in image


def _wait(sent: Sent, wait_s: float, run: Run, say: Say) -> Iterator[Check]:
    """Wait for a job, and tell what its nodes found."""
    deadline = time.monotonic() + wait_s

    def sleep(seconds: float) -> None:
        if time.monotonic() > deadline and not _started(sent):
            raise TimeoutError
        time.sleep(seconds)

    try:
        (seen,) = watch.wait([sent.job], run, say=say, sleep=sleep)
    except TimeoutError:
        reason = watch.peek(sent.job, run).jobs[0].reason
        _cancel(sent, run)
        said = f"job {sent.job.job_id} did not start within {wait_s:.0f} s ({reason}), and was cancelled"
        yield Check("job", NOT_CHECKED, said, sent.partition)
        return
    yield from judged(sent, watch.status_of(seen), seen.jobs[0].state)


def _started(sent: Sent) -> bool:
    """Whether the job has begun: it has written its id."""
    return Path(sent.job.records[0].run, "job_id").exists()


def _cancel(sent: Sent, run: Run) -> None:
    try:
        cancel.cancel(sent.job, run)
    except HpctoolsError:
        pass  # it has ended, or nobody answers


def judged(sent: Sent, status: int, state: str) -> Iterator[Check]:
    """What a job that has ended tells of its partition."""
    spec, site = sent.plan.request.spec, sent.plan.request.site
    log = sent.job.records[0].log()
    looked = _looked(sent.folder, spec.nodes)
    preflight = _preflight(Path(sent.job.records[0].run))
    hosts = ", ".join(str(one["host"]) for one in looked)
    label = f"job {sent.job.job_id} on {hosts or 'no node that answered'}"
    if status == 0:
        yield Check("job", OK, f"{label} ended well", sent.partition)
    else:
        yield Check(
            "job", BAD, f"{label}: {state}, status {status}: {_last_line(log)} ({log})", sent.partition
        )
    verdict = OK if len(looked) == spec.nodes else BAD if looked else NOT_CHECKED
    said = f"{sent.folder.parent}: {len(looked)} of {spec.nodes} nodes wrote into it"
    yield Check("runs_dir", verdict, said, sent.partition)
    yield from _setup(site, sent)
    if not looked:
        yield Check("nodes", NOT_CHECKED, "no node answered, see the job's log", sent.partition)
        return
    seen = [nodes.of_facts(one["facts"]) for one in looked]
    answers: list[Answer] = [*verdicts.of_nodes(looked), *verdicts.fabric(site.fabric, seen)]
    answers += verdicts.containers(site.containers, seen)
    # The preflight's program is `true`, which says nothing of the user's.
    answers += verdicts.of_nodes(preflight, left_out=("program",))
    # Of the folder that the job wrote to only the site's part is of interest.
    own, runs = f"{sent.folder}{os.sep}", str(sent.folder.parent)
    answers = [
        replace(one, found=re.sub(re.escape(own) + r"\S*attempt-0", runs, one.found)) for one in answers
    ]
    yield from verdicts.gathered(answers, sent.partition)
    for name, image in site.containers.images.items():
        if _pulled(image):
            said = f"{name}, {image}, is pulled when a job asks for it"
            yield Check("image", NOT_CHECKED, said, sent.partition)
    if not preflight:
        yield Check("preflight", NOT_CHECKED, "it did not run, see the job's log", sent.partition)


def _setup(site: Site, sent: Sent) -> Iterator[Check]:
    if not site.setup.strip():
        return
    failed, loaded = _text(sent.folder / "setup-failed"), _text(sent.folder / "setup-modules")
    if failed:
        yield Check("setup", BAD, f"failed: {'; '.join(failed.splitlines())}", sent.partition)
    elif not (sent.folder / "setup-modules").exists():
        yield Check(
            "setup", NOT_CHECKED, "it did not come to its end: perhaps it ends the job", sent.partition
        )
    else:
        yield Check(
            "setup", OK, f"every line succeeds{f'; modules: {loaded}' if loaded else ''}", sent.partition
        )


def _looked(folder: Path, count: int) -> list[dict[str, Any]]:
    """What the nodes wrote, each with its host."""
    end = time.monotonic() + LATE_S
    while len(paths := sorted(folder.glob("look-[0-9]*.json"))) < count and time.monotonic() < end:
        time.sleep(0.5)
    found = [json.loads(path.read_text()) for path in paths]
    return [{**one, "host": one["facts"]["node"]} for one in found]


def _preflight(run: Path) -> list[dict[str, Any]]:
    """What the preflight found on each node. What is bad on a node, and not for the preflight as a whole, is
    an all-reduce that others kept waiting.
    """
    attempts = run_folder.attempts(run)
    text = _text(attempts[-1] / "preflight.json") if attempts else ""
    whole = json.loads(text or "{}")
    if whole.get("status") == 0:
        for one in (one for node in whole["nodes"] for one in node["checks"]):
            one["verdict"] = "warning" if one["verdict"] == "bad" else one["verdict"]
    return list(whole.get("nodes", ()))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _last_line(log: Path) -> str:
    return (_text(log).splitlines() or ["its log is empty"])[-1]
