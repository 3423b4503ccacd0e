"""`hpctools completion`: the script that makes a shell complete our commands and options."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    One line each, for new shells from then on:

    \b
    Example:
      echo 'eval "$(hpctools completion bash)"' >> ~/.bashrc
      echo 'eval "$(hpctools completion zsh)"' >> ~/.zshrc      # below compinit
      hpctools completion fish > ~/.config/fish/completions/hpctools.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click brings all three
        raise click.UsageError(f"this click has no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "hpctools", "_HPCTOOLS_COMPLETE").source())
