"""Weights of priority/multifactor: the order holds on what Slurm adds up, and nothing overflows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hpctools.conf.arithmetic import explain
from hpctools.conf.described import Job
from hpctools.conf.policy import Account, Daemons, Database, Partition, Policy, Priority, Qos, User
from hpctools.conf.preemption import mode
from hpctools.conf.priority import KEYS, ROOM, Weights, assumed_users, settings, weights
from hpctools.conf.rules.preemption import mode_problem
from hpctools.inventory.model import Group, Inventory, NodeType
from hpctools.slurm.releases import RELEASES, known

HIGHEST = 2**32 - 1
DAEMONS = Daemons(("head",), Database("db"))


def cluster(nodes: int, cores: int = 8) -> Inventory:
    kind = NodeType("t", 1, cores, 1, 65536)
    return Inventory("alpha", {"t": kind}, (Group(tuple(f"n{one}" for one in range(nodes)), "t"),))


@st.composite
def sites(draw: st.DrawFn) -> tuple[Inventory, Policy]:
    order = draw(st.permutations(list(KEYS)).map(lambda names: names[:6])) if draw(st.booleans()) else None
    levels = st.lists(st.integers(0, 40) | st.integers(0, 10**6), min_size=1, max_size=5)
    names = "abcde"
    partitions = tuple(
        Partition(names[index], ("all",), tier=draw(st.integers(1, 2)), factor=min(factor, 65533))
        for index, factor in enumerate(draw(levels))
    )
    qos = tuple(Qos(names[index], priority=level) for index, level in enumerate(draw(levels)))
    accounts = tuple(
        Account(
            names[index],
            limits={"Priority": str(level)},
            users={f"u{one}": User() for one in range(draw(st.integers(0, 200)))},
        )
        for index, level in enumerate(draw(levels))
    )
    settings_of_site = draw(st.sampled_from([{}, {"PriorityWeightTRES": "CPU=1000,GRES/gpu=50000.5"}]))
    policy = Policy(
        replace(DAEMONS, settings=settings_of_site),
        partitions,
        qos,
        accounts,
        Priority(
            tuple(order) if order else Priority().order,
            max_age_s=draw(st.sampled_from([60, 3600, 86400, 7 * 86400, 30 * 86400])),
            favor=draw(st.sampled_from(["large", "small"])),
        ),
    )
    return cluster(draw(st.sampled_from([1, 2, 64, 1000, 10000]))), policy


@st.composite
def jobs(draw: st.DrawFn, inventory: Inventory, policy: Policy) -> Job:
    nodes = draw(st.integers(1, len(inventory.hosts)))
    account = draw(st.sampled_from(policy.accounts))
    users = assumed_users(policy)
    return Job(
        partition=draw(st.sampled_from(policy.partitions)).name,
        qos=draw(st.sampled_from(policy.qos)).name,
        account=account.name,
        fairshare=draw(st.integers(0, users)) / users,
        age_s=draw(st.integers(0, 2 * policy.priority.max_age_s)),
        nodes=nodes,
        cpus=nodes * 8,
    )


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_first_factor_that_differs_by_a_step_decides(data: st.DataObject) -> None:
    inventory, policy = data.draw(sites())
    found = weights(inventory, policy)
    one, two = (explain(data.draw(jobs(inventory, policy)), inventory, policy, found) for _ in range(2))
    for factor in found.factors:
        difference = one.term(factor.name).factor - two.term(factor.name).factor
        # Computed in floating point, a step can be short of itself by as much as that rounds.
        if abs(difference) >= float(factor.step) * (1 - 1e-9):
            assert (one.priority > two.priority) == (difference > 0), (factor, one, two)
            assert one.priority != two.priority
            return
        # Below its step a factor may be outweighed: then the order promises nothing.
        assume(difference == 0)


@hypothesis_settings(max_examples=300, deadline=None)
@given(sites())
def test_nothing_overflows_and_what_is_lost_is_said(site: tuple[Inventory, Policy]) -> None:
    inventory, policy = site
    found = weights(inventory, policy)
    assert found.total <= ROOM < HIGHEST
    assert all(factor.weight >= 1 for factor in found.factors)
    coarse = [factor.name for factor in found.factors if factor.step > factor.finest]
    assert [line.split()[0] for line in found.lost if " decides from " in line] == coarse
    assert {factor.name for factor in found.factors} | set(found.unused) == set(KEYS)


def total(steps: dict[str, Fraction], found: Weights) -> int:
    """The highest priority with these steps."""
    later, weight = Fraction(found.tres), found.tres
    for factor in reversed(found.factors):
        own = ceil((2 + later) / steps[factor.name])
        later, weight = later + own * factor.spread, weight + own
    return weight


@hypothesis_settings(max_examples=100, deadline=None)
@given(sites())
def test_steps_are_as_fine_as_there_is_room(site: tuple[Inventory, Policy]) -> None:
    found = weights(*site)
    steps = {factor.name: factor.step for factor in found.factors}
    assert total(steps, found) == found.total
    # Those of any value give way first, of all the last one in the order.
    backwards = found.factors[::-1]
    giving = sorted(backwards, key=lambda one: bool(one.levels))
    gave = [factor for factor in giving if factor.step > factor.finest]
    if gave:
        finer = {**steps, gave[-1].name: 1 / (1 / gave[-1].step + 1)}
        assert total(finer, found) > ROOM


def test_levels_of_qos_count_in_their_smallest_gap() -> None:
    qos = (Qos("low"), Qos("mid", priority=20), Qos("high", priority=50))
    policy = Policy(DAEMONS, (Partition("main", ("all",)),), qos, priority=Priority(("qos", "age")))
    by_qos, by_age = weights(cluster(4), policy).factors
    assert by_age.weight == 2 * 7 * 24
    assert by_qos.step * 50 == 20
    # (2 + 336) / (20 / 50)
    assert by_qos.weight == 845
    assert by_qos.meaning == "20 of 50 in the priority of QOS"


@pytest.mark.parametrize(
    ("change", "name", "why"),
    [
        ({"qos": (Qos("normal", priority=5),)}, "qos", "all are equal in the priority of QOS"),
        ({}, "partition", "all are equal in the factor of partitions"),
        ({}, "assoc", "not in the order"),
        ({"daemons": Daemons(("head",))}, "fairshare", "needs slurmdbd"),
        ({"daemons": Daemons(("head",))}, "age", "needs slurmdbd"),
    ],
)
def test_a_factor_that_cannot_count_has_no_weight(change: dict[str, object], name: str, why: str) -> None:
    policy = replace(Policy(DAEMONS, (Partition("main", ("all",)),)), **change)  # type: ignore[arg-type]
    found = weights(cluster(2), policy)
    assert (found.weight(name), found.unused[name]) == (0, why)
    assert (KEYS[name], "0", f"{name}: {why}") in settings(cluster(2), policy, "24.11")


def test_where_room_is_short_the_last_gives_way_first() -> None:
    qos = tuple(Qos(f"q{level}", priority=level) for level in (0, 1, 1000))
    policy = Policy(DAEMONS, (Partition("main", ("all",)),), qos)
    found = weights(cluster(1000), policy)
    by_name = {factor.name: factor for factor in found.factors}
    assert by_name["size"].step > by_name["size"].finest
    assert all(by_name[name].step == by_name[name].finest for name in ("qos", "age"))
    assert found.lost[-1] == "evenly spaced values of qos would leave room for finer steps"
    even = tuple(Qos(f"q{level}", priority=level) for level in (0, 1, 2))
    assert weights(cluster(1000), replace(policy, qos=even)).lost == ()


def test_tres_are_counted_and_decide_last() -> None:
    policy = Policy(
        replace(DAEMONS, settings={"priorityweighttres": "CPU=1000,Mem=0.5,GRES/gpu=2000"}),
        (Partition("main", ("all",)),),
        priority=Priority(("age", "size")),
    )
    found = weights(cluster(2), policy)
    assert found.tres == 3001
    assert found.weight("size") == (3001 + 2) * 4
    assert found.total == found.weight("size") + found.weight("age") + 3001


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("by", ["off", "qos", "partition"])
def test_settings_are_keys_that_the_release_knows(release: str, by: str) -> None:
    partitions = (Partition("a", ("all",), tier=2), Partition("b", ("all",), factor=2, preempt="suspend"))
    qos = (Qos("high", preempt=("normal",)), Qos("normal", mode="cancel"))
    policy = Policy(DAEMONS, partitions, qos, preempt=by, exempt_s=600)
    lines = settings(cluster(2), policy, release)
    found = {key: value for key, value, _ in lines}
    assert len(found) == len(lines)
    assert {key.lower() for key in found} <= set(known("slurm.conf", release))
    expected = {
        "off": (None, None, None),
        "qos": ("preempt/qos", "CANCEL", "00:10:00"),
        "partition": ("preempt/partition_prio", "SUSPEND,GANG", "00:10:00"),
    }
    keys = ("PreemptType", "PreemptMode", "PreemptExemptTime")
    assert tuple(map(found.get, keys)) == expected[by]


@given(
    st.lists(st.sampled_from(["", "off", "requeue", "cancel", "suspend"]), min_size=2, max_size=4),
    st.sampled_from(["qos", "partition"]),
)
def test_the_mode_of_the_cluster_is_one_that_slurm_takes(modes: list[str], by: str) -> None:
    partitions = tuple(
        Partition(f"p{tier}", ("all",), tier=tier, preempt=one) for tier, one in enumerate(modes)
    )
    qos = tuple(Qos(f"q{number}", mode=one.replace("off", "")) for number, one in enumerate(modes))
    found = mode(Policy(DAEMONS, partitions, qos, preempt=by))
    assert all(not mode_problem(found, release) for release in RELEASES)
    assert found.split(",")[0] != "OFF"
    assert ("GANG" in found) == ("suspend" in modes)
