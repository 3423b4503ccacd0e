"""`hpctools doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import as_json, coloured, paragraphs
from hpctools.jobs.said import Said

if TYPE_CHECKING:
    from hpctools.doctor.check import Check

KINDS = {"ok": "good", "warning": "waiting", "problem": "bad"}


@click.command()
@click.option("--python", metavar="FILE", help="The Python of your jobs.  [default: as for submit]")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def doctor(python: str | None, json_wanted: bool) -> int:
    """Check Slurm and this machine, and say what to mend.

    Looks at Slurm's commands and daemons, munge, accounting, nodes and GPUs, the limit of locked
    memory, container runtimes, Python and torch, the site file, and where run folders would be
    made. It changes nothing, and ends with 1 if something that jobs need is broken.

    JSON: an array of objects with name, verdict (ok, warning, problem), found and advice.

    \b
    Example:
      hpctools doctor
      hpctools doctor --json
    """
    from dataclasses import asdict
    from pathlib import Path

    from hpctools import doctor as examining
    from hpctools import process

    first = _cluster()
    interpreter, site = _settings(python)
    checks = [*first, *examining.examine(process.run, interpreter=interpreter, runs=Path("runs")), site]
    if json_wanted:
        as_json([asdict(check) for check in checks])
    else:
        _print(checks)
    return 1 if examining.verdict(checks) == examining.PROBLEM else 0


def _cluster() -> list[Check]:
    """Which cluster is meant; that none can be told is a finding, not an end."""
    from hpctools.cli.cluster import choose
    from hpctools.doctor.check import PROBLEM, Check
    from hpctools.errors import HpctoolsError

    try:
        choose()
    except HpctoolsError as error:
        return [Check("which cluster", PROBLEM, str(error))]
    return []


def _settings(python: str | None) -> tuple[str, Check]:
    """The Python of jobs, and what there is to say of the site file and the files of settings."""
    from hpctools.doctor.check import OK, PROBLEM, Check
    from hpctools.jobs import request

    # A program that is there on every machine: only the settings are of interest.
    values: dict[str, object] = {"command": True} | ({"python": python} if python else {})
    asked = request.gather("true", (), values)
    name = "site and settings"
    if asked.problems:
        problems = "; ".join(map(str, asked.problems))
        return asked.spec.python, Check(
            name, PROBLEM, problems, "no job can be submitted until this is mended"
        )
    where = asked.site.path or "no site file; /etc/hpctools/site.yaml, HPCTOOLS_SITE or --site names one"
    return asked.spec.python, Check(name, OK, str(where))


def _print(checks: Sequence[Check]) -> None:
    rows = [(check.verdict, Said(f"{check.verdict:<8} {check.name}", check.found)) for check in checks]
    indent = max(len(said.label) for _, said in rows)
    for (verdict, said), check in zip(rows, checks, strict=True):
        advice = [Said("", f"-> {check.advice}")] if check.advice else []
        first, *rest = paragraphs([said, *advice], indent=indent)
        click.echo(coloured(first[:8], KINDS[verdict]) + first[8:])
        for line in rest:
            click.echo(line)
