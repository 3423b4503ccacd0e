"""What sacctmgr is told: words that hold nothing of a shell's, and GPUs bounded by type and in all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.accounts import COMMANDS, LOAD, bounded, files
from hpctools.conf.inputs import inputs
from hpctools.conf.policy_read import policy
from hpctools.conf.starting import POLICIES, policies
from hpctools.errors import InvalidInput
from hpctools.inventory.read import inventory
from hpctools.slurm import tres
from hpctools.slurm.releases import RELEASES

INVENTORY = b"""\
cluster: alpha
node_types:
  gpu: {sockets: 1, cores_per_socket: 8, memory: 64G, gpus: {type: h100, count: 2}}
  mig: {sockets: 1, cores_per_socket: 8, memory: 64G, gpus: {type: a100, count: 1, mig: {1g.5gb: 7}}}
nodes: [{hosts: n1, type: gpu}, {hosts: n2, type: mig}]
"""
POLICY = "slurm: {controllers: head, database: {host: db}}\npartitions: {main: {nodes: all}}\n"


def made(text: str, release: str = "24.11") -> dict[str, str]:
    return files(inventory(INVENTORY, "i.yaml"), policy((POLICY + text).encode(), "p.yaml"), release)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("gres/gpu:h100=4", "gres/gpu:h100=4,gres/gpu=4"),
        ("gres/gpu:h100=4,gres/gpu:a100=8,cpu=64", "gres/gpu:h100=4,gres/gpu:a100=8,cpu=64,gres/gpu=12"),
        ("gres/gpu=6,gres/gpu:h100=4", "gres/gpu=6,gres/gpu:h100=4"),
        ("gres/gpu=8", "gres/gpu=8"),
        ("cpu=8,mem=1T", "cpu=8,mem=1048576"),
    ],
)
def test_gpus_of_a_type_bound_those_of_no_type(limit: str, words: str) -> None:
    assert bounded(limit) == words


@given(
    st.dictionaries(
        st.sampled_from(["cpu", "gres/gpu", "gres/gpu:h100", "gres/gpu:a100"]),
        st.integers(0, 10**6),
        min_size=1,
    )
)
def test_what_was_limited_stays_limited(amounts: dict[str, int]) -> None:
    found = tres.parse(bounded(",".join(f"{name}={amount}" for name, amount in amounts.items())))
    assert amounts.items() <= found.items()
    assert ("gres/gpu" in found) == any(name.startswith("gres/gpu") for name in amounts)


def test_no_accounts_no_files() -> None:
    assert made("") == {}
    assert set(made("qos: {a: {priority: 1}}")) == {COMMANDS}
    assert set(made("accounts: {a: }")) == {LOAD, COMMANDS}


def test_qos_come_before_what_names_them() -> None:
    text = "qos: {a: {preempt: b}, b: {mode: cancel}}\naccounts: {x: {qos: [b, normal]}}\npreempt: qos\n"
    lines = made(text)[COMMANDS].splitlines()
    assert lines[0] == "add qos a,b"
    assert lines[1].startswith("modify qos where name=a set Priority=0 Preempt=b PreemptMode=cluster ")
    assert lines[2].startswith("modify qos where name=b set Priority=0 Preempt-=a PreemptMode=cancel ")
    assert lines[3:] == [
        f"load file={LOAD}",
        "modify account where name=x cluster=alpha set QOS=b,normal",
    ]


def test_a_parent_stands_before_its_children() -> None:
    text = "accounts: {top: {accounts: {mid: {accounts: {low: {users: [u]}}}}}, other: {users: [u, v]}}"
    lines = made(text)[LOAD].splitlines()
    known = {"root"}
    parent = ""
    for line in lines:
        kind, _, rest = line.partition(" - ")
        name = rest.split(":")[0].strip("'")
        if kind == "Parent":
            assert name in known
            parent = name
        elif kind == "Account":
            known.add(name)
        elif kind == "User":
            assert parent in known
    assert known == {"root", "top", "mid", "low", "other"}
    assert [line for line in lines if line.startswith("User - 'u'")] == [
        "User - 'u':DefaultAccount='low':Fairshare=1"
    ] * 2


@pytest.mark.parametrize("name", policies())
@pytest.mark.parametrize("release", RELEASES)
def test_a_command_is_words_and_a_line_has_no_end_of_its_own(name: str, release: str) -> None:
    facts, choices = inputs(str(POLICIES / "inventory.yaml"), str(POLICIES / f"{name}.yaml"))
    found = files(facts, choices, release)
    for line in found[COMMANDS].splitlines():
        assert all(re.fullmatch(r"[A-Za-z0-9_.,:/=+-]+", word) for word in line.split(" ")), line
        # MAX_INPUT_FIELDS of sacctmgr.
        assert len(line.split(" ")) < 128
    for line in found[LOAD].splitlines():
        assert line.startswith("#") or re.fullmatch(
            r"[A-Z][a-z]+ - '[a-z0-9_.-]+'(:[A-Za-z]+=('[^']*'|[0-9]+))*", line
        )


@pytest.mark.parametrize(
    ("text", "release", "message"),
    [
        ("qos: {a: {GrpTRES: {gres/gpu:h1000: 1}}}", "24.11", "no GPUs of type h1000.*a100_1g.5gb, h100"),
        (
            "accounts: {a: {MaxTRES: {gres/gpu:a100: 1}}}",
            "24.11",
            "account a: MaxTRES: there are no GPUs of type a100",
        ),
        ("accounts: {a: {users: {u: {MaxTRES: {gres/gpu:x: 1}}}}}", "24.11", "account a: user u"),
        ("qos: {a: {flags: Relative}}", "23.02", "Relative is new in 23.11"),
    ],
)
def test_what_the_cluster_has_not_is_told(text: str, release: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        made(text, release)


def test_mig_instances_are_gpus_of_a_type() -> None:
    assert (
        "GrpTRES=gres/gpu:a100_1g.5gb=7,gres/gpu=7"
        in made("qos: {a: {GrpTRES: {gres/gpu:a100_1g.5gb: 7}}}")[COMMANDS]
    )
