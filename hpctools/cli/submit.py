"""hpctools submit: a training script becomes a Slurm job."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from hpctools.cli.output import remark
from hpctools.jobs.options import OPTIONS, Option

if TYPE_CHECKING:
    from hpctools.jobs.record import Record
    from hpctools.jobs.request import Request
    from hpctools.jobs.submission import Plan

ACTIONS = "What to do"
# What stands beside the settings: what is done with the job, which no file may say.
FLAGS = (
    ("follow", "f", "Show the job's log until it ends, and end with its status."),
    ("local", "", "Run the job on this machine, without Slurm."),
    ("dry-run", "", "Print the script that would be submitted, and make nothing."),
    ("test-only", "", "Ask Slurm whether and when the job could start, and submit nothing."),
    ("show-config", "", "Print every setting and where it comes from."),
    ("json", "", "Print the answer as JSON."),
)
# At most one of each line.
ONE_OF = (
    ("dry-run", "test-only", "show-config", "local"),
    ("dry-run", "test-only", "show-config", "follow"),
    ("json", "follow"),
    ("json", "local"),
    ("json", "dry-run"),
)
HELP = """Run a training script on Slurm nodes.

TARGET is a script, ARGS are its arguments: *.py runs in Python, anything else must be executable.
By default each GPU gets a rank of it, by torchrun.

A setting comes from the command line, else from a variable HPCTOOLS_NODES, else from hpctools.yaml
beside TARGET (nodes: 4), from ~/.config/hpctools/config.yaml, from the site's file. --show-config
tells which.

\b
Example:
  hpctools submit train.py --nodes 4 --time 2:00:00 --follow -- --lr 0.1
