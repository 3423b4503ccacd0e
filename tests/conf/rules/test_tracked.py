"""AccountingStorageTRES and weights. What is fatal was told by slurmctld 22.05.8."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.rules.tracked import tres_weight
from hpctools.slurm.conf_text import parse
from tests.conf.rules.lines import say

NODES = "NodeName=gpu[1-2] CPUs=4"
ACCOUNTS = "AccountingStorageType=accounting_storage/slurmdbd"


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("gres/gpu", "tres-without-slurmdbd"),
        ("license/abc", "tres-without-slurmdbd"),
        ("fs/disk,CPU,Mem", ""),
        ("gpu", "unknown-tres"),
        ("gres:gpu", "unknown-tres"),
    ],
)
def test_what_may_be_tracked_without_slurmdbd(tmp_path: Path, value: str, rule: str) -> None:
    found = say(tmp_path, ["unknown-tres", "tres-without-slurmdbd"], f"AccountingStorageTRES={value}", NODES)
    assert [one.rule for one in found] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("weights", "is_fatal"),
    [
        ("CPU=1.0,Mem=.25G", False),
        ("cpu=Gfoo", False),
        ("cpu=1,", False),
        ("cpu", True),
        ("cpu=", True),
        ("cpu=abc", True),
        ('"cpu=1.0, mem=.25G"', True),
        ("gres/gpu=5", True),
        ("foo=1", True),
    ],
)
def test_weights_are_of_what_is_tracked(tmp_path: Path, weights: str, is_fatal: bool) -> None:
    partition = f"PartitionName=main Nodes=ALL TRESBillingWeights={weights}"
    assert bool(say(tmp_path, ["tres-weight"], NODES, partition)) is is_fatal


def test_priorities_have_weights_with_multifactor_only(tmp_path: Path) -> None:
    weight = "PriorityWeightTRES=gres/gpu=5"
    assert say(tmp_path, ["tres-weight"], weight, NODES)
    assert not say(tmp_path, ["tres-weight"], weight, "PriorityType=priority/basic", NODES)
    assert not say(tmp_path, ["tres-weight"], weight, NODES, release="22.05")


def test_what_slurm_adds_to_gpus_is_tracked_too(tmp_path: Path) -> None:
    lines = (ACCOUNTS, "AccountingStorageTRES=Gres/GPU", NODES)
    assert not say(tmp_path, ["tres-weight"], *lines, "PriorityWeightTRES=gres/gpuutil=5")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_weights_and_tres_are_judged(tres: str, weights: str) -> None:
    text = f'AccountingStorageTRES="{tres}"\nPartitionName=main TRESBillingWeights="{weights}"\n'
    file = parse(text.encode("utf-8", "surrogatepass"), "slurm.conf")
    conf = Conf("slurm.conf", file.lines, (file,))
    assert all(one.message for one in tres_weight(Candidate("26.05", {"slurm.conf": conf})))


def test_a_type_that_gres_conf_may_name_is_not_missed(tmp_path: Path) -> None:
    lines = (ACCOUNTS, "AccountingStorageTRES=gres/gpu,gres/gpu:h100")
    assert say(tmp_path, ["tres-of-no-node"], *lines, "NodeName=gpu1 Gres=gpu:a100:4")
    assert not say(tmp_path, ["tres-of-no-node"], *lines, "NodeName=gpu1 Gres=gpu:4")
    assert not say(tmp_path, ["tres-of-no-node"], *lines, "NodeName=gpu1 Gres=gpu:H100:4")
