"""`hpctools site`: what is true of a cluster for every job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpctools.cli import LazyGroup
from hpctools.cli.output import as_json, coloured, paragraphs, remark, table
from hpctools.jobs.said import Said, visible

if TYPE_CHECKING:
    from hpctools.site import Check

HERE = "hpctools.cli.site"
# As in hpctools.cli: a command's module is imported when it is used.
COMMANDS = {
    "init": (HERE, "init", "Write a site's file from the cluster and one of its nodes."),
    "check": (HERE, "check", "Prove a site's file by a job that looks at its nodes."),
    "list": (HERE, "list_", "List the sites that come with hpctools."),
    "show": (HERE, "show", "Print a site's file."),
}
KINDS = {"ok": "good", "warning": "waiting", "bad": "bad", "not checked": "plain"}

account_option = click.option("-A", "--account", metavar="NAME", help="Account that is charged.")


@click.group(cls=LazyGroup, table=COMMANDS)
def site() -> None:
    """What is true of a cluster for every job: its site file.

    Network and adapters, how GPUs are asked for, modules, images, folders, defaults. Jobs take the one of
    --site, else of HPCTOOLS_SITE, else /etc/hpctools/site.yaml.

    \b
    Example:
      hpctools site init -o site.yaml
      hpctools site check ./site.yaml
    """


@click.command()
@click.option("-o", "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write it there.")
@click.option("-p", "--partition", metavar="NAME", help="Where jobs train.  [default: where the GPUs are]")
@account_option
@click.option("--no-probe", is_flag=True, help="Run no job: what only a node can tell is left open.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def init(out: Path | None, partition: str | None, account: str | None, no_probe: bool, force: bool) -> None:
    """Write a site's file from the cluster and one of its nodes.

    slurmctld tells partitions, memory, preemption; one node of the partition, by a job of seconds, tells
    adapters, interfaces, container runtimes, modules, shared folders. Each value has a comment that says
    where it comes from; what could not be found out stands as a comment with what to do. Printed, unless
    -o names a file; one that is there stays as it is without --force.

    \b
    Example:
      hpctools site init -o site.yaml
      hpctools site init --no-probe
    """
    from hpctools import site as sites
    from hpctools.cli.cluster import choose
    from hpctools.site import starting

    if out and not force:
        starting.absent(out)  # before anybody waits for a node
    choose()
    text = sites.init(partition, account, probe=not no_probe, say=remark)
    if out is None:
        click.echo(text, nl=False)
        return
    starting.write(out, text, force=force)
    remark(f"{out} is written; read it, then: hpctools site check {out.absolute()}")


@click.command()
@click.argument("name", metavar="[SITE]", required=False)
@click.option(
    "-N", "--nodes", metavar="N", type=click.IntRange(min=1), help="Nodes of each job.  [default: 2]"
)
@click.option(
    "-p", "--partition", "partitions", metavar="NAME", multiple=True, help="Where to look. Repeatable."
)
@click.option("--gpus-per-node", metavar="[TYPE:]N", help="Fewer GPUs than a node has.  [default: all]")
@account_option
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=600,
    show_default=True,
    help="For how long a job may wait for its nodes.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def check(
    name: str | None,
    nodes: int | None,
    partitions: tuple[str, ...],
    gpus_per_node: str | None,
    account: str | None,
    wait: float,
    json_wanted: bool,
) -> int:
    """Prove a site's file by a job that looks at its nodes.

    SITE is a file or a name of `hpctools site list`; without it the one that jobs take. All mistakes in
    the file come first (status 2). Then scripts are rendered for every launcher, Slurm is asked
    (sbatch --test-only), and a job of a minute on two nodes of the partition looks: is the folder of
    runs the same everywhere, does the setup succeed, are Python, images, binds and folders there, is
    the fabric the one of the file, are ports free; then the preflight of docs/fabric.md. Ends with 1
    if anything is bad, or no job could run. Ctrl-C cancels the jobs.

    JSON: an array of objects with name, verdict (ok, warning, bad, not checked), found and partition.

    \b
    Example:
      hpctools site check ./site.yaml
      hpctools site check --partition gpu --partition debug --nodes 4
    """
    from dataclasses import asdict

    from hpctools import site as sites
    from hpctools.cli.cluster import choose

    choose()
    given = {"partitions": partitions, "nodes": nodes, "gpus_per_node": gpus_per_node, "account": account}
    found = sites.check(name, **given, wait_s=wait, say=remark)  # type: ignore[arg-type]
    if json_wanted:
        as_json([asdict(one) for one in found])
    else:
        _print(found)
    return 1 if any(one.fails for one in found) else 0


def _print(found: tuple[Check, ...]) -> None:
    """A line a check; where there are several partitions each has its own lines, under its name."""
    partitions = list(dict.fromkeys(one.partition for one in found))
    width = max(map(len, KINDS))
    indent = width + 1 + max(len(one.name) for one in found)
    for partition in partitions:
        if len(partitions) > 2:
            click.echo(f"{visible(partition)}:" if partition else "the file:")
        for one in (each for each in found if each.partition == partition):
            first, *rest = paragraphs([Said(f"{one.verdict:<{width}} {one.name}", one.found)], indent=indent)
            click.echo(coloured(first[:width], KINDS[one.verdict]) + first[width:])
            for line in rest:
                click.echo(line)


@click.command("list")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def list_(json_wanted: bool) -> None:
    """List the sites that come with hpctools.

    `submit --site NAME` takes one; to have one of your own, copy what `site show` prints.

    JSON: an array of objects with name, description and path.

    \b
    Example:
      hpctools site list
    """
    from hpctools.jobs import site as files

    rows = [(path.stem, files.load(path, []).description, str(path)) for path in files.packaged()]
    if json_wanted:
        as_json([{"name": name, "description": text, "path": path} for name, text, path in rows])
    else:
        table([row[:2] for row in rows], ("SITE", "WHAT"))


@click.command()
@click.argument("name", metavar="[SITE]", required=False)
def show(name: str | None) -> None:
    """Print a site's file.

    SITE is a name of `hpctools site list` or a file; without it the one that jobs take here.

    \b
    Example:
      hpctools site show h100-infiniband > site.yaml
    """
    from hpctools.errors import NotFound
    from hpctools.jobs import request

    asked = request.gather("true", (), {"command": True, "site": name}, origin="command line")
    if asked.site.path is None:
        asked.check()
        raise NotFound("there is no site file here; hpctools site list names those that come with hpctools")
    click.echo(asked.site.path.read_text(), nl=False)
