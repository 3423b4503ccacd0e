"""`hpctools image`: images of containers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpctools.cli.output import as_json, coloured, paragraphs, remark, table
from hpctools.jobs.said import Said

if TYPE_CHECKING:
    from hpctools.images.needs import Lack
    from hpctools.jobs.site import Site

KINDS = {"fatal": "bad", "warning": "waiting", "note": "plain"}

site_option = click.option("--site", metavar="NAME|FILE", help="The cluster's settings, with its containers.")
json_option = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
force_option = click.option("--force", is_flag=True, help="Even if it is there; an older one stays.")


@click.group()
def image() -> None:
    """Images of containers: fetched, built, listed, checked.

    A site's names stand in its file (containers: images:), its cache too (containers: cache:);
    without one the cache is your own, in ~/.cache/hpctools/images.

    \b
    Example:
      hpctools image pull docker://registry.example.org/nvidia/pytorch:25.10-py3 --name pytorch
      hpctools submit train.py --nodes 4 --image pytorch
    """


@image.command()
@click.argument("reference", metavar="REF")
@click.option("--name", default="", metavar="NAME", help="What --image may call it.")
@force_option
@site_option
def pull(reference: str, name: str, force: bool, site: str | None) -> None:
    """Fetch an image of a registry into the cache, and print its path.

    REF is docker://HOST/NAME:TAG, oras://HOST/NAME:TAG or a name of the site. What is there already
    is not fetched again: a tag that has moved is with --force, and the older image stays for jobs
    that run in it. Logins are Apptainer's: apptainer registry login.

    \b
    Example:
      hpctools image pull docker://registry.example.org/nvidia/pytorch:25.10-py3 --name pytorch
    """
    from hpctools import images

    said = _site(site).containers
    runtime, source = said.runtime, said.images.get(reference, reference)
    cache = Path(said.cache) if said.cache else None
    found = images.pull(source, cache, name=name, force=force, runtime=runtime, say=remark)
    click.echo(found.path)


@image.command()
@click.argument("definition", metavar="DEF", type=click.Path())
@click.argument("output", metavar="[OUTPUT]", required=False, type=click.Path())
@click.option("--name", default="", metavar="NAME", help="Into the cache, as what --image may call it.")
@force_option
@site_option
def build(definition: str, output: str | None, name: str, force: bool, site: str | None) -> None:
    """Build an image from a definition file, and print its path.

    It goes to the file OUTPUT, or as NAME into the cache. No rights are needed: Apptainer takes a
    user namespace. Definitions that give files to other users want a range of user ids in
    /etc/subuid, which an administrator gives.

    \b
    Example:
      hpctools image build train.def --name train
    """
    from hpctools import images

    said = _site(site).containers
    target, cache = Path(output) if output else None, Path(said.cache) if said.cache else None
    options: dict[str, Any] = {"name": name, "force": force, "runtime": said.runtime, "say": remark}
    click.echo(images.build(Path(definition), target, cache, **options))


@image.command(name="list")
@site_option
@json_option
def list_(site: str | None, json_wanted: bool) -> None:
    """List the images that --image may name: the site's, and those of the cache.

    JSON: an array of objects with name, reference, path, sha256, size (bytes), made (UTC), user,
    origin (site, cache) and problem (why it cannot be used, else empty).

    \b
    Example:
      hpctools image list
    """
    from dataclasses import asdict

    from hpctools import images

    said = _site(site).containers
    found = images.listing(said.images, Path(said.cache) if said.cache else None)
    if json_wanted:
        as_json([asdict(one) for one in found])
        return
    if not found:
        click.echo("no images: the site names none, and the cache is empty (hpctools image pull --help)")
        return
    rows = [
        (
            one.name or "-",
            one.reference,
            "-" if one.size is None else _size(one.size),
            (one.sha256 or "-")[:12],
            (one.made or "-")[:10],
            one.user or "-",
            one.problem or "ok",
        )
        for one in found
    ]
    kinds = ["bad" if one.problem else "plain" for one in found]
    table(rows, ("NAME", "REFERENCE", "SIZE", "SHA256", "MADE", "BY", "STATE"), kinds=kinds, shrink=(1, 6))


@image.command()
@click.argument("reference", metavar="REF")
@click.option("--gpus/--no-gpus", default=True, help="Whether jobs in it use GPUs.  [default: they do]")
@site_option
@json_option
def check(reference: str, gpus: bool, site: str | None, json_wanted: bool) -> int:
    """Tell what an image lacks for jobs on the site's fabric.

    A little Python is run in it, with the site's binds as far as this host has them. What NCCL
    needs and does not find it passes over, and falls to sockets. Ends with 1 if no job can run in it.

    JSON: an array of objects with what, severity (fatal, warning, note), message and hint.

    \b
    Example:
      hpctools image check pytorch --site ./site.yaml
    """
    from dataclasses import asdict

    from hpctools import images

    chosen = _site(site)
    said = chosen.containers
    cache = Path(said.cache) if said.cache else None
    found = images.resolve(
        reference, said.images, cache, where="REF", pull=False, runtime=said.runtime, say=remark
    )
    binds = [f"{one.outside}:{one.inside}{':ro' * one.read_only}" for one in said.binds]
    lacks = images.check(found, chosen.fabric.kind, binds=binds, gpus=gpus, runtime=said.runtime)
    if json_wanted:
        as_json([asdict(one) for one in lacks])
    else:
        _print(lacks, chosen.fabric.title)
    return 1 if any(one.severity == "fatal" for one in lacks) else 0


def _print(lacks: Sequence[Lack], title: str) -> None:
    for one in lacks:
        said = [Said(one.severity, one.what, sentence=False), Said("", f"{one.message}.")]
        if one.hint:
            said.append(Said("", f"-> {one.hint}", sentence=False))
        first, *rest = paragraphs(said, indent=max(map(len, KINDS)))
        cut = len(one.severity)
        click.echo(coloured(first[:cut], KINDS[one.severity]) + first[cut:])
        for line in rest:
            click.echo(line)
    if not lacks:
        on = f" on {title}" if title else "; the site names no fabric"
        click.echo(f"nothing is missing in it for jobs{on}")


def _size(count: int) -> str:
    """Bytes as people read them: 8.2G."""
    value, units = float(count), "BKMGT"
    while value >= 1000 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.{0 if units[0] == 'B' or value >= 100 else 1}f}{units[0]}"


def _site(name: str | None) -> Site:
    """The site that submit would take. Raises InvalidInput."""
    from hpctools.jobs import request

    values: dict[str, object] = {"command": True, "site": name}
    asked = request.gather("true", (), values, origin="command line")
    asked.check()
    return asked.site
