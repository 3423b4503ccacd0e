"""Which of two described jobs goes first, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.cli.conf_explain import explain as command
from hpctools.conf.arithmetic import explain, first
from hpctools.conf.described import job
from hpctools.conf.policy import Policy
from hpctools.conf.policy_read import policy
from hpctools.conf.priority import weights
from hpctools.errors import InvalidInput
from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory

INVENTORY = """\
cluster: alpha
node_types:
  gpu: {sockets: 1, cores_per_socket: 10, memory: 64G, gpus: {type: h100, count: 4}, reserved: {cores: 2}}
  cpu: {sockets: 1, cores_per_socket: 16, memory: 64G}
nodes: [{hosts: "g[1-6]", type: gpu}, {hosts: "c[1-2]", type: cpu}]
"""
POLICY = """\
slurm: {controllers: head, database: {host: db}}
partitions:
  main: {nodes: all, tier: 10, default: true}
  quick: {nodes: gpu, tier: 10, factor: 4}
  urgent: {nodes: gpu, tier: 20, allow_qos: [high]}
  house: {nodes: cpu, tier: 20, allow_accounts: [ml]}
qos: {normal: {priority: 10}, high: {priority: 20}, spare: }
priority: {order: [qos, partition, fairshare, age, size, assoc], max_age: 10-0}
accounts:
  ml: {qos: [normal, high], default_qos: normal, Priority: 6, users: {ada: {Priority: 8}, lin: }}
  bio: {users: [eve]}
