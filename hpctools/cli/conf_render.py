"""`hpctools conf render`: a cluster's configuration from its inventory and policy."""

from __future__ import annotations

from pathlib import Path

import click

from hpctools.cli.output import as_json, remark


@click.command()
@click.option("--inventory", "inventory_path", metavar="FILE", required=True, help="The hardware, in YAML.")
@click.option("--policy", "policy_path", metavar="FILE", required=True, help="The choices, in YAML.")
@click.option(
    "--slurm", metavar="R", help="The release that shall read them, such as 24.11.  [default: the one here]"
)
@click.option("--out", metavar="DIR", help="Write the files into this folder.  [default: print them]")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def render(
    inventory_path: str, policy_path: str, slurm: str | None, out: str | None, json_wanted: bool
) -> None:
    """Make every file of a configuration from inventory and policy.

    slurm.conf with nodes.conf and partitions.conf, which it includes, gres.conf, cgroup.conf, the
    topology, slurmdbd.conf without its password, accounts and QOS for sacctmgr, and prolog, epilog and
    health check. The same input gives the same bytes. A file in DIR that hpctools did not make is not
    written over; one that it made, and makes no more, is removed.

    JSON: an object with release, files (name, mode and text of each), and written, their paths.

    \b
    Example:
      hpctools conf render --inventory inventory.yaml --policy policy.yaml --slurm 24.11 --out new
      hpctools conf lint new --slurm 24.11
      hpctools conf verify new --slurm 24.11
    """
    from hpctools.cli.conf import chosen
    from hpctools.conf import rendering
    from hpctools.conf.inputs import inputs

    release = chosen(slurm)
    texts = rendering.render(*inputs(inventory_path, policy_path), release)
    written = rendering.write(texts, Path(out)) if out else []
    if json_wanted:
        listed = [
            {"name": name, "mode": f"{rendering.mode(name):04o}", "text": texts[name]} for name in texts
        ]
        as_json({"release": release, "files": listed, "written": written})
    elif out:
        for path in written:
            click.echo(path)
        remark(f"for Slurm {release}; look at them with: hpctools conf lint {out} --slurm {release}")
    else:
        for number, (name, text) in enumerate(texts.items()):
            click.echo(f"{chr(10) * bool(number)}==> {name} <==\n{text}", nl=False)
