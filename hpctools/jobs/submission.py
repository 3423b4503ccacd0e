"""A job's way to Slurm: never submitted twice, never lost.

The run folder is made whole and the record is written before sbatch runs. What sbatch answers is
one of four things: the job's id; a refusal; a request that never left (it is sent again, for a
while); or nothing that tells. Then slurmctld may have the job, or may even get it later, when it
reads what lies in its socket: it is asked for the job's run folder once it answers again.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

from hpctools.errors import (
    CommandTimeout,
    HpctoolsError,
    InvalidInput,
    NotFound,
    ParseError,
    Problem,
    SlurmUnavailable,
)
from hpctools.jobs import (
    check,
    contained,
    directives,
    env_lint,
    exported,
    facts,
    grace,
    image_lint,
    record,
    resources,
    run_files,
    secrets,
    spec,
)
from hpctools.jobs.facts import Facts
from hpctools.jobs.record import Record
from hpctools.jobs.request import Request
from hpctools.jobs.resources import Resources
from hpctools.process import Completed, Run
from hpctools.process import run as run_program
from hpctools.slurm import sbatch
from hpctools.slurm.sbatch import TestOnly

T = TypeVar("T")
Say = Callable[[str], None]

# sbatch itself tries again for up to two minutes when slurmctld is too busy to take jobs.
SBATCH_TIMEOUT_S = 300.0
QUERY_TIMEOUT_S = 60.0
# How often, and how long apart, slurmctld is asked for a job whose request got no answer: it reads
# the requests that lie in its socket at once, but works on them side by side.
LOOKS, LOOK_S = 5, 1.5
# The request did not reach a slurmctld that takes jobs (slurm_errno.c).
NEVER_ARRIVED = (
    "connect failure",
    "Connection refused",
    "Communication connection failure",
    "Unable to establish controller machine",
    "in standby mode",
    "Munge encode failed",
    "temporarily unable to accept job",
)
# It may have arrived.
UNCLEAR = (
    "timed out",
    "Zero Bytes",
    "send failure",
    "receive failure",
    "shutdown failure",
    # What the C library says of a connection that broke.
    *map(os.strerror, (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE, errno.ECONNABORTED, errno.EIO)),
)
# Waiting does not help: there is no cluster to ask.
NO_CLUSTER = ("configuration source", "Unable to process configuration file", "cannot stat file")
ADVICE = "`hpctools sandbox up` starts a Slurm on this machine; `--local` runs the job here without one"
AWAY = (SlurmUnavailable, CommandTimeout, NotFound)
_PREFIX = re.compile(r"^sbatch: (?:error: |fatal: )*(?:Batch job submission failed: )?", re.MULTILINE)


@dataclass(frozen=True)
class Plan:
    """A job that could be submitted: what it takes, and what is to be said about it."""

    request: Request
    facts: Facts
    resources: Resources
    warnings: tuple[Problem, ...]
    remarks: tuple[str, ...]

    @property
    def patience_s(self) -> int:
        """For how long a Slurm that does not answer is asked again."""
        return self.request.settings.number("retry-for") or 0


def plan(
    request: Request,
    run: Run = run_program,
    say: Say = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> Plan:
    """Ask the cluster what it has, and complete and check the job by that.

    Raises InvalidInput with everything that is wrong, NotFound when there is no Slurm to ask.
    """
    patience_s = request.settings.number("retry-for") or 0
    inherited, environ = environ, record.query_environment(environ)
    try:
        _reachable(environ)
        known = _patiently(lambda: facts.read(run, environ, _warm_up), patience_s, say)
    except AWAY as error:
        request.check()  # the user's own mistakes first
        _no_slurm(error)
    job = request.spec
    saving = grace.checkpoint(job)
    taken = resources.resolve(job, request.site, known, saving.seconds if saving else None)
    example = run_files.example(job)
    wrong = request.problems + directives.problems(job, directives.of(job, taken, request.site, example))
    wrong += contained.problems(job, request.site.containers, example)
    warnings = (*check.problems(job, taken, known), *grace.problems(job, saving, known, run))
    if wrong:
        raise InvalidInput(wrong + warnings)
    remarks = spec.doubts(job) + taken.remarks + check.remarks(job, taken, known)
    remarks += _said_of_environment(request, inherited) + image_lint.remarks(
        job, request.site, taken.gpus, say
    )
    return Plan(request, known, taken, warnings, remarks)


def _warm_up() -> None:
    """Load what renders the script while Slurm is thinking."""
    from hpctools.jobs import render

    render.environment([])


def ask(
    plan: Plan, run: Run = run_program, say: Say = lambda _: None, environ: Mapping[str, str] = os.environ
) -> TestOnly:
    """What sbatch --test-only says of a job; nothing is submitted and no file is made."""
    folder = run_files.example(plan.request.spec)
    script = run_files.script(plan.request, plan.resources, folder, say)
    environ = _sbatch_environment(plan, folder, environ)

    def once() -> Completed:
        # The script comes by stdin, under the name that sbatch gives to such.
        words = sbatch.command("-", test_only=True)[:-1]
        done = run(words, stdin=script, env=environ, timeout_s=SBATCH_TIMEOUT_S)
        if done.unavailable:
            done.check()
        return done

    try:
        done = _patiently(once, plan.patience_s, say)
    except AWAY as error:
        _no_slurm(error)
    answer = sbatch.parse_test_only(done.stderr)
    return answer if done.status == 0 else replace(answer, ok=False)


def submit(
    plan: Plan, run: Run = run_program, say: Say = lambda _: None, environ: Mapping[str, str] = os.environ
) -> Record:
    """Submit a job and return its record, with its id.

    Raises InvalidInput when Slurm refuses it, NotFound when Slurm does not answer: then there is
    no job. HpctoolsError says that this cannot be told yet; the record is kept and can be resolved.
    """
    if plan.warnings:
        _let_slurm_decide(plan, run, say, environ)
    folder = run_files.make(plan.request, plan.resources, say)
    entry = run_files.new_record(plan.request, plan.resources, folder, environ)
    environ = _sbatch_environment(plan, folder, environ)
    try:
        _remember(entry)
        job_id = _send(plan, entry, run, say, environ)
    except (InvalidInput, NotFound):
        # There is no job, and there will be none: without its folder it could not even start.
        run_files.remove(entry)
        raise
    entry = replace(entry, state="submitted", job_id=job_id, submitted_s=int(time.time()))
    try:
        record.save(entry)
    except OSError as error:
        # The job is there: whoever submitted it must learn its id all the same.
        say(f"job {job_id} was submitted, but its record could not be written: {error}")
    return entry


def _sbatch_environment(plan: Plan, folder: str, environ: Mapping[str, str]) -> dict[str, str]:
    job, site = plan.request.spec, plan.request.site
    kept = directives.environment(environ, directives.of(job, plan.resources, site, folder))
    return exported.environment(kept, site.export, site.exported, dict(job.secrets))


def _said_of_environment(request: Request, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What is to be said of the variables that a job gets, and of those that it does not."""
    job, site = request.spec, request.site
    secret = dict(job.secrets)
    inherited = exported.environment(environ, site.export, site.exported, secret)
    if site.export == exported.NONE:
        inherited = {}
    said = [*env_lint.remarks(job, site, inherited), *secrets.remarks(job.settings, job.workdir)]
    said += [
        f"{name} looks like a secret and stands in the job's script; --secret {name} keeps it out"
        for name, value in job.exports
        if exported.looks_secret(name, value)
    ]
    left_out = exported.left_out(environ, {*inherited, *secret, *dict(job.exports)})
    if left_out:
        said.append(f"the job does not get {', '.join(left_out)} of your shell; --secret NAME brings one")
    return tuple(said)


