"""`hpctools conf explain`: the arithmetic of priorities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hpctools.cli.conf import chosen, slurm_option
from hpctools.cli.output import as_json, remark, table
from hpctools.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from hpctools.conf.arithmetic import Explained
    from hpctools.conf.priority import Weights

_BACKFILL = "a job further down may still start earlier where it delays none of those above (backfill)"


@click.command()
@click.option(
    "--inventory",
    "inventory_path",
    metavar="FILE",
    default="inventory.yaml",
    show_default=True,
    help="The hardware.",
)
@click.option(
    "--policy",
    "policy_path",
    metavar="FILE",
    default="policy.yaml",
    show_default=True,
    help="The choices.",
)
@slurm_option
@click.option("--job", "jobs", multiple=True, metavar="KEY=VALUE,...", help="A pending job; up to two.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON.")
def explain(
    inventory_path: str, policy_path: str, slurm: str | None, jobs: Sequence[str], json_wanted: bool
) -> None:
    """Show how priorities come about, and which of two jobs goes first.

    Prints the weights that the policy's order makes: from which difference on a factor decides, the
    points that this brings, and what all later factors can bring against it.

    A job is described by partition, qos, account, user, fairshare (as sshare prints it), age (2h,
    3d), nodes, cpus, gpus and nice; what is left out is the default of the policy. Its terms are
    those of sprio.

    JSON: an object with weights, unused, lost, settings, jobs, first (1, 2, or 0 for the one
    submitted first) and why.

    \b
    Example:
      hpctools conf explain --job qos=prod,gpus=64 --job qos=normal,gpus=8,age=3d
    """
    from hpctools.conf import arithmetic as explaining
    from hpctools.conf import described
    from hpctools.conf.inputs import inputs
    from hpctools.conf.priority import settings, weights

    if len(jobs) > 2:
        raise InvalidInput([Problem("--job", f"{len(jobs)} jobs", "two are compared at a time")])
    inventory, policy = inputs(inventory_path, policy_path)
    found = weights(inventory, policy)
    problems: list[Problem] = []
    made = []
    for number, text in enumerate(jobs, 1):
        try:
            job = described.job(text, inventory, policy, f"--job {number}")
            made.append(explaining.explain(job, inventory, policy, found))
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    first, why = explaining.first(made[0], made[1], policy, found, inventory) if len(made) == 2 else (0, ())
    if json_wanted:
        lines = settings(inventory, policy, chosen(slurm))
        as_json(_as_dict(found, lines, made, first, why))
        return
    _print_weights(found)
    if made:
        click.echo()
        _print_jobs(made)
    if len(made) == 2:
        click.echo()
        click.echo(f"job {first} goes first" if first else "neither goes first by rank")
        for line in why:
            click.echo(f"  {line}")
        remark(_BACKFILL)


def _print_weights(found: Weights) -> None:
    rows = []
    for factor in found.factors:
        step = f"{float(factor.weight * factor.step):,.0f}"
        later = f"{float(found.later(factor.name)):,.0f}"
        rows.append([factor.name, f"{factor.weight:,}", factor.meaning, step, later])
    rows += [[name, "0", f"does not count: {why}", "", ""] for name, why in found.unused.items()]
    table(rows, ["FACTOR", "WEIGHT", "DECIDES FROM", "POINTS", "ALL LATER ONES"])
    tres = f", {found.tres:,} of it by PriorityWeightTRES" if found.tres else ""
    remark(f"the highest priority is {found.total:,} of {2**32 - 1:,}{tres}")
    for line in found.lost:
        remark(line)


def _print_jobs(made: Sequence[Explained]) -> None:
    rows = [
        [
            term.name,
            *(f"{one.term(term.name).points:,} ({one.term(term.name).factor:.4f})" for one in made),
        ]
        for term in made[0].terms
        if any(one.term(term.name).weight for one in made)
    ]
    if any(one.job.nice for one in made):
        rows.append(["nice", *(f"{-one.job.nice:,}" for one in made)])
    rows.append(["priority", *(f"{one.priority:,}" for one in made)])
    rows.append(["tier", *(f"{one.tier} ({one.job.partition})" for one in made)])
    table(rows, ["TERM", *(f"JOB {number}" for number in range(1, len(made) + 1))])


def _as_dict(
    found: Weights,
    lines: Sequence[tuple[str, str, str]],
    made: Sequence[Explained],
    first: int,
    why: Sequence[str],
) -> dict[str, Any]:
    return {
        "weights": [
            {
                "factor": factor.name,
                "key": factor.key,
                "weight": factor.weight,
                "step": float(factor.step),
                "decides_from": factor.meaning,
                "step_points": float(factor.weight * factor.step),
                "later_points": float(found.later(factor.name)),
            }
            for factor in found.factors
        ],
        "unused": dict(found.unused),
        "lost": list(found.lost),
        "total": found.total,
        "settings": {key: value for key, value, _ in lines},
        "jobs": [
            {
                "partition": one.job.partition,
                "qos": one.job.qos,
                "tier": one.tier,
                "nice": one.job.nice,
                "priority": one.priority,
                "terms": {
                    term.name: {"factor": term.factor, "weight": term.weight, "points": term.points}
                    for term in one.terms
                },
            }
            for one in made
        ],
        "first": first,
        "why": list(why),
    }
