"""The database knows the QOS and accounts that the files name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpctools.conf.verify import database
from hpctools.process import Completed
from tests.conf.verify.grounds import candidate

SLURM = """\
ClusterName=Prod
PartitionName=DEFAULT AllowQOS=ALL
PartitionName=a Nodes=n1 AllowQOS=high,Normal QOS=part_a DenyAccounts=ALL
PartitionName=b Nodes=n1 DenyQOS=low,high AllowAccounts=chem,root
"""


def contents(folder: Path, text: str) -> database.Contents:
    return database.contents(candidate(folder, slurm_conf=text).confs["slurm.conf"])


def test_what_partitions_name_is_there(tmp_path: Path) -> None:
    wanted = contents(tmp_path, SLURM)
    assert wanted == database.Contents("prod", ("part_a", "high", "normal", "low"), ("chem", "root"))
    assert [" ".join(words) for words in database.commands(wanted, "me")] == [
        "add cluster prod",
        "add qos part_a,high,low",
        "add account hpctools,chem Cluster=prod QOS=normal,part_a,high,low",
        "add user me Account=hpctools,chem DefaultAccount=hpctools Cluster=prod",
    ]


def test_what_can_be_no_name_is_no_word_for_sacctmgr(tmp_path: Path) -> None:
    assert contents(tmp_path, 'PartitionName=a Nodes=n1 AllowQOS="a b,-x=y,ok"\n').qos == ("ok",)


def test_a_cluster_that_can_have_no_name_is_left_to_slurmctld(tmp_path: Path) -> None:
    wanted = contents(tmp_path, "ClusterName=--help\n")
    assert list(database.commands(wanted, "me")) == []


def test_only_a_refusal_is_told() -> None:
    answers = iter([(0, ""), (1, " Nothing new added.\n"), (1, "sacctmgr: error: no\n")])

    def sacctmgr(words: Sequence[str]) -> Completed:
        status, said = next(answers)
        return Completed(tuple(words), status, "", said)

    wanted = database.Contents("c", (), ())
    assert [why for _, why in database.fill(sacctmgr, wanted, "me")] == ["sacctmgr: error: no"]
