"""`hpctools jobs`, `status`, `logs`, `wait` and `cancel`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import as_json, coloured, live, paragraphs, remark, table
from hpctools.jobs.said import visible

if TYPE_CHECKING:
    from hpctools.jobs.listing import Listed
    from hpctools.process import Run

KINDS = {"RUNNING": "good", "PENDING": "waiting", "COMPLETED": "plain", "CANCELLED": "plain"}
BUSY = ("COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "REQUEUED", "LOCAL", "UNKNOWN")

json_option = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")


def kind(state: str) -> str:
    """The colour of a state, by cli/output.py's names."""
    return KINDS.get(state, "waiting" if state in BUSY else "bad")


def require_user(user: str) -> None:
    """Raises InvalidInput for a user that this machine does not know: nor do Slurm's commands then."""
    import pwd

    from hpctools.errors import InvalidInput, Problem

    try:
        pwd.getpwnam(user)
    except KeyError:
        raise InvalidInput([Problem("--user", f"there is no user {user!r} here")]) from None


@contextmanager
def slurm() -> Iterator[Run]:
    """The door to Slurm, once it is decided which one is asked; when it does not answer, what to do."""
    from hpctools import process
    from hpctools.cli.cluster import choose
    from hpctools.errors import CommandTimeout, HpctoolsError, NotFound, SlurmUnavailable
    from hpctools.jobs import clusters
    from hpctools.jobs.pace import reason_of

    choose()
    if missing := clusters.missing():
        raise NotFound(f"SLURM_CONF names {missing}, which is no file")
    try:
        yield process.run
    except (SlurmUnavailable, CommandTimeout) as error:
        advice = "`hpctools doctor` looks for the cause; `hpctools sandbox up` starts a Slurm here."
        raise HpctoolsError(f"Slurm does not answer: {reason_of(error)}. {advice}") from error


@click.command()
@click.option("--all", "-a", "everyone", is_flag=True, help="Jobs of all users.")
@click.option("--user", "-u", metavar="NAME", help="Jobs of this user.")
@click.option(
    "--since",
    metavar="TIME",
    default="1-00:00:00",
    show_default="one day",
    help="How far back jobs that have ended are shown: 30 (minutes), 12:00:00, 7-0.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    default=20,
    show_default=True,
    help="How many of those that have ended the table shows; JSON has all.",
)
@json_option
def jobs(everyone: bool, user: str | None, since: str, limit: int, json_wanted: bool) -> int:
    """List your jobs.

    All that run or wait, and the latest of those that ended within a day. JSON: an array of objects
    with job_id, name, state, reason, nodes, gpus, submit_s, start_s, end_s, elapsed_s, status, run
    and more; times are seconds since 1970.

    \b
    Example:
      hpctools jobs
      hpctools jobs --all --since 2:00:00
    """
    from hpctools.jobs import listing

    if everyone and user is not None:
        raise click.UsageError("--all and --user exclude each other")
    if user is not None and not user.isdecimal():
        require_user(user)
    since_s = _seconds(since)
    with slurm() as run:
        found = listing.listing(run, user=user, everyone=everyone, since_s=since_s)
    for text in found.remarks:
        remark(text)
    if json_wanted:
        as_json([listing.as_dict(one) for one in found.jobs])
    elif not found.jobs:
        remark("no job runs, waits or has ended lately; hpctools submit --help tells how to start one")
    else:
        _table(found.jobs, everyone, limit)
    return 0


def _table(found: Sequence[Listed], everyone: bool, limit: int) -> None:
    headers = ["JOB", "NAME", "STATE", "TIME", "NODES", "GPUS", "WHERE, WHY OR WHEN"]
    if everyone:
        headers.insert(1, "USER")
    busy = [one for one in found if not one.job.ended]
    shown = busy + [one for one in found if one.job.ended][:limit]
    rows = [_row(one, everyone) for one in shown]
    table(rows, headers, kinds=[kind(one.job.state) for one in shown], shrink=(1 + everyone, -1, 0))
    if len(shown) < len(found):
        remark(f"{len(found) - len(shown)} more have ended; --limit {len(found)} shows them")


def _seconds(text: str) -> int:
    from hpctools.errors import ParseError
    from hpctools.slurm import units

    try:
        seconds = units.parse_duration_s(text)
    except ParseError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    # A century: "UNLIMITED" is an answer, too.
    return seconds if seconds is not None else 100 * 365 * 86400