"""


def site(change: str = "") -> tuple[Inventory, Policy]:
    return inventory(INVENTORY.encode(), "i.yaml"), policy((POLICY + change).encode(), "p.yaml")


def terms(text: str) -> dict[str, float]:
    facts, choices = site()
    found = explain(job(text, facts, choices), facts, choices, weights(facts, choices))
    return {term.name: term.factor for term in found.terms}


def compared(one: str, two: str, change: str = "") -> tuple[int, str]:
    facts, choices = site(change)
    found = weights(facts, choices)
    made = [explain(job(text, facts, choices), facts, choices, found) for text in (one, two)]
    number, why = first(made[0], made[1], choices, found, facts)
    other, _ = first(made[1], made[0], choices, found, facts)
    assert other == (0, 2, 1)[number], "whoever is named first"
    return number, "; ".join(why)


@pytest.mark.parametrize(
    ("text", "name", "factor"),
    [
        ("qos=high", "qos", 1.0),
        ("qos=normal", "qos", 0.5),
        ("account=ml", "qos", 0.5),
        ("partition=main", "partition", 0.25),
        ("partition=quick", "partition", 1.0),
        ("fairshare=0.25", "fairshare", 0.25),
        ("age=1d", "age", 0.1),
        ("age=12:00:00", "age", 0.05),
        ("age=90d", "age", 1.0),
        # Of 8 nodes and 80 CPUs: those of the system are nobody's.
        ("nodes=2,cpus=16", "size", (2 / 8 + 16 / 80) / 2),
        ("gpus=9", "size", (3 / 8 + 3 / 80) / 2),
        ("account=ml,user=ada", "assoc", 1.0),
        ("account=ml,user=lin", "assoc", 0.75),
        ("account=bio,user=eve", "assoc", 0.0),
    ],
)
def test_factors_are_slurms(text: str, name: str, factor: float) -> None:
    assert terms(text)[name] == factor


@pytest.mark.parametrize(
    ("one", "two", "number", "why"),
    [
        ("qos=high", "qos=normal,partition=quick,age=10d,nodes=8", 1, "qos decides"),
        ("partition=main,age=10d", "partition=quick,fairshare=0", 2, "partition decides"),
        ("fairshare=0.5,age=10d", "fairshare=0.6", 2, "fairshare decides"),
        ("age=2h", "age=1h,nodes=8", 1, "age decides, the first in the order that differs"),
        ("age=10s,nodes=1", "age=1s,nodes=8", 2, "age alone would have it the other way round"),
        ("partition=urgent,qos=high,nice=2000000000", "qos=high,age=9d", 1, "the tier of urgent is 20"),
        ("qos=normal", "qos=normal", 0, "the one submitted first"),
        ("nice=100", "nice=0", 2, "nice makes the difference, +100"),
        ("partition=quick", "account=ml,partition=house", 2, "share no node"),
    ],
)
def test_who_goes_first_and_why(one: str, two: str, number: int, why: str) -> None:
    found, said = compared(one, two)
    assert found == number
    assert why in said


def test_who_may_preempt_goes_first_whatever_the_tier() -> None:
    change = "preempt: qos\n"
    text = POLICY.replace("high: {priority: 20}", "high: {priority: 20, preempt: [normal]}")
    facts, choices = inventory(INVENTORY.encode(), "i.yaml"), policy((text + change).encode(), "p.yaml")
    found = weights(facts, choices)
    low, high = (
        explain(job(words, facts, choices), facts, choices, found)
        for words in ("partition=house,account=ml", "qos=high")
    )
    assert low.tier > high.tier
    number, why = first(low, high, choices, found, facts)
    assert number == 2
    assert why[0] == "QOS high preempts normal, which counts before tiers and priorities"


def test_a_priority_is_never_below_1_or_above_32_bits() -> None:
    facts, choices = site()
    found = weights(facts, choices)
    made = [
        explain(job(f"nice={nice}", facts, choices), facts, choices, found) for nice in (2**31 - 3, 3 - 2**31)
    ]
    assert [one.priority > 0 for one in made] == [True, True]
    assert made[0].priority == 1
    assert made[1].priority <= 2**32 - 1


def test_all_mistakes_of_a_description_are_told() -> None:
    with pytest.raises(InvalidInput) as raised:
        job("partition=urgent,qos=normal,account=x,age=soon,nodes=0,nice=a,b,fairshare=2", *site(), "--job 1")
    assert [str(problem) for problem in raised.value.problems] == [
        "--job 1: 'b' is no KEY=VALUE of a job (known are partition, qos, account, user, fairshare, age,"
        " nodes, cpus, gpus, nice)",
        "--job 1: no account x (known are ml, bio)",
        "--job 1: partition urgent takes no QOS normal (it takes high)",
        "--job 1: fairshare=2 cannot be read (the FairShare of sshare, from 0 to 1)",
        "--job 1: nodes=0 cannot be read (1 or more)",
        "--job 1: age=soon cannot be read (2h, 3d or 1-12:00:00)",
        "--job 1: nice=a cannot be read (a whole number, perhaps negative)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partition=gone", "no partition gone"),
        ("qos=gone", "no QOS gone"),
        ("account=ml,qos=spare", "account ml may not use QOS spare"),
        ("account=ml,user=eve", "account ml has no user eve"),
        ("partition=house,account=bio", "partition house takes no account bio"),
        ("age=1d,age=2d", "'age=2d' is no KEY=VALUE"),
    ],
)
def test_what_slurm_would_refuse_is_told(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        job(text, *site())


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=30)
    | st.lists(
        st.builds(
            "{}={}".format,
            st.sampled_from(["nodes", "age", "nice", "fairshare", "qos", "gpus"]),
            st.sampled_from(["1", "0", "-1", "9" * 400, "nan", "inf", "1e9", "0x1", "٣", "", "1:", "-"]),
        ),
        max_size=4,
    ).map(",".join)
)
def test_any_text_is_a_job_or_mistakes(text: str) -> None:
    facts, choices = site()
    try:
        found = job(text, facts, choices)
    except InvalidInput:
        return
    explained = explain(found, facts, choices, weights(facts, choices))
    assert 1 <= explained.priority <= 2**32 - 1


# --- the command ----------------------------------------------------------------------------------
@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    (tmp_path / "i.yaml").write_text(INVENTORY)
    (tmp_path / "p.yaml").write_text(POLICY)
    return ["--inventory", str(tmp_path / "i.yaml"), "--policy", str(tmp_path / "p.yaml"), "--slurm", "24.11"]


def test_the_command_shows_the_arithmetic(options: list[str]) -> None:
    jobs = ["--job", "qos=high,nodes=2", "--job", "partition=quick,age=3d"]
    result = CliRunner().invoke(command, [*options, *jobs], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:7]] == "FACTOR qos partition fairshare age size assoc".split()
    assert "job 1 goes first" in lines
    assert "backfill" in result.stderr
    # Each row of a job's terms adds up to its priority.
    rows = [line.split() for line in lines[8:15]]
    assert [row[0] for row in rows] == "TERM age assoc fairshare size partition qos".split()
    priority = next(line.split() for line in lines if line.startswith("priority"))
    for column, total in ((1, priority[1]), (3, priority[2])):
        points = sum(int(row[column].replace(",", "")) for row in rows[1:])
        assert abs(points - int(total.replace(",", ""))) <= 3


def test_json_is_whole(options: list[str]) -> None:
    jobs = ["--job", "qos=high", "--job", "partition=urgent,qos=high"]
    result = CliRunner().invoke(command, [*options, *jobs, "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["first"] == 2
    assert [one["factor"] for one in found["weights"]] == "qos partition fairshare age size assoc".split()
    assert all(one["step_points"] > one["later_points"] for one in found["weights"])
    assert found["settings"]["PriorityWeightQOS"] == str(found["weights"][0]["weight"])
    assert found["total"] == sum(one["weight"] for one in found["weights"])
    assert [one["tier"] for one in found["jobs"]] == [10, 20]


def test_mistakes_of_both_files_and_jobs_are_told(options: list[str], tmp_path: Path) -> None:
    runner = CliRunner()
    with pytest.raises(InvalidInput, match="two are compared"):
        runner.invoke(command, [*options, *["--job", "qos=high"] * 3], catch_exceptions=False)
    with pytest.raises(InvalidInput, match=r"(?s)--job 1: no QOS x.*--job 2: no QOS y"):
        runner.invoke(command, [*options, "--job", "qos=x", "--job", "qos=y"], catch_exceptions=False)
    (tmp_path / "i.yaml").write_text("cluster: A")
    (tmp_path / "p.yaml").write_text("slurm: {}")
    with pytest.raises(InvalidInput, match=r"(?s)i\.yaml:1: .*p\.yaml:1: "):
        runner.invoke(command, options, catch_exceptions=False)
