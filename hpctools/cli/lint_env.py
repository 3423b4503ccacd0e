"""`hpctools lint-env`."""

from __future__ import annotations

from collections.abc import Iterator
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
@click.option("--site", metavar="NAME|FILE", help="The cluster's settings, with its fabric.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def lint_env(files: tuple[str, ...], env: tuple[str, ...], site: str | None, json_wanted: bool) -> int:
    """Tell which variables of NCCL, torch and libfabric are stale or harmful.

    Looks at this shell and at what submit would add (site, hpctools.yaml, --env), or at what FILEs
    set: ~/.bashrc, a job script, a Dockerfile, a file for --env-file. A FILE is read, never run. Ends
    with 1 if a job on several nodes cannot run with one of them.

    JSON: an array of objects with variable, value, origin, severity (fatal, warning), rule, message,
    hint and source.

    \b
    Example:
      hpctools lint-env
      hpctools lint-env ~/.bashrc old-job.sh
    """
    from dataclasses import asdict

    from hpctools.jobs import env_lint, request

    values: dict[str, object] = {"command": True, "env": env, "site": site}
    asked = request.gather("true", (), values, origin="command line")
    asked.check()
    variables = _of_files(files) if files else _here(asked)
    found = env_lint.findings(variables, asked.site.fabric)
    if json_wanted:
        as_json([asdict(one) for one in found])
    else:
        _print(found, asked.site.fabric.title)
    return 1 if any(one.severity == "fatal" for one in found) else 0


def _here(asked: Request) -> Iterator[Found]:
    import os

    from hpctools.jobs import env_lint

    return env_lint.of_job(asked.spec, os.environ)


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
