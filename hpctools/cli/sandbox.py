"""`hpctools sandbox`: a real Slurm cluster on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from hpctools.cli.output import as_json, coloured, live, remark, table
from hpctools.errors import InvalidInput, ParseError, Problem

KINDS = {"up": "good", "degraded": "bad", "down": "plain"}

named = click.option("--name", default="default", show_default=True, help="Which sandbox.", metavar="NAME")
json_option = click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")


@click.group()
def sandbox() -> None:
    """A real Slurm cluster on this machine.

    munged, MariaDB, slurmdbd, slurmctld and several slurmd, with GPUs that stand for real ones.
    Everything listens on loopback only and lives in folders of its own; a Slurm that is installed
    and running here already is not touched.

    \b
    Example:
      hpctools sandbox up --nodes 4 --gpus-per-node 8
      hpctools sandbox run -- srun --nodes 4 --gpus-per-node 2 hostname
      hpctools sandbox down
    """


@sandbox.command()
@named
@click.option("--nodes", type=int, metavar="N", help="How many nodes.  [default: 4]")
@click.option("--gpus-per-node", type=int, metavar="G", help="GPUs of a node; may be 0.  [default: 8]")
@click.option("--gpu-type", metavar="TYPE", help="Their type in Slurm's words.  [default: h100]")
@click.option("--cpus-per-node", type=int, metavar="C", help="Cores of a node.  [default: 32]")
@click.option("--memory", metavar="SIZE", help="Memory of a node, such as 64G.  [default: 64G]")
@click.option(
    "--conf", multiple=True, metavar="KEY=VALUE", help="A line of slurm.conf that wins; repeatable."
)
@click.option("--conf-dir", metavar="DIR", help="Configuration files laid over the generated ones.")
@click.option(
    "--accounting/--no-accounting", default=None, help="With slurmdbd and MariaDB.  [default: with]"
)
@click.option("--timezone", metavar="TZ", help="The time zone its daemons live in.")
@click.option(
    "--proctrack", type=click.Choice(["linuxproc", "cgroup"]), help="cgroup needs root.  [default: linuxproc]"
)
@click.option("--netns/--no-netns", default=None, help="A network and host name a node (root).")
@click.option("--slurm", metavar="R", help="A release of its own, see install.  [default: the one here]")
@click.option("--install", is_flag=True, help="Install missing packages first (apt-get, sudo if needed).")
@json_option
def up(name: str, install: bool, json_wanted: bool, **options: Any) -> None:
    """Start a sandbox and wait until its nodes are idle.

    What a crash or a reboot left is cleaned away first. Jobs, accounting and options of a sandbox
    that was down are kept: what you do not name stays as it was.

    \b
    Example:
      hpctools sandbox up --nodes 2 --gpu-type a100 --conf KillWait=5
    """
    from hpctools.sandbox import cluster, programs

    changes = {key: value for key, value in options.items() if value is not None}
    # An option that may be repeated is empty, not None, when it was not given.
    if not changes["conf"]:
        del changes["conf"]
    if "memory" in changes:
        changes["memory_mb"] = _memory_mb(changes.pop("memory"))
    if "conf_dir" in changes:
        changes["conf_dir"] = os.path.abspath(changes["conf_dir"])
    spec = cluster.with_changes(name, changes)
    wanted = programs.needed(slurm=spec.slurm is None, accounting=spec.accounting)
    if install and programs.missing(wanted):
        programs.install()
    with progress() as say, interrupted_by_signals():
        fresh = cluster.up(spec, say)
    found = cluster.status(name)
    if json_wanted:
        as_json(_as_dict(found))
        return
    verb = "is up" if fresh else "is up already"
    gpus = f", {spec.gpus_per_node} GPUs {spec.gpu_type} each" if spec.gpus_per_node else ""
    click.echo(f"Slurm {found.release}, sandbox {name}, {verb}: {spec.nodes} nodes{gpus}.")
    if not found.spec.reachable:
        click.echo(f"  use it:   hpctools sandbox run --name {name} -- COMMAND")
    else:
        click.echo(f'  use it:   eval "$(hpctools sandbox env --name {name})"   then sinfo, srun, ...')
    click.echo(f"  end it:   hpctools sandbox down --name {name}")


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Lines of progress on stderr; on a terminal one line that is rewritten."""
    import time

    begun = time.monotonic()

    def say(text: str) -> None:
        line = f"{time.monotonic() - begun:5.1f} s  {text}"
        if sys.stderr.isatty():
            live(line)
        else:
            click.echo(line, err=True)

    try:
        yield say
    finally:
        if sys.stderr.isatty():
            live("")


