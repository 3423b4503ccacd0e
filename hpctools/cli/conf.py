"""`hpctools conf`: an administrator's configuration files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hpctools.cli import LazyGroup
from hpctools.cli.output import as_json, coloured, remark
from hpctools.errors import CommandError, InvalidInput, NotFound, ParseError, Problem
from hpctools.jobs.said import visible

if TYPE_CHECKING:
    from hpctools.conf.finding import Finding
    from hpctools.conf.mending import Fixed

KINDS = {"fatal": "bad", "error": "bad", "warning": "waiting"}
HERE = "hpctools.cli.conf"
# As in hpctools.cli: a command's module is imported when it is used.
COMMANDS = {
    "new": ("hpctools.cli.conf_new", "new", "Start a site: an inventory and a ready policy to change."),
    "render": (
        "hpctools.cli.conf_render",
        "render",
        "Make every file of a configuration from inventory and policy.",
    ),
    "explain": (
        "hpctools.cli.conf_explain",
        "explain",
        "Show how priorities come about, and which of two jobs goes first.",
    ),
    "lint": (HERE, "lint", "Judge configuration files as slurmctld would, and beyond."),
    "upgrade": (HERE, "upgrade", "Say what a release breaks, and write the files that it takes."),
    "verify": ("hpctools.cli.conf_verify", "verify", "Boot a configuration before it goes live."),
    "format": (HERE, "format_", "Print a file as it was parsed and written again."),
    "hash": (HERE, "hash_", "Print the number by which slurmctld compares a node's slurm.conf."),
    "rules": (HERE, "rules_", "List the rules of lint, or print the page of one."),
}

slurm_option = click.option(
    "--slurm", metavar="R", help="The release that shall read them, such as 24.11.  [default: the one here]"
)


@click.group(cls=LazyGroup, table=COMMANDS)
def conf() -> None:
    """Judge, mend, upgrade and try Slurm's configuration files.

    PATH is a folder with slurm.conf and its siblings, judged together, or a file, judged alone.

    \b
    Example:
      hpctools conf lint /etc/slurm
      hpctools conf upgrade /etc/slurm --to 26.05 --out new
      hpctools conf verify new --slurm 26.05
    """


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@slurm_option
@click.option("--json", is_flag=True, help="Print JSON.")
@click.option("--sarif", is_flag=True, help="Print SARIF 2.1.0, for code scanning.")
@click.option("--github", is_flag=True, help="Print annotations for a GitHub workflow.")
@click.option("--fix", "fix_wanted", is_flag=True, help="Mend what is safe to mend; old files are kept.")
@click.option("--out", metavar="DIR", help="With --fix: write into this folder instead.")
def lint(paths: Sequence[str], slurm: str | None, fix_wanted: bool, out: str | None, **forms: bool) -> int:
    """Judge configuration files as slurmctld would, and beyond.

    Prints one line a problem: file:line: severity [rule] message (what to do). fatal: a daemon
    would not start. error: it starts, and says so in its log, or something does not work. warning:
    it works, and should be otherwise. `hpctools conf rules RULE` tells more. Ends with 1 if a
    problem is fatal.

    With --fix, what is safe to mend is mended, and what is left is printed.

    JSON: an array of objects with file, line, severity, rule, message and hint.

    \b
    Example:
      hpctools conf lint /etc/slurm
      hpctools conf lint slurm.conf gres.conf --slurm 25.11 --json
      hpctools conf lint --fix --out mended /etc/slurm
    """
    import gc

    from hpctools.conf.judge import lint as judge
    from hpctools.conf.mending import fix

    if out and not fix_wanted:
        raise InvalidInput([Problem("--out", "needs --fix")])
    wanted = [name for name, given in forms.items() if given]
    if len(wanted) > 1:
        raise InvalidInput([Problem(f"--{wanted[1]}", f"stands beside --{wanted[0]}", "name one of them")])
    form = wanted[0] if wanted else None
    release = chosen(slurm)
    # Ten thousand nodes are a million small values without cycles: to look for some takes a third more.
    gc.disable()
    if fix_wanted:
        fixed = fix(paths, release=release)
        _write(fixed, paths, out)
        findings: Sequence[Finding] = fixed.left
    else:
        findings = judge(paths, release=release)
    _print(findings, form)
    if not form:
        remark(_count(findings, release))
    return 1 if any(finding.severity == "fatal" for finding in findings) else 0


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--to", metavar="R", required=True, help="The release to go to.")
@click.option("--from", "since", metavar="R", help="The release they are for.  [default: the one here]")
@click.option("--out", metavar="DIR", help="Write the mended files into this folder.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def upgrade(paths: Sequence[str], to: str, since: str | None, out: str | None, json_wanted: bool) -> int:
    """Say what a release breaks, and write the files that it takes.

    Prints what is wrong under the new release and is not under the old one: what --out mends, and
    what is left for you to decide. The files are written to --out; those in place stay as they are.
    Ends with 1 if something fatal is left.

    JSON: an object with steps (the releases to go through) and problems, each as in `conf lint`
    with mended (true or false).

    \b
    Example:
      hpctools conf upgrade /etc/slurm --to 26.05 --out new
    """
    from hpctools.conf.on_disk import into
    from hpctools.conf.upgrading import upgrade as upgraded
    from hpctools.slurm.releases import at_least

    target = chosen(to, "--to")
    try:
        origin = chosen(since, "--from")
    except InvalidInput:
        if since:
            raise
        origin = None
    if origin and not at_least(target, origin):
        raise InvalidInput(
            [Problem("--to", f"{target} is older than {origin}", "name what they are for: --from")]
        )
    found = upgraded(paths, to=target, since=origin)
    written, elsewhere = into(found.fixed, paths, out) if out else ([], [])
    mended = set(found.fixed.mended) if out else set()
    # What stops the new release is told, even if the old one stops at it, too.
    shown = [
        *found.new,
        *(one for one in found.fixed.left if one.severity == "fatal" and one not in found.new),
    ]
    if json_wanted:
        problems = [{**one.as_json(), "mended": one in mended} for one in shown]
        as_json({"steps": list(found.steps), "problems": problems})
    else:
        for one in shown:
            click.echo(_line(one) + (" [mended]" if one in mended else ""))
        if len(found.steps) > 1:
            remark(f"Slurm is upgraded over {' and '.join(found.steps[:-1])}; slurmdbd first")
        known = f"; of what {origin} has against them, too, only what is fatal" if origin else ""
        remark(f"{_count(shown, target)}{known}")
    _tell_written(written, elsewhere)
    return 1 if any(one.severity == "fatal" and one not in mended for one in shown) else 0


@click.command("format")
@click.argument("file", metavar="FILE")
def format_(file: str) -> None:
    """Print a file as it was parsed and written again.

    It is the same, byte for byte: what hpctools edits, it changes nowhere else.

    \b
    Example:
      hpctools conf format slurm.conf | cmp - slurm.conf
    """
    from hpctools.conf.load import needed
    from hpctools.slurm import conf_text, yaml_text

    data = needed(file)
    yaml = file.endswith((".yaml", ".yml"))
    again = yaml_text.parse(data, file).to_bytes() if yaml else conf_text.parse(data, file).to_bytes()
    click.echo(again, nl=False)


@click.command("hash")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def hash_(files: Sequence[str]) -> int:
    """Print the number by which slurmctld compares a node's slurm.conf.

    It covers every byte of the file and of what it includes, comments too. Where it differs,
    slurmctld logs that the node "appears to have a different slurm.conf", and `scontrol show
    config` prints it as HASH_VAL. Of several files: ends with 3 if they differ.

    \b
    Example:
      hpctools conf hash /etc/slurm/slurm.conf new/slurm.conf
    """
    from hpctools.conf.load import hash_of

    found = [hash_of(file) for file in files]
    for number, file in zip(found, files, strict=True):
        click.echo(f"{number:#010x} {visible(file)}")
    return 3 if len(set(found)) > 1 else 0


@click.command("rules")
@click.argument("rule", metavar="[RULE]", required=False)
def rules_(rule: str | None) -> None:
    """List the rules of lint, or print the page of one.

    A page says why the rule is one, where it comes from, and shows what is wrong and what is right.

    \b
    Example:
      hpctools conf rules unknown-key
    """
    from difflib import get_close_matches

    from hpctools.conf.rules import page, rules

    if rule is None:
        for name, one in rules().items():
            click.echo(f"{name:32} {one.severity}")
    elif rule in rules():
        click.echo(page(rule), nl=False)
    else:
        near = get_close_matches(rule, rules(), n=1)
        raise InvalidInput([Problem(rule, "is no rule", f"did you mean {near[0]}?" if near else "")])


def chosen(release: str | None, option: str = "--slurm") -> str:
    """The release asked for, else that of the Slurm installed here. Raises InvalidInput."""
    from hpctools.slurm.releases import RELEASES

    known = f"known are {', '.join(RELEASES)}"
    release = release or _installed()
    if release is None:
        raise InvalidInput([Problem(option, "is needed, as no Slurm is installed here", known)])
    if release not in RELEASES:
        raise InvalidInput([Problem(option, f"{release} is no release that hpctools knows", known)])
    return release


def _installed() -> str | None:
    from hpctools import process
    from hpctools.sandbox import programs
    from hpctools.slurm.releases import parse_version, version_commands

    for name, *words in version_commands():
        try:
            return parse_version(process.run([programs.path(name), *words], timeout_s=10).check())
        except (NotFound, CommandError, ParseError):
            continue
    return None


def _write(fixed: Fixed, paths: Sequence[str], out: str | None) -> None:
    from hpctools.conf.on_disk import in_place, into

    if out:
        _tell_written(*into(fixed, paths, out))
    else:
        for path, backup in in_place(fixed).items():
            remark(f"{path}: what it was is {backup}")
    for one in fixed.mended:
        remark(f"mended: {one}")


def _tell_written(written: Sequence[str], elsewhere: Sequence[str]) -> None:
    if written:
        remark(f"written: {', '.join(written)}")
    for path in elsewhere:
        remark(f"{path} is included from outside of the folder, and stays where it is")


def _print(findings: Sequence[Finding], form: str | None) -> None:
    from hpctools.conf import formats

    if form == "json":
        as_json(formats.as_json(findings))
    elif form == "sarif":
        as_json(formats.as_sarif(findings))
    elif form == "github":
        for line in formats.as_github(findings):
            click.echo(line)
    else:
        for finding in findings:
            click.echo(_line(finding))


def _line(finding: Finding) -> str:
    return coloured(visible(str(finding)), KINDS[finding.severity])


def _count(findings: Sequence[Finding], release: str) -> str:
    from collections import Counter

    counts = Counter(finding.severity for finding in findings)
    fatal, errors, warnings = counts["fatal"], counts["error"], counts["warning"]
    said = [
        *([f"{fatal} fatal"] if fatal else []),
        *([f"{errors} error{'s' * (errors > 1)}"] if errors else []),
        *([f"{warnings} warning{'s' * (warnings > 1)}"] if warnings else []),
    ]
    return f"under Slurm {release}: {', '.join(said) or 'nothing to say'}"