def _remember(entry: Record) -> None:
    try:
        record.save(entry)
    except OSError as error:
        text = f"the record of the submission cannot be written: {error}. Nothing was submitted"
        raise NotFound(text) from error


def _let_slurm_decide(plan: Plan, run: Run, say: Say, environ: Mapping[str, str]) -> None:
    answer = ask(plan, run, say, environ)
    # With nodes down or drained --test-only refuses what sbatch takes and lets wait.
    sure = all(group.usable for group in plan.facts.groups)
    if not answer.ok and sure:
        raise refusal(plan, answer.message, run)
    for problem in plan.warnings:
        say(f"Slurm takes the job, but {problem}")


def refusal(plan: Plan, message: str, run: Run) -> InvalidInput:
    """The error that tells why Slurm refused a job, and all that we know about it."""
    from hpctools.jobs import refused

    known = plan.warnings or refused.explain(plan.request.spec, plan.facts, message, run)
    words = "; ".join(filter(None, map(str.strip, message.splitlines()))) or "it does not say why"
    return InvalidInput([Problem("Slurm refuses the job", words), *known])


def _send(plan: Plan, entry: Record, run: Run, say: Say, environ: Mapping[str, str]) -> str:
    script = os.path.join(entry.run, run_files.SCRIPT)

    def once() -> Completed:
        done = run(sbatch.command(script), env=environ, timeout_s=SBATCH_TIMEOUT_S)
        if done.status != 0 and never_arrived(done.stderr):
            raise SlurmUnavailable(done.argv, done.status, done.stderr)
        return done

    try:
        done = _patiently(once, plan.patience_s, say)
        if done.status == 0:
            for line in done.stderr.splitlines():
                say(line)  # what a site's plugins tell who submits
            return sbatch.parse(done.stdout).job_id
    except (CommandTimeout, ParseError) as error:
        return _look_for(plan, entry, str(error), run, say)
    except (SlurmUnavailable, NotFound) as error:
        _no_slurm(error)
    except KeyboardInterrupt:
        say("interrupted while sbatch ran: `hpctools jobs` tells whether the job exists")
        raise
    if done.status > 0 and not any(phrase in done.stderr for phrase in UNCLEAR):
        raise refusal(plan, _PREFIX.sub("", done.stderr).strip(), run)
    return _look_for(plan, entry, last_line(done.stderr) or f"sbatch died ({done.status})", run, say)


