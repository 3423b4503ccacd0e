"""What the records of a check's nodes mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.jobs.containers import Containers
from hpctools.jobs.fabric import Fabric
from hpctools.site import node, verdicts
from hpctools.site.verdicts import BAD, NOT_CHECKED, OK, WARNING, Answer, Check
from tests.site import trees


def gathered(*answers: Answer) -> list[Check]:
    return list(verdicts.gathered(answers, "gpu"))


def test_what_all_nodes_say_is_said_once() -> None:
    assert gathered(Answer("n1", "python", OK, "3.11"), Answer("n2", "python", OK, "3.11")) == [
        Check("python", OK, "3.11", "gpu")
    ]


def test_what_some_nodes_say_is_said_with_their_names_and_the_worst_counts() -> None:
    (found,) = gathered(
        Answer("n1", "bind", OK, "/a is there"),
        Answer("n2", "bind", BAD, "/a is not there"),
        Answer("n3", "bind", BAD, "/a is not there"),
    )
    assert found == Check("bind", BAD, "n2,n3: /a is not there", "gpu")


def test_many_different_answers_are_cut_and_counted() -> None:
    answers = [Answer(f"n{i}", "memory", OK, f"{i} GiB") for i in range(20)]
    (found,) = gathered(*answers)
    assert found.found.endswith("n7: 7 GiB; and 12 more")


def test_records_of_nodes_are_told_in_our_words() -> None:
    record = {
        "host": "n1",
        "checks": [
            {"name": "gpus", "verdict": "skipped", "found": "no nvidia-smi", "expected": ""},
            {"name": "memlock", "verdict": "bad", "found": "64 KiB", "expected": "unlimited"},
            {"name": "program", "verdict": "ok", "found": "true is there", "expected": ""},
        ],
    }
    assert list(verdicts.of_nodes([record], left_out=("program",))) == [
        Answer("n1", "gpus", NOT_CHECKED, "no nvidia-smi"),
        Answer("n1", "memlock", BAD, "64 KiB (should be unlimited)"),
    ]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Fabric("infiniband"), (OK, "infiniband (mlx5_0, mlx5_3)")),
        (Fabric("roce"), (BAD, "the file says roce; the node has infiniband (mlx5_0, mlx5_3)")),
        (Fabric("tcp"), (WARNING, "the file says tcp; the node has infiniband (mlx5_0, mlx5_3)")),
        (Fabric(), (WARNING, "the file names none; the node has infiniband (mlx5_0, mlx5_3)")),
    ],
)
def test_the_fabric_of_the_file_is_that_of_the_node(
    made: Fabric, expected: tuple[str, str], tmp_path: Path
) -> None:
    (found,) = verdicts.fabric(made, [node.of_facts(trees.facts(trees.h100(tmp_path)))])
    assert (found.verdict, found.found) == expected


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ("=eno1", [OK]),
        ("eno", [OK]),
        ("=eno", [BAD]),
        ("=ib0", [BAD]),
        ("eno1,hsn", [OK, BAD]),
        ("^docker", []),
        ("", []),
    ],
)
def test_interfaces_are_there_as_nccl_reads_their_names(
    interfaces: str, expected: list[str], tmp_path: Path
) -> None:
    found = node.of_facts(trees.facts(trees.h100(tmp_path)))
    answers = verdicts.fabric(Fabric("infiniband", interfaces=interfaces), [found])
    assert [one.verdict for one in answers if one.name == "interfaces"] == expected


def test_a_runtime_is_missed_only_where_there_are_images(tmp_path: Path) -> None:
    found = [node.of_facts(trees.facts(tmp_path, programs={"pyxis": "srun --container-image"}))]
    images = {"a": "/a.sif"}

    def verdict(runtime: str, names: dict[str, str]) -> list[str]:
        return [one.verdict for one in verdicts.containers(Containers(runtime, names), found)]

    assert verdict("apptainer", images) == [BAD]
    assert verdict("pyxis", images) == [OK]
    assert verdict("apptainer", {}) == []
    assert verdict("none", images) == []


@pytest.mark.parametrize(
    ("check", "fails"),
    [
        (Check("setup", BAD, ""), True),
        (Check("job", NOT_CHECKED, ""), True),
        (Check("all-reduce", NOT_CHECKED, ""), False),
        (Check("memory", WARNING, ""), False),
    ],
)
def test_a_site_is_proved_if_nothing_is_bad_and_a_job_has_looked(check: Check, fails: bool) -> None:
    assert check.fails is fails
