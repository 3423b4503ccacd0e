"""The weights of priority/multifactor, computed from the order in which the policy wants jobs decided.

Slurm adds up factor * weight, each factor between 0 and 1, and cuts the sum to a whole number
(_get_priority_internal in src/plugins/priority/multifactor/priority_multifactor.c). A factor decides
before those behind it if its smallest step, times its weight, is more than all of them together can
bring. So the weights are computed from the last to the first:

    weight = (2 + what all later ones bring at most) / smallest step

2, since the cut to whole numbers takes less than 1, and rounding much less than another. QOS,
partitions and associations have few levels, so their steps are known. The others are given one: fair
share a rank among as many users as are assumed, age an hour, size a node. Where 32 bits do not hold
the sum, these steps are made coarser, the last in the order first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil

from hpctools.conf import preemption
from hpctools.conf.policy import Account, Policy
from hpctools.inventory.model import Inventory
from hpctools.slurm import units
from hpctools.slurm.releases import known

KEYS = {
    "qos": "PriorityWeightQOS",
    "partition": "PriorityWeightPartition",
    "fairshare": "PriorityWeightFairshare",
    "age": "PriorityWeightAge",
    "size": "PriorityWeightJobSize",
    "assoc": "PriorityWeightAssoc",
}
# A priority has 32 bits. What is left above is for negative nice values and a site factor.
ROOM = 4_000_000_000
# slurmctld takes these factors from what slurmdbd keeps.
_OF_DATABASE = frozenset({"qos", "fairshare", "age", "assoc"})
_MARGIN = 2
# Coarser than a tenth, a continuous factor would hardly count at all.
_COARSEST = 10
# How many user associations are assumed where the policy lists none, and at least.
_USERS, _FEWEST_USERS = 1000, 100


@dataclass(frozen=True)
class Factor:
    """One factor that counts. finest: the smallest difference that shall decide; spread: the largest
    that there is; both of the factor itself, which is 1 at most.

    step: the smallest that does decide, larger than finest where room is short. amount, unit: what
    finest is in words, 1 "of 64 nodes". levels: how many values it can have, 0 for any.
    """

    name: str
    finest: Fraction
    spread: Fraction
    amount: Fraction
    unit: str
    levels: int = 0
    step: Fraction = Fraction(1)
    weight: int = 0

    @property
    def key(self) -> str:
        return KEYS[self.name]

    @property
    def most(self) -> Fraction:
        """How far it can put two jobs apart, in points."""
        return self.weight * self.spread

    @property
    def meaning(self) -> str:
        """From which difference on it is sure to decide, in words."""
        tenths = ceil(self.amount * self.step / self.finest * 10)
        number = f"{tenths / 10:,.1f}".removesuffix(".0")
        return f"{number} {self.unit}"


@dataclass(frozen=True)
class Weights:
    """factors: those that count, in the order of the policy. unused: why others do not, by name.

    tres: the most that PriorityWeightTRES of the policy's settings can add.
    """

    factors: tuple[Factor, ...]
    unused: Mapping[str, str]
    tres: int = 0

    @property
    def total(self) -> int:
        """The highest priority that a job can have, TRES counted, nice and site factor not."""
        return _sum(self.factors, self.tres)

    def weight(self, name: str) -> int:
        return next((factor.weight for factor in self.factors if factor.name == name), 0)

    def later(self, name: str) -> Fraction:
        """What all factors after name, and TRES, can bring together at most, in points."""
        names = [factor.name for factor in self.factors]
        behind = self.factors[names.index(name) + 1 :]
        return sum((factor.most for factor in behind), Fraction(self.tres))

    @property
    def lost(self) -> tuple[str, ...]:
        """What the order does not promise, since 32 bits cannot hold it; a sentence each."""
        told = [
            f"{one.name} decides from {one.meaning} on; finer steps of all do not fit into 32 bits"
            for one in self.factors
            if one.step > one.finest
        ]
        uneven = [one.name for one in self.factors if told and one.levels and 1 / one.finest > one.levels]
        if uneven:
            told.append(f"evenly spaced values of {' and '.join(uneven)} would leave room for finer steps")
        return tuple(told)


def weights(inventory: Inventory, policy: Policy) -> Weights:
    """The weights for policy on inventory."""
    tres = tres_room(policy)
    found: list[Factor] = []
    unused = {name: "not in the order" for name in KEYS if name not in policy.priority.order}
    for name in policy.priority.order:
        factor = _factor(name, inventory, policy)
        if isinstance(factor, Factor):
            found.append(factor)
        else:
            unused[name] = factor
    return Weights(_fitted(found, tres), unused, tres)


def tres_room(policy: Policy) -> int:
    """The points that PriorityWeightTRES in the policy's settings can add: a factor is at most 1."""
    found = {key.lower(): text for key, text in policy.daemons.settings.items()}
    amounts = re.findall(r"=\s*([0-9]+(?:\.[0-9]+)?)", found.get("priorityweighttres", ""))
    return ceil(sum(map(Fraction, amounts), Fraction(0)))