class Interrupted(KeyboardInterrupt):
    """By another signal than Ctrl-C. number: the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """TERM and HUP clean up as Ctrl-C does: they raise Interrupted."""
    import signal

    def interrupt(number: int, _: object) -> None:
        raise Interrupted(number)

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _memory_mb(text: str) -> int:
    from hpctools.slurm.units import parse_memory_mb

    try:
        return parse_memory_mb(text)
    except ParseError as error:
        raise InvalidInput(
            [Problem("--memory", f"{text!r} is not a size", "such as 64G, 512000M")]
        ) from error


@sandbox.command()
@click.option("--slurm", "release", required=True, metavar="R", help="24.11 or 26.05.")
def install(release: str) -> None:
    """Make the root folder of another release of Slurm.

    It takes about a minute, 400 MB and root. It comes from the Debian suite that has the release,
    by debootstrap, which checks signatures. An install that was interrupted goes on with the
    packages that it has.

    \b
    Example:
      hpctools sandbox install --slurm 26.05
      hpctools sandbox up --name new --slurm 26.05
    """
    from hpctools.sandbox import roots

    with progress() as say, interrupted_by_signals():
        root = roots.install(release, say)
    click.echo(f"Slurm {root.exact} ({root.suite}, Python {root.python}): {root.folder}")


@sandbox.command("releases")
@json_option
def releases_(json_wanted: bool) -> None:
    """List the releases of Slurm that a sandbox can have here.

    \b
    Example:
      hpctools sandbox releases
    """
    from hpctools.sandbox import releases

    found = releases.known()
    if json_wanted:
        as_json(found)
    else:
        rows = [[row[key] or "-" for key in ("release", "exact", "suite", "how")] for row in found]
        table(rows, ["RELEASE", "INSTALLED", "DEBIAN", "HOW"])


@sandbox.command()
@click.option("--slurm", "release", required=True, metavar="R", help="24.11 or 26.05.")
def remove(release: str) -> int:
    """Take the root folder of a release away.

    \b
    Example:
      hpctools sandbox remove --slurm 26.05
    """
    from hpctools.sandbox import releases

    gone = releases.remove(release)
    click.echo(f"Slurm {release} is removed" if gone else f"there is no root of Slurm {release}")
    return 0 if gone else 1


@sandbox.command()
@named
@click.option("--purge", is_flag=True, help="Forget its jobs and accounting, too.")
@click.option("--all", "all_wanted", is_flag=True, help="All sandboxes.")
def down(name: str, purge: bool, all_wanted: bool) -> None:
    """End a sandbox: no process, socket, mount or cgroup folder stays.

    Jobs that run are ended. Accounting is kept for the next up, unless --purge.

    \b
    Example:
      hpctools sandbox down --purge
    """
    from hpctools.sandbox import cluster, places

    for each in places.names() if all_wanted else [name]:
        was_up = cluster.down(each, purge=purge)
        click.echo(
            f"sandbox {each} {'is down' if was_up else 'was down already'}" + (", forgotten" if purge else "")
        )


@sandbox.command()
@named
@json_option
def status(name: str, json_wanted: bool) -> int:
    """Show what of a sandbox lives: daemons and nodes. Ends with 1 unless it is up.

    \b
    Example:
      hpctools sandbox status --json
    """
    from hpctools.sandbox import cluster

    found = cluster.status(name)
    if json_wanted:
        as_json(_as_dict(found))
    else:
        state = coloured(found.state, KINDS[found.state])
        click.echo(f"sandbox {name}: {state}, Slurm {found.release}, {found.slurm_conf}")
        rows = [
            [daemon, "up" if alive else "down", _node_state(daemon, found.nodes)]
            for daemon, alive in found.daemons.items()
        ]
        table(
            rows, ["DAEMON", "PROCESS", "NODE"], kinds=["plain" if row[1] == "up" else "bad" for row in rows]
        )
    return 0 if found.state == "up" else 1


def _node_state(daemon: str, nodes: dict[str, str]) -> str:
    return nodes.get(daemon.removeprefix("slurmd-"), "unknown") if daemon.startswith("slurmd-") else ""


def _as_dict(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)


@sandbox.command("list")
@json_option
def list_(json_wanted: bool) -> None:
    """List all sandboxes of yours.

    \b
    Example:
      hpctools sandbox list
    """
    from hpctools.sandbox import cluster, places

    found = [cluster.status(name) for name in places.names()]
    if json_wanted:
        as_json([_as_dict(each) for each in found])
    elif not found:
        remark("there is no sandbox: hpctools sandbox up")
    else:
        rows = [
            [each.name, each.state, each.release, str(each.spec.nodes), _gpus(each.spec)] for each in found
        ]
        table(
            rows,
            ["NAME", "STATE", "SLURM", "NODES", "GPUS PER NODE"],
            kinds=[KINDS[each.state] for each in found],
        )


def _gpus(spec: Any) -> str:
    return f"{spec.gpus_per_node} {spec.gpu_type}" if spec.gpus_per_node else "0"


@sandbox.command()
@named
@click.option("--shell", type=click.Choice(["bash", "zsh", "fish"]), help="[default: that of $SHELL]")
def env(name: str, shell: str | None) -> None:
    """Print the lines that make a shell use a sandbox.

    \b
    Example:
      eval "$(hpctools sandbox env)"            # bash, zsh
      hpctools sandbox env | source             # fish
    """
    import shlex

    from hpctools.sandbox import cluster

    found = cluster.load(name)
    if not found.spec.reachable:
        hint = f"hpctools sandbox run --name {name} -- COMMAND"
        raise InvalidInput([Problem("sandbox env", f"{name} is not reached from outside", hint)])
    fish = (shell or os.path.basename(os.environ.get("SHELL", ""))) == "fish"
    for key, value in sorted(found.command_env({}).items()):
        click.echo(f"set -gx {key} {shlex.quote(value)};" if fish else f"export {key}={shlex.quote(value)}")


@sandbox.command()
@named
@click.option("--user", metavar="USER", help="Run it as this user (root only); ada and lin are there.")
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
def run(name: str, user: str | None, command: tuple[str, ...]) -> int:
    """Run a command on a sandbox; ends with its status.

    \b
    Example:
      hpctools sandbox run --user ada -- srun --nodes 2 id
    """
    from hpctools.sandbox import runner

    return runner.run(name, command, user)


@sandbox.command()
@named
@click.argument("daemon", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.option(
    "-n", "--tail", "lines", type=click.IntRange(min=0), default=20, show_default=True, help="How many lines."
)
def logs(name: str, daemon: str | None, follow: bool, lines: int) -> int:
    """Print the end of a daemon's log, or of all.

    \b
    Example:
      hpctools sandbox logs slurmctld -f
    """
    from hpctools.sandbox import runner

    return runner.logs(name, daemon, lines, follow)


@sandbox.command()
@named
@click.option(
    "--node", "nodes", multiple=True, metavar="NODE", help="slurmd, its slurmstepds and their tasks."
)
@click.option("--link", "links", multiple=True, metavar="NODE", help="Cut a node's network (with --netns).")
@click.option("--ctld", is_flag=True, help="slurmctld.")
@click.option("--dbd", is_flag=True, help="slurmdbd.")
@click.option("--db", is_flag=True, help="MariaDB.")
@click.option("--munge", is_flag=True, help="munged.")
@click.option("--freeze", is_flag=True, help="Stop them (SIGSTOP) in place of killing them.")
def fail(name: str, nodes: tuple[str, ...], links: tuple[str, ...], freeze: bool, **parts: bool) -> None:
    """Make parts of a sandbox fail at once, as when power is lost.

    \b
    Example:
      hpctools sandbox fail --node n2
      hpctools sandbox fail --ctld --freeze
    """
    from hpctools.sandbox import faults

    wanted = [part for part, is_wanted in parts.items() if is_wanted]
    hit = faults.fail(name, nodes=nodes, parts=wanted, links=links, freeze=freeze)
    click.echo(
        f"{'frozen' if freeze else 'failed'}: {', '.join(hit)}; mend: hpctools sandbox heal --name {name}"
    )


@sandbox.command()
@named
def heal(name: str) -> None:
    """Start again what has failed, and bring nodes back.

    \b
    Example:
      hpctools sandbox heal
    """
    from hpctools.sandbox import faults

    with progress() as say:
        started = faults.heal(name, say)
    click.echo(f"answers again: {', '.join(started)}" if started else f"sandbox {name} is well")
