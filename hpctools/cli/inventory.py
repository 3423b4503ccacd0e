"""`hpctools inventory`: what hardware a cluster has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpctools.cli import LazyGroup
from hpctools.cli.output import as_json, remark
from hpctools.errors import InvalidInput, Problem
from hpctools.jobs.said import visible

if TYPE_CHECKING:
    from hpctools.inventory.imports import Source
    from hpctools.inventory.model import Inventory

HERE = "hpctools.cli.inventory"
NEAR = "hpctools.cli.inventory_discover"
# As in hpctools.cli: a command's module is imported when it is used.
COMMANDS = {
    "discover": (NEAR, "discover", "Print what hardware this node has, as JSON."),
    "merge": (NEAR, "merge_", "Join the reports of many nodes into an inventory."),
    "import": (HERE, "import_", "Make an inventory from what a site has already."),
    "check": (HERE, "check", "Check an inventory, and tell every mistake in it."),
    "show": (HERE, "show", "Show what an inventory comes to, as a tree."),
}

file_argument = click.argument("file", metavar="[FILE]", default="inventory.yaml")


@click.group(cls=LazyGroup, table=COMMANDS)
def inventory() -> None:
    """The hardware of a cluster: found, checked, shown.

    inventory.yaml holds the facts of a cluster: types of nodes, the hosts that are of them, how they
    are wired. FILE is inventory.yaml in this folder, if none is named.

    \b
    Example:
      hpctools inventory merge found/ --cluster alpha --out inventory.yaml
      hpctools inventory show
    """


@click.command()
@file_argument
def check(file: str) -> None:
    """Check an inventory, and tell every mistake in it.

    Each stands with its line, and what would be right. Ends with 2 if there is one.

    \b
    Example:
      hpctools inventory check inventory.yaml
    """
    from hpctools.inventory.summary import one_line

    click.echo(f"{visible(file)}: {one_line(_read(file))}")


@click.command()
@file_argument
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def show(file: str, json_wanted: bool) -> None:
    """Show what an inventory comes to, as a tree.

    Types with their hosts and hardware, GPUs by type, switches, blocks (NVLink domains), racks.

    JSON: an object with cluster, totals, node_types (each with its hosts), switches, leaves, blocks
    and racks.

    \b
    Example:
      hpctools inventory show inventory.yaml
      hpctools inventory show --json | jq .totals.gpu_types
    """
    from hpctools.inventory.summary import as_dict, tree

    found = _read(file)
    if json_wanted:
        as_json(as_dict(found))
        return
    for line in tree(found):
        click.echo(visible(line))


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--format", "form", metavar="FORMAT", help="What the files are, where it is not told by itself."
)
@click.option(
    "--cluster", default="cluster", show_default=True, metavar="NAME", help="ClusterName of slurm.conf."
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the inventory there.")
def import_(paths: Sequence[str], form: str | None, cluster: str, out: Path | None) -> None:
    """Make an inventory from what a site has already.

    PATH is a file or a folder of files, - is stdin. Each is told by what it holds: csv (a table with
    a line of column names), scontrol (`scontrol show node`), slurmd (`slurmd -C` of many hosts),
    ansible (facts), ibnetdiscover (cables; beside any of the others), inventory (to give it
    switches). Equal hosts become a node type; a host that differs from its equals is told on
    stderr, and gets their type.

    \b
    Example:
      clush -a slurmd -C | hpctools inventory import - --cluster alpha --out inventory.yaml
      hpctools inventory import hosts.csv ibnetdiscover.txt --out inventory.yaml
    """
    from hpctools import files
    from hpctools.inventory.fold import told
    from hpctools.inventory.imports import FORMATS, imported
    from hpctools.inventory.summary import one_line
    from hpctools.inventory.write import to_yaml

    if form is not None and form not in FORMATS:
        raise InvalidInput([Problem("--format", f"{form} is none of {', '.join(FORMATS)}")])
    found = imported(cluster, _sources(paths), form)
    for line in (*told(found.outliers), *found.remarks):
        remark(line)
    text = to_yaml(found.inventory)
    if out:
        files.write(out, text)
        remark(f"{out}: {one_line(found.inventory)}")
    else:
        click.echo(text, nl=False)


def _read(file: str) -> Inventory:
    from hpctools.inventory import read

    return read.inventory(_data(file), file)


def _sources(paths: Sequence[str]) -> Iterator[Source]:
    from hpctools.inventory.imports import Source

    for path in paths:
        if path != "-" and Path(path).is_dir():
            within = sorted(one for one in Path(path).iterdir() if one.is_file() and one.name[0] != ".")
            if not within:
                raise InvalidInput([Problem(path, "holds no files")])
            yield from (Source(str(one), _data(str(one))) for one in within)
        else:
            yield Source("stdin" if path == "-" else path, _data(path))


def _data(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InvalidInput([Problem(path, "there is no such file")]) from error
    except IsADirectoryError as error:
        raise InvalidInput([Problem(path, "is a folder, and a file is wanted")]) from error