def _row(one: Listed, everyone: bool) -> list[str]:
    from hpctools.jobs import words

    job = one.job
    row = [job.job_id or "-", job.name, words.short_state(job, one.status), words.short_time(job)]
    row += [str(job.nodes or "-"), str(job.gpus), words.short_place(job)]
    return [row[0], job.user, *row[1:]] if everyone else row


@click.command()
@click.argument("job", default="last", metavar="[JOB]")
@json_option
def status(job: str, json_wanted: bool) -> int:
    """Show one job: its state, why it waits, what it used.

    JOB is a job id (12, a task of an array 12_3), the name or the path of a run folder, or last,
    which is the default. It need not have been submitted by hpctools.

    JSON: one object with state, reason, expected_start_s, node_list, elapsed_s, time_left_s,
    status, first_failure, gpu_hours, runs, log and more; of an array, tasks holds one for each.

    \b
    Example:
      hpctools status
      hpctools status 12 --json
    """
    from hpctools.jobs import named, report, watch, words

    with slurm() as run:
        whole = report.report(watch.look(named.named(job, run), run), run)
    for text in whole.remarks:
        remark(text)
    if json_wanted:
        as_json(report.as_dict(whole))
        return 0
    first, *rest = paragraphs([words.headline(whole), *words.describe(whole)])
    click.echo(coloured(first, kind(whole.state)))
    for line in rest:
        click.echo(line)
    return 0


@click.command()
@click.argument("job", default="last", metavar="[JOB]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended; waits for it to start.")
@click.option("--rank", type=click.IntRange(min=0), metavar="R", help="The output of this rank alone.")
@click.option("--tail", "-n", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
def logs(job: str, follow: bool, rank: int | None, tail: int | None) -> int:
    """Print or follow a job's log.

    The log is what the job's script and all ranks printed; --rank gives what one rank printed, of
    the job's last attempt. Bytes come as they were written. JOB is as in `hpctools status`.

    \b
    Example:
      hpctools logs 12 --tail 100
      hpctools logs -f last --rank 0
    """
    from hpctools.jobs import logs as reading
    from hpctools.jobs import named, sources
    from hpctools.jobs.follow import Teller, follow_log

    out = sys.stdout.buffer
    with slurm() as run:
        wanted = named.named(job, run)
        source = sources.source(wanted, run, rank)
        if follow and wanted.job_id is not None:
            follow_log(wanted, source.tail(tail, remark), out, run, teller=Teller(remark, live))
            return 0
        path = source.path()
        if path is None or not reading.copy_whole(path, out, tail):
            remark(source.absent(run))
            return 1
    return 0


@click.command()
@click.argument("job", nargs=-1, required=True, metavar="JOB...")
@json_option
def wait(job: tuple[str, ...], json_wanted: bool) -> int:
    """Wait for a job and end with its status.

    That is 0; or the status of the first rank that failed (128 and the number of the signal that
    ended it); else what Slurm tells of the job's script. 143: the job was cancelled or preempted.
    124: its time was over. 137: its memory was. Of several jobs, the first in order that is not 0.

    \b
    Example:
      hpctools wait 12 && hpctools submit evaluate.py
    """
    from hpctools.jobs import named, report, watch, words

    with slurm() as run:
        seen = watch.wait(named.all_named(job, run), run, say=remark)
        wholes = [report.settled(one, run) for one in seen]
    if json_wanted:
        as_json([report.as_dict(whole) for whole in wholes])
    else:
        for whole in wholes:
            for text in words.end(whole):
                click.echo(visible(text))
    return next((whole.status for whole in wholes if whole.status), 0)


@click.command()
@click.argument("job", nargs=-1, required=True, metavar="JOB...")
@json_option
def cancel(job: tuple[str, ...], json_wanted: bool) -> int:
    """Cancel jobs.

    JOB is as in `hpctools status`; the id of an array means all its tasks. Ends with 1 if one of
    them had ended already or could not be cancelled. JSON: an array of objects with job_id, name,
    was (its state before), done and message.

    \b
    Example:
      hpctools cancel 12 15_3
      hpctools cancel last
    """
    from dataclasses import asdict

    from hpctools.jobs import cancel as cancelling
    from hpctools.jobs import named

    with slurm() as run:
        done = cancelling.cancel_all(named.all_named(job, run), run)
    if json_wanted:
        as_json([asdict(each) for each in done])
    else:
        for each in done:
            if each.done:
                click.echo(visible(each.message))
            else:
                remark(each.message)
    return 0 if all(each.done for each in done) else 1