def never_arrived(stderr: str) -> bool:
    """Whether what sbatch said means that no slurmctld has the request: then it may be sent again."""
    return any(one in stderr for one in NEVER_ARRIVED + NO_CLUSTER) and not any(
        one in stderr for one in UNCLEAR
    )


def _look_for(plan: Plan, entry: Record, reason: str, run: Run, say: Say) -> str:
    """The id of a job whose request got no answer."""
    entry = replace(entry, state="unknown")
    record.save(entry)
    say(f"no answer to the submission ({reason}); asking Slurm whether the job is there")
    try:
        for look in range(LOOKS):
            job_id = _patiently(lambda: record.search(entry, run), max(plan.patience_s, 1), say)
            if job_id:
                return job_id
            if look < LOOKS - 1:
                time.sleep(LOOK_S)
    except AWAY as error:
        raise HpctoolsError(
            f"{error}\nIt cannot be told yet whether the job was submitted: do not submit it again. "
            f"`hpctools jobs` tells as soon as Slurm answers; its run folder is {entry.run}"
        ) from error
    raise NotFound(
        f"Slurm did not answer the submission ({reason}), and now that it answers it has no such job: "
        "nothing was submitted. Submit it again"
    )


def _reachable(environ: Mapping[str, str]) -> None:
    # Slurm's commands wait for a configuration file that is not there for a minute.
    conf = environ.get("SLURM_CONF")
    if conf and not os.path.isfile(conf):
        raise NotFound(f"SLURM_CONF names {conf}, which is no file")


def _patiently(ask: Callable[[], T], patience_s: float, say: Say) -> T:
    """The answer of ask, which is asked again for so many seconds while Slurm does not answer."""
    deadline, pause_s = time.monotonic() + patience_s, 1.0
    while True:
        try:
            return ask()
        except SlurmUnavailable as error:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or any(one in error.stderr for one in NO_CLUSTER):
                raise
            say(f"Slurm does not answer ({last_line(error.stderr)}); asking again for {left_s:.0f} s")
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, 8.0)


def _no_slurm(error: HpctoolsError) -> NoReturn:
    stderr = str(getattr(error, "stderr", ""))
    if isinstance(error, NotFound):
        text = f"no Slurm here: {error}"
    elif any(one in stderr for one in NO_CLUSTER):
        text = f"no Slurm here: its commands find no configuration ({last_line(stderr)})"
    else:
        text = f"Slurm does not answer: {last_line(stderr)}"
    raise NotFound(f"{text}. Nothing was submitted. {ADVICE}") from error


def last_line(stderr: str) -> str:
    """The last line of what a command of Slurm's said, without the command's name."""
    lines = stderr.strip().splitlines() or [""]
    return lines[-1].split("error: ")[-1].split("fatal: ")[-1].strip()