def settings(inventory: Inventory, policy: Policy, release: str) -> list[tuple[str, str, str]]:
    """(key, value, comment) of slurm.conf for priorities and preemption, of the keys that release knows."""
    found = weights(inventory, policy)
    order = ", ".join(factor.name for factor in found.factors)
    note = f"weights computed from the order {order}: each outweighs all later ones" if order else ""
    lines = [("PriorityType", "priority/multifactor", note)]
    lines += [(one.key, str(one.weight), f"{one.name}: from {one.meaning} on") for one in found.factors]
    lines += [(KEYS[name], "0", f"{name}: {why}") for name, why in found.unused.items()]
    if found.weight("size"):
        lines.append(("PriorityFavorSmall", "YES" if policy.priority.favor == "small" else "NO", ""))
    if found.weight("age"):
        lines.append(("PriorityMaxAge", units.format_duration(policy.priority.max_age_s), ""))
    if policy.daemons.database:
        half_life = policy.priority.half_life_s
        text = units.format_duration(half_life) if half_life else "0"
        lines.append(("PriorityDecayHalfLife", text, "half of a use counts after that time"))
    lines += preemption.settings(policy)
    return [line for line in lines if line[0].lower() in known("slurm.conf", release)]


def _factor(name: str, inventory: Inventory, policy: Policy) -> Factor | str:
    """The factor without its weight, or why it cannot count."""
    if name in _OF_DATABASE and policy.daemons.database is None:
        return "needs slurmdbd"
    if name == "qos":
        return _levels(name, [qos.priority for qos in policy.qos] + _normal(policy), "in the priority of QOS")
    if name == "partition":
        return _levels(name, [one.factor for one in policy.partitions], "in the factor of partitions", 1)
    if name == "assoc":
        return _levels(name, associations(policy).values(), "in the Priority of accounts and users")
    one = Fraction(1)
    if name == "fairshare":
        users = assumed_users(policy)
        return Factor(name, Fraction(1, users), one, one, f"of {users:,} ranks of users")
    if name == "age":
        most_s = policy.priority.max_age_s
        step_s = 3600 if most_s >= _COARSEST * 3600 else 60
        return Factor(name, Fraction(step_s, most_s), one, one, "h of waiting" if step_s == 3600 else "min")
    nodes = max(1, len(inventory.hosts))
    # The factor is the mean of a job's share of the nodes and its share of the CPUs.
    return Factor(name, Fraction(1, 2 * nodes), one, one, f"of {nodes:,} nodes")


def _normal(policy: Policy) -> list[int]:
    """The priority of the QOS that each database has, where the policy does not say it."""
    return [] if any(qos.name == "normal" for qos in policy.qos) else [0]


def _levels(name: str, values: Iterable[int], what: str, least: int = 0) -> Factor | str:
    """A factor of few levels: Slurm divides each value by the highest. least: what that is at least."""
    levels = sorted(set(values))
    highest = max(levels[-1] if levels else 0, least)
    if len(levels) < 2:
        return f"all are equal {what}"
    gap = min(high - low for low, high in pairwise(levels))
    unit = f"of {highest:,} {what}"
    spread = Fraction(levels[-1] - levels[0], highest)
    return Factor(name, Fraction(gap, highest), spread, Fraction(gap), unit, len(levels))


def associations(policy: Policy) -> dict[tuple[str, str], int]:
    """The Priority of each (account, user), user "" for the account's own; below one it is inherited."""
    found: dict[tuple[str, str], int] = {("root", ""): 0}
    for account in policy.accounts:
        own = _priority(account, found.get((account.parent, ""), 0))
        found[account.name, ""] = own
        for name, user in account.users.items():
            found[account.name, name] = int(user.limits.get("Priority", own))
    return found


def _priority(account: Account, inherited: int) -> int:
    return int(account.limits.get("Priority", inherited))


def assumed_users(policy: Policy) -> int:
    """As many ranks as fair share is taken to have: twice the policy's, so that it may grow."""
    listed = sum(len(account.users) for account in policy.accounts)
    return max(_FEWEST_USERS, 2 * (listed + 1)) if listed else _USERS


def _fitted(wanted: Sequence[Factor], tres: int) -> tuple[Factor, ...]:
    """The factors with their weights; with coarser steps where the sum would be above ROOM."""
    factors = [replace(factor, step=factor.finest) for factor in wanted]
    # Those without levels of their own give way before those that have some.
    backwards = factors[::-1]
    giving = sorted(backwards, key=lambda one: bool(one.levels))
    for factor in giving:
        if _sum(_weighed(factors, tres), tres) <= ROOM:
            break
        at = [one.name for one in factors].index(factor.name)
        # The largest number of steps with which all fits, else the fewest that this factor may have.
        high = int(1 / factor.finest)
        low = min(1 if factor.levels else _COARSEST, high)
        while low < high:
            middle = (low + high + 1) // 2
            factors[at] = replace(factor, step=Fraction(1, middle))
            if _sum(_weighed(factors, tres), tres) <= ROOM:
                low = middle
            else:
                high = middle - 1
        factors[at] = replace(factor, step=max(factor.finest, Fraction(1, low)))
    return _weighed(factors, tres)


def _weighed(factors: Sequence[Factor], tres: int) -> tuple[Factor, ...]:
    """The factors with the weights that their steps need, computed from the last to the first."""
    found: list[Factor] = []
    later = Fraction(tres)
    for factor in reversed(factors):
        weighed = replace(factor, weight=ceil((_MARGIN + later) / factor.step))
        later += weighed.most
        found.append(weighed)
    return tuple(reversed(found))


def _sum(factors: Iterable[Factor], tres: int) -> int:
    return sum(factor.weight for factor in factors) + tres
