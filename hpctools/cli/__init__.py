"""The command line: `hpctools COMMAND ...`.

A command's module is imported when the command is used. `hpctools --help` and the completion of
command names read the table below, so they cost little more than importing click.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from hpctools import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: (module, attribute, the first sentence of the command's own help); in the order of --help.
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "submit": ("hpctools.cli.submit", "submit", "Run a training script on Slurm nodes."),
    "jobs": ("hpctools.cli.jobs", "jobs", "List your jobs."),
    "status": ("hpctools.cli.jobs", "status", "Show one job: its state, why it waits, what it used."),
    "logs": ("hpctools.cli.jobs", "logs", "Print or follow a job's log."),
    "wait": ("hpctools.cli.jobs", "wait", "Wait for a job and end with its status."),
    "cancel": ("hpctools.cli.jobs", "cancel", "Cancel jobs."),
    "templates": (
        "hpctools.cli.templates",
        "templates",
        "The templates of job scripts: listed, shown, begun.",
    ),
    "lint-env": (
        "hpctools.cli.lint_env",
        "lint_env",
        "Tell which variables of NCCL, torch and libfabric are stale or harmful.",
    ),
    "site": ("hpctools.cli.site", "site", "What is true of a cluster for every job: its site file."),
    "image": ("hpctools.cli.image", "image", "Images of containers: fetched, built, listed, checked."),
    "conf": ("hpctools.cli.conf", "conf", "Judge, mend, upgrade and try Slurm's configuration files."),
    "inventory": ("hpctools.cli.inventory", "inventory", "The hardware of a cluster: found, checked, shown."),
    "sandbox": ("hpctools.cli.sandbox", "sandbox", "A real Slurm cluster on this machine."),
    "doctor": ("hpctools.cli.doctor", "doctor", "Check Slurm and this machine, and say what to mend."),
    "completion": ("hpctools.cli.completion", "completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group that lists its commands from a table and imports the one that is used."""

    def __init__(self, *args: object, table: Mapping[str, tuple[str, str, str]], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker; the table is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, _, help) in self.table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=help)
            for name, (_, _, help) in self.table.items()
            if name.startswith(incomplete)
        ]
        # Not Group's own, which would import every command for its help.
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.table and not args[0].startswith("-") and not ctx.resilient_parsing:
            self.refuse(ctx, args[0])
        return super().resolve_command(ctx, args)

    def refuse(self, ctx: click.Context, name: str) -> NoReturn:
        """Fail for an unknown command, naming the nearest."""
        from difflib import get_close_matches

        near = get_close_matches(name, self.table, n=1, cutoff=0.5)
        ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="hpctools COMMAND --help shows a command's options and an example.",
)
@click.version_option(__version__, prog_name="hpctools")
def cli() -> None:
    """Slurm GPU clusters for those who use, run and pay for them.

    \b
    Example:
      hpctools sandbox up                              # a cluster to try it on
      hpctools submit train.py --nodes 4 --follow      # a four-node torchrun job
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: the program's own) and return its exit status.

    Errors become messages on stderr. HPCTOOLS_DEBUG=1 lets what we did not foresee through, with
    its traceback.
    """
    if sys.stdout is None:  # closed by who called us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as we live
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A job's name may hold bytes that are no text, or no text of this locale.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(arguments, prog_name="hpctools", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        return report(error)
    return status if isinstance(status, int) else 0


def report(error: Exception) -> int:
    """Say on stderr what went wrong, one line a problem, and return the exit status for it."""
    from hpctools.cli.output import remark
    from hpctools.errors import HpctoolsError

    if isinstance(error, HpctoolsError):
        remark(str(error))
        return error.exit_status
    if isinstance(error, OSError):
        drop_output()
        if not isinstance(error, BrokenPipeError):
            remark(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    if os.environ.get("HPCTOOLS_DEBUG", "") not in ("", "0"):
        raise error
    remark(f"a bug of hpctools: {type(error).__name__}: {error}")
    remark("please report it, with what HPCTOOLS_DEBUG=1 prints when you do the same again")
    return 1


def drop_output() -> None:
    """Forget what is still to be printed: Python would complain again when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
