"""`hpctools templates`: list, show, new."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hpctools.cli.output import as_json, remark, table

SITE = click.option("--site", metavar="NAME|FILE", help="The cluster's settings, with its own templates.")


@click.group()
def templates() -> None:
    """The templates of job scripts: listed, shown, begun.

    \b
    Example:
      hpctools templates list
      hpctools templates new torchrun mine.sbatch.j2
      hpctools submit train.py --template mine.sbatch.j2
    """


@templates.command(name="list")
@SITE
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def list_templates(site: str | None, json_wanted: bool) -> None:
    """List the templates that `submit --template` knows, and what each is for.

    Yours are in ~/.config/hpctools/templates, the site's in its folder `templates`; of one name the first
    of these counts, then the packaged one. JSON: an array of objects with name, launcher, origin (yours,
    site, packaged), about, path and needs_target.

    \b
    Example:
      hpctools templates list
    """
    from hpctools.jobs import templates as known

    found = known.listing(known.site_folders(site, os.getcwd(), os.environ))
    if json_wanted:
        rows = [
            {
                "name": one.name,
                "launcher": one.launcher,
                "origin": one.origin,
                "about": one.about,
                "path": str(one.path),
                "needs_target": one.needs_target,
            }
            for one in found
        ]
        as_json(rows)
        return
    said = [(one.name, one.launcher or "-", one.origin, one.about) for one in found]
    table(said, ("TEMPLATE", "LAUNCHER", "FROM", "FOR"), kinds=["plain"] * len(said))


@templates.command()
@click.argument("name")
@click.option("--rendered", is_flag=True, help="The script that it makes of a job on 2 nodes of 8 GPUs.")
@SITE
def show(name: str, rendered: bool, site: str | None) -> None:
    """Print a template, or the script that it makes of a small job.

    \b
    Example:
      hpctools templates show torchrun
      hpctools templates show mpirun --rendered
    """
    from hpctools.jobs import template_example
    from hpctools.jobs import templates as known

    found = known.find(name, known.site_folders(site, os.getcwd(), os.environ))
    text = template_example.script(found, site) if rendered else found.path.read_text()
    click.echo(text, nl=False)


@templates.command()
@click.argument("name")
@click.argument("file", required=False, metavar="[FILE]", type=click.Path())
@click.option("--copy", is_flag=True, help="All of the packaged template, which it then no longer follows.")
def new(name: str, file: str | None, copy: bool) -> None:
    """Begin a template of your own with a packaged one.

    FILE, by default NAME.sbatch.j2 here, then extends the packaged template and has all its blocks in
    comments, ready to be overridden. It is never overwritten. In ~/.config/hpctools/templates it counts for
    all your jobs, in a site's folder for those of the site.

    \b
    Example:
      hpctools templates new torchrun mine.sbatch.j2
      hpctools submit train.py --template mine.sbatch.j2
    """
    from hpctools.jobs import templates as known

    path = known.begin(name, Path(file or f"{name}.sbatch.j2"), copy=copy)
    remark(f"{path} is there; use it: hpctools submit train.py --template {path}")
