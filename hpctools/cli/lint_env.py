"""`hpctools lint-env`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import as_json, coloured, paragraphs
from hpctools.jobs.said import Said

if TYPE_CHECKING:
    from hpctools.jobs.env_lint import Finding, Found
    from hpctools.jobs.request import Request

KINDS = {"fatal": "bad", "warning": "waiting"}


@click.command(name="lint-env")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path())
@click.option("--env", "env", metavar="K=V", multiple=True, help="A variable as submit has it. Repeatable.")
@click.option("--image", metavar="REF", help="What this image sets, as submit has it.")
@click.option("--site", metavar="NAME|FILE", help="The cluster's settings, with its fabric.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def lint_env(
    files: tuple[str, ...], env: tuple[str, ...], image: str | None, site: str | None, json_wanted: bool
) -> int:
    """Tell which variables of NCCL, torch and libfabric are stale or harmful.

    Looks at this shell and at what submit would add (site, its templates, hpctools.yaml, --env), or at
    what FILEs set: ~/.bashrc, a job script, a Dockerfile, a file for --env-file. A FILE is read, never
    run. With --image at what an image sets, by its definition or as an ENV of its Dockerfile. Ends with
    1 if a job on several nodes cannot run with one of them.

    JSON: an array of objects with variable, value, origin, severity (fatal, warning), rule, message,
    hint and source.

    \b
    Example:
      hpctools lint-env
      hpctools lint-env ~/.bashrc old-job.sh
      hpctools lint-env --image pytorch
    """
    from dataclasses import asdict

    from hpctools.jobs import env_lint, request

    values: dict[str, object] = {"command": True, "env": env, "site": site}
    asked = request.gather("true", (), values, origin="command line")
    asked.check()
    variables = chain(_of_image(image, asked) if image else (), _of_files(files))
    found = env_lint.findings(variables if image or files else _here(asked), asked.site.fabric)
    if json_wanted:
        as_json([asdict(one) for one in found])
    else:
        _print(found, asked.site.fabric.title)
    return 1 if any(one.severity == "fatal" for one in found) else 0


def _here(asked: Request) -> Iterator[Found]:
    import os

    from hpctools.jobs import env_lint

    yield from env_lint.of_job(asked.spec, os.environ)
    yield from env_lint.of_scripts(asked.spec, asked.site)


def _of_image(image: str, asked: Request) -> Iterator[Found]:
    from pathlib import Path

    from hpctools import images
    from hpctools.jobs import env_lint

    said = asked.site.containers
    cache = Path(said.cache) if said.cache else None
    found = images.resolve(image, said.images, cache, pull=False, runtime=said.runtime)
    for name, value in images.environment(found, runtime=said.runtime).items():
        yield env_lint.Found(name, value, f"the image {image}")


def _of_files(files: tuple[str, ...]) -> Iterator[Found]:
    from pathlib import Path

    from hpctools.jobs import env_lint

    for name in files:
        yield from env_lint.of_text(Path(name).read_text(errors="replace"), name)


def _print(found: tuple[Finding, ...], title: str) -> None:
    for one in found:
        first, *rest = paragraphs(
            [
                Said(one.severity, f"{one.variable}={one.value}", sentence=False),
                Said("", f"{one.origin}: it {one.message}."),
                Said("", f"-> {one.hint}  [{one.rule}; {one.source}]", sentence=False),
            ],
            indent=max(map(len, KINDS)),
        )
        cut = len(one.severity)
        click.echo(coloured(first[:cut], KINDS[one.severity]) + first[cut:])
        for line in rest:
            click.echo(line)
    on = f" on {title}" if title else ", as far as it can be told without the fabric of a site"
    if not found:
        click.echo(f"no variable here is known to do harm{on}")
