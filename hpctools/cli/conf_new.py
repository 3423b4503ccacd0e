"""`hpctools conf new`: a site begins."""

from __future__ import annotations

import click

from hpctools.cli.output import remark, table
from hpctools.errors import InvalidInput, Problem


@click.command()
@click.option("--policy", metavar="NAME", help="The ready policy to begin with; without it all are listed.")
@click.option("--out", metavar="DIR", help="The folder to write into.")
def new(policy: str | None, out: str | None) -> None:
    """Start a site: an inventory and a ready policy to change.

    Writes inventory.yaml (an example of the hardware) and policy.yaml (partitions, QOS, accounts,
    priorities, with comments). Files that are there already are never overwritten. Without --policy:
    lists the ready ones.

    \b
    Example:
      hpctools conf new
      hpctools conf new --policy training --out site
    """
    from hpctools.conf import starting as ready

    if policy is None:
        if out:
            raise InvalidInput([Problem("--out", "needs --policy", "hpctools conf new lists them")])
        table([[name, what] for name, what in ready.policies().items()], ["POLICY", "FOR"])
        return
    if out is None:
        raise InvalidInput([Problem("--policy", "needs --out", "the folder to write into")])
    for path in ready.new(policy, out):
        click.echo(path)
    remark(
        "put your hardware into inventory.yaml and your names into policy.yaml; then hpctools conf explain"
    )
