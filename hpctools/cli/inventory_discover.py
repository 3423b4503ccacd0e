"""`hpctools inventory discover` and `merge`: from the nodes themselves to an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import as_json, remark

if TYPE_CHECKING:
    from hpctools.inventory.merge import Merged

cluster_option = click.option(
    "--cluster", default="cluster", show_default=True, metavar="NAME", help="ClusterName of slurm.conf."
)


@click.command()
@click.option("--yaml", "yaml_wanted", is_flag=True, help="An inventory of this node alone.")
@cluster_option
def discover(yaml_wanted: bool, cluster: str) -> None:
    """Print what hardware this node has, as JSON.

    CPUs and memory as `slurmd -C` says them, else as /sys does; NVIDIA's GPUs by nvidia-smi: type,
    memory, MIG, NUMA, NVLink; network adapters, their rates and links; locked memory, huge pages.
    Nothing is changed, and no privilege is needed. What could not be found out stands under
    problems, and on stderr. The reports of all nodes make an inventory: hpctools inventory merge.

    \b
    Example:
      for n in $(sinfo -hNo %N | sort -u); do
        ssh $n hpctools inventory discover > found/$n; done
      clush -a --outdir=found hpctools inventory discover
      ansible all -b -m shell -a 'hpctools inventory discover > /run/found.json' &&
        ansible all -b -m fetch -a 'src=/run/found.json dest=found/{{inventory_hostname}} flat=yes'
    """
    from hpctools import process
    from hpctools.inventory import discover, merge

    report = discover.discover(process.run)
    if yaml_wanted:
        merged = merge.merge(cluster, [report])
        _say(merged)
        click.echo(_yaml(merged), nl=False)
        return
    for problem in report.problems:
        remark(problem)
    as_json(report.to_dict())


@click.command("merge")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the inventory there.")
@cluster_option
@click.option("--strict", is_flag=True, help="End with 1 if a host is not as it should be.")
@click.option("--json", "json_wanted", is_flag=True, help="Print types, hosts and outliers as JSON.")
def merge_(folder: Path, out: Path | None, cluster: str, strict: bool, json_wanted: bool) -> int:
    """Join the reports of many nodes into an inventory.

    DIR holds what `hpctools inventory discover` printed on each node, a file a node. Equal nodes
    become a node type. A node that is not as its equals (seven GPUs, a DIMM short, another driver,
    a link that is down) is told on stderr and gets the type of its equals: Slurm drains it until it
    is mended. Files that are no reports, and a node that is there twice, are told all at once, and
    there is no inventory.

    \b
    Example:
      hpctools inventory merge found/ --cluster alpha --out inventory.yaml
    """
    from hpctools import files
    from hpctools.inventory import merge
    from hpctools.inventory.summary import one_line

    merged = merge.merge(cluster, merge.read(folder))
    text = _yaml(merged)
    _say(merged)
    if out:
        files.write(out, text)
        remark(f"{out}: {one_line(merged.inventory)}")
    if json_wanted:
        as_json(_as_dict(merged))
    elif not out:
        click.echo(text, nl=False)
    return 1 if strict and (merged.outliers or merged.remarks) else 0


def _yaml(merged: Merged) -> str:
    """The inventory's text, read once more: what is printed here is an inventory."""
    from hpctools.inventory import read, write

    text = write.to_yaml(merged.inventory)
    read.inventory(text.encode(), "inventory.yaml")
    return text


def _say(merged: Merged) -> None:
    for line in merged.said():
        remark(line)


def _as_dict(merged: Merged) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "cluster": merged.inventory.cluster,
        "node_types": {name: asdict(type) for name, type in merged.inventory.types.items()},
        "hosts": {host: type.name for host, type in merged.inventory.hosts.items()},
        "outliers": [asdict(outlier) for outlier in merged.outliers],
        "remarks": [asdict(each) for each in merged.remarks],
    }