"""


class Submit(click.Command):
    """A command with its options in sections, that leaves all behind the first -- to the program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        mine, program = list(args), []
        if "--" in args:
            cut = args.index("--")
            mine, program = args[:cut], args[cut + 1 :]
        ctx.obj = tuple(program)
        try:
            return super().parse_args(ctx, mine)
        except click.MissingParameter as error:
            if program:
                raise click.UsageError(
                    "TARGET stands before the --, only its arguments after it", ctx
                ) from error
            raise
        except click.UsageError as error:
            if isinstance(error, click.NoSuchOption) or "extra argument" in error.format_message():
                text = f"{error.format_message().rstrip('.')}. Arguments of the program stand behind --."
                raise click.UsageError(text, ctx) from error
            raise

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["TARGET", "[OPTIONS]", "[-- ARGS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        own = {option.key: option.section for option in OPTIONS}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None and isinstance(parameter, click.Option):
                sections.setdefault(own.get(parameter.name or "", ACTIONS), []).append(row)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def parameters() -> Iterator[click.Parameter]:
    """The options of the command: the table's, then what to do."""
    yield click.Argument(["target"], metavar="TARGET", type=click.Path())
    for option in OPTIONS:
        yield _parameter(option)
    for name, short, words in FLAGS:
        yield click.Option([f"--{name}", *([f"-{short}"] if short else [])], is_flag=True, help=words)


def _parameter(option: Option) -> click.Option:
    words = option.help
    if option.default not in (None, False):
        words += f" Default: {option.default}."
    names = [*([f"-{option.short}"] if option.short else []), f"--{option.name}", option.key]
    if option.flag:
        return click.Option(names, is_flag=True, default=None, help=words)
    metavar = "|".join(option.choices) or option.metavar
    return click.Option(names, multiple=option.many, metavar=metavar, help=words)


def run(ctx: click.Context, target: str, **values: object) -> int:
    """What the command does; returns its exit status."""
    # A tenth of a second, most of it imports: nothing in it is worth being collected.
    gc.disable()
    from hpctools.jobs import request, settings

    do = {name for name, _, _ in FLAGS if values.pop(name.replace("-", "_"))}
    for names in ONE_OF:
        if len(both := [name for name in names if name in do]) > 1:
            raise click.UsageError(f"--{both[0]} and --{both[1]} exclude each other", ctx)
    asked = request.gather(target, ctx.obj, values, origin=settings.COMMAND_LINE)
    if "show-config" in do:
        return show_config(asked, "json" in do)
    if "local" in do:
        from hpctools.jobs import local

        gc.enable()
        return local.run(asked, remark)[1]
    return on_slurm(asked, do)


def on_slurm(asked: Request, do: set[str]) -> int:
    """Print a job's script, ask about the job or submit it."""
    from hpctools.cli import cluster
    from hpctools.jobs import submission

    cluster.choose()
    plan = submission.plan(asked, say=remark)
    for text in plan.remarks:
        remark(text)
    if "dry-run" in do:
        return dry_run(plan)
    if "test-only" in do:
        return test_only(plan, "json" in do)
    record = submission.submit(plan, say=remark)
    if "json" in do:
        from hpctools.cli.output import as_json

        as_json(described(record, plan))
        return 0
    announce(record, plan, "follow" in do)
    if "follow" not in do:
        return 0
    try:
        return followed(record)
    except KeyboardInterrupt:  # before follow itself was there to take it
        remark(f"detached; job {record.job_id} goes on. Follow it again: hpctools logs -f {record.job_id}")
        return 130


def followed(record: Record) -> int:
    """Follow a job that was just submitted to its end; returns its status."""
    from hpctools import process
    from hpctools.cli.output import live
    from hpctools.jobs import follow

    gc.enable()
    teller = follow.Teller(remark, live)
    return follow.follow(record, sys.stdout.buffer, process.run, teller=teller)


def announce(record: Record, plan: Plan, following: bool) -> None:
    """Say what was submitted: the id alone on stdout, unless the log goes there."""
    taken = plan.resources
    gpus = " ".join(filter(None, (f", {taken.gpus}", taken.kind, f"GPU{'s' * (taken.gpus > 1)} each")))
    size = f"{record.nodes} node{'s' * (record.nodes > 1)}{gpus if taken.gpus else ''}"
    remark(f"job {record.job_id}, {record.name}: {size}; its log is {record.log()}")
    if not following:
        remark(f"`hpctools logs -f {record.job_id}` follows it; `hpctools status {record.job_id}`")
        click.echo(record.job_id)


def described(record: Record, plan: Plan) -> Mapping[str, object]:
    """A submission as --json prints it."""
    return {
        "job_id": record.job_id,
        "cluster": record.cluster,
        "name": record.name,
        "target": record.target,
        "nodes": record.nodes,
        "gpus_per_node": record.gpus_per_node,
        "gpu_type": plan.resources.kind or None,
        "ranks_per_node": plan.resources.ranks,
        "run": record.run,
        "log": str(record.log()),
        "image": record.image,
        "submitted_s": record.submitted_s,
        "warnings": [str(problem) for problem in plan.warnings],
    }


def dry_run(plan: Plan) -> int:
    """Print the script, byte for byte as it would be submitted but for the run folder's name."""
    from hpctools.jobs import run_files

    for problem in plan.warnings:
        remark(str(problem))
    folder = run_files.example(plan.request.spec)
    text = run_files.script(plan.request, plan.resources, folder, remark)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
    remark(f"nothing was made; {run_files.EXAMPLE} stands for what is chosen at submission")
    return 0


def test_only(plan: Plan, json: bool) -> int:
    """Say when Slurm could start the job, and who waits before it."""
    from hpctools import process
    from hpctools.cli.output import as_json
    from hpctools.jobs import forecast, submission

    answer = submission.ask(plan, say=remark)
    if not answer.ok:
        raise submission.refusal(plan, answer.message, process.run)
    seen = forecast.read(plan, answer, process.run)
    if json:
        as_json(forecast.described(seen))
    else:
        click.echo("\n".join(forecast.lines(seen)))
    return 0


def show_config(asked: Request, json: bool) -> int:
    """Print every setting; then what is wrong with them, if anything is."""
    from hpctools.cli.output import as_json, table

    rows = list(_rows(asked))
    if json:
        as_json({name: {"value": value, "origin": origin} for name, value, origin in rows})
    else:
        said = [(name, "" if value is None else str(value), origin) for name, value, origin in rows]
        table(said, ("SETTING", "VALUE", "FROM"), kinds=["plain"] * len(said))
    asked.check()
    return 0


def _rows(asked: Request) -> Iterator[tuple[str, object, str]]:
    """Name, value and origin, in the order of the table; maps entry by entry."""
    spec, values = asked.spec, asked.settings.values
    computed = {"name": spec.name, "python": spec.python, "site": asked.site.path and str(asked.site.path)}
    for option in OPTIONS:
        entries = [name for name in values if name.startswith(f"{option.name}.")] if option.many else []
        for name in entries:
            # Of a secret not even what somebody gave by mistake.
            inherited = option.name == "secret" or (option.name == "env" and values[name].value is None)
            yield name, "(from here)" if inherited else values[name].value, values[name].origin
        if option.name in values:
            yield option.name, values[option.name].value, values[option.name].origin
        elif computed.get(option.name) is not None:
            yield option.name, computed[option.name], "default"
        elif not entries:
            yield option.name, None, "not set"


submit = Submit(
    "submit",
    params=list(parameters()),
    callback=click.pass_context(run),
    help=HELP,
    short_help="Run a training script on Slurm nodes.",
)
