"""`hpctools conf verify`: a configuration booted before it goes live."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import as_json, coloured, remark, table
from hpctools.cli.sandbox import Interrupted, interrupted_by_signals, progress
from hpctools.jobs.said import visible

if TYPE_CHECKING:
    from hpctools.conf.verify.value import Replacement, Verification

_KINDS = {"fatal": "bad", "error": "bad", "warning": "waiting"}
_STATES = {"ran": "good", "failed": "bad", "not run": "plain"}


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--slurm", "release", metavar="R", help="The release that boots it.  [default: the one here]")
@click.option("--controller-only", is_flag=True, help="Boot slurmctld alone: no nodes, no jobs.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def verify(folder: str, release: str | None, controller_only: bool, json_wanted: bool) -> int:
    """Boot a configuration before it goes live.

    Boots the slurm.conf of DIR and its siblings with real daemons, in a sandbox of its own that is
    thrown away: slurmctld, slurmdbd where it is used, one slurmd for each kind of node, and a job in
    each partition. What cannot be as on the site (hosts, paths, users, devices, ...) is replaced;
    each replacement is printed, and so is what was therefore not verified. Nothing of a cluster that
    runs here is touched, and root is not needed.

    Ends with 1 if slurmctld does not come up, or a node, its GRES, a partition or a job fails.

    \b
    Example:
      hpctools conf verify /etc/slurm
      hpctools conf verify new --slurm 26.05 --json
    """
    from hpctools.conf.verify.run import verify as run

    try:
        with progress() as say, interrupted_by_signals():
            found = run(folder, release, controller_only=controller_only, say=say)
    except KeyboardInterrupt as interrupt:
        remark("interrupted; nothing is left behind")
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        return 128 + number
    if json_wanted:
        as_json(found.as_json())
    else:
        _show(found)
    return 0 if found.passed else 1


def _show(found: Verification) -> None:
    for problem in found.problems:
        click.echo(coloured(visible(str(problem)), _KINDS[problem.severity]))
    if found.problems:
        click.echo("")
    if found.nodes:
        rows = [
            [one.name, str(one.alike), one.state, one.gres or "-", one.gres_found or "-"]
            for one in found.nodes
        ]
        kinds = ["plain" if one.ok and one.gres_ok else "bad" for one in found.nodes]
        table(rows, ["NODE", "ALIKE", "STATE", "GRES", "FOUND"], kinds=kinds, shrink=[3, 4])
        click.echo("")
    if found.partitions:
        jobs = {one.partition: one for one in found.canaries}
        rows, kinds = [], []
        for partition in found.partitions:
            job = jobs.get(partition.name)
            said = f"{job.state}{f': {job.why}' if job.why else ''}" if job else "-"
            rows.append([partition.name, partition.state, str(partition.nodes), said])
            kinds.append("bad" if not partition.ok or (job and job.state == "failed") else "plain")
        table(rows, ["PARTITION", "STATE", "NODES", "JOB"], kinds=kinds)
        click.echo("")
    click.echo("Replaced:")
    for line in _replacements(found.replacements):
        click.echo(f"  {visible(line)}")
    click.echo("Not verified:")
    for sentence in found.not_verified:
        click.echo(f"  {visible(sentence)}")
    click.echo("")
    boots = "boots" if found.boots else "does not boot"
    seconds = f" in {found.timings['controller']:.1f} s" if found.boots else ""
    verdict = f"{found.path} {boots} on Slurm {found.release}{seconds}"
    if found.boots and not found.passed:
        verdict += ", but not all is well"
    click.echo(coloured(visible(verdict), "good" if found.passed else "bad"))


def _replacements(replacements: Sequence[Replacement]) -> Iterator[str]:
    """A line each; many of one key in one file together."""
    groups: dict[tuple[str, str], list[Replacement]] = {}
    for one in replacements:
        groups.setdefault((one.file, one.key), []).append(one)
    for group in groups.values():
        if len(group) <= 4:
            yield from map(str, group)
        else:
            first, last = group[0], group[-1].line
            yield f"{first.file}:{first.line}-{last}: {first.key}, {len(group)} times, first: {first.change}"
