"""Why Slurm refused a job, beyond its own words: asked only then, so it may cost more calls."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hpctools.errors import HpctoolsError, Problem
from hpctools.jobs.facts import Facts
from hpctools.jobs.nearest import listed, unknown
from hpctools.jobs.record import query_environment, user_name
from hpctools.jobs.resources import partition_of
from hpctools.jobs.spec import JobSpec
from hpctools.process import Run
from hpctools.slurm import sacctmgr
from hpctools.slurm.sacctmgr import Association

TIMEOUT_S = 15.0


def explain(spec: JobSpec, facts: Facts, message: str, run: Run) -> tuple[Problem, ...]:
    """What we know about a refusal that our own checks did not foresee."""
    low = message.lower()
    if "account" in low or "qos" in low:
        return tuple(_rights(spec, facts, low, run))
    if "dependency" in low and spec.settings.text("dependency"):
        hint = "afterok:123, afterany:123:124, singleton"
        text = f"{spec.settings.text('dependency')!r} is no list of jobs that Slurm takes"
        return (Problem(spec.settings.where("dependency"), text, hint),)
    if "reservation" in low and spec.settings.text("reservation"):
        text = f"{spec.settings.text('reservation')!r} is not there, or not for you"
        return (Problem(spec.settings.where("reservation"), text, "scontrol show reservation lists them"),)
    return ()


def _rights(spec: JobSpec, facts: Facts, message: str, run: Run) -> Iterator[Problem]:
    """The account and the QOS that were asked for against those that this user has."""
    user = user_name()
    words = sacctmgr.associations_command(user)
    try:
        text = run(words, env=query_environment(os.environ), timeout_s=TIMEOUT_S).check()
        found = sacctmgr.parse_associations(text)
    except HpctoolsError:
        return  # no accounting: Slurm's own words must do
    partition = partition_of(spec, facts)
    usable = [one for one in found if one.partition in ("", partition)]
    if "account" in message:
        yield from _account(spec, user, usable)
    if "qos" in message:
        yield from _qos(spec, usable)


def _account(spec: JobSpec, user: str, usable: list[Association]) -> Iterator[Problem]:
    asked = spec.settings.text("account")
    accounts = {one.account for one in usable}
    where = spec.settings.where("account")
    if not accounts:
        yield Problem(where, f"user {user} has no account here", "ask for one, or for another partition")
    elif asked and asked not in accounts:
        yield unknown(where, "account", asked, accounts, f"for user {user}")
    elif not asked:
        yield Problem(where, "is not named", listed(accounts))


def _qos(spec: JobSpec, usable: list[Association]) -> Iterator[Problem]:
    asked, account = spec.settings.text("qos"), spec.settings.text("account")
    known = {qos for one in usable if account in (None, one.account) for qos in one.qos}
    if asked and known and asked not in known:
        yield unknown(spec.settings.where("qos"), "QOS", asked, known, "for you")
