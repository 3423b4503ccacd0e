"""`hpctools inventory discover` and `merge`: what they print, and with what they end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hpctools.cli.inventory_discover import discover, merge_
from hpctools.errors import InvalidInput
from hpctools.inventory import read, report
from tests.inventory.boxes import report_of


def run(command: click.Command, *words: str) -> Result:
    """The result of a command; what main() would turn into messages is raised."""
    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What sixteen nodes reported, one of which has lost a GPU."""
    like = report_of("dgx-h100", tmp_path / "h100")
    made = tmp_path / "found"
    made.mkdir()
    for number in range(1, 17):
        gpus = like.gpus[:7] if number == 12 else like.gpus
        one = replace(like, host=f"gpu{number:02}", gpus=gpus)
        (made / one.host).write_text(json.dumps(one.to_dict()))
    return made


LACK = "gpu12: GPUs: 7 h100, and 8 h100 on the others"


def test_discover_prints_the_report_of_this_node() -> None:
    told = report.parse(run(discover).stdout)
    assert told.memory_mb > 0


def test_discover_prints_an_inventory_of_this_node() -> None:
    text = run(discover, "--yaml", "--cluster", "alpha").stdout
    found = read.inventory(text.encode(), "inventory.yaml")
    assert (found.cluster, len(found.hosts)) == ("alpha", 1)


def test_merge_prints_an_inventory_and_says_what_is_odd(folder: Path) -> None:
    result = run(merge_, str(folder), "--cluster", "alpha")
    found = read.inventory(result.stdout.encode(), "inventory.yaml")
    assert (found.cluster, len(found.types), len(found.hosts)) == ("alpha", 1, 16)
    assert f"hpctools: {LACK}\n" in result.stderr
    assert result.return_value == 0


def test_merge_writes_a_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "inventory.yaml"
    result = run(merge_, str(folder), "--out", str(out))
    assert result.stdout == ""
    assert f"{out}: 16 hosts of 1 type, 128 GPUs\n" in result.stderr
    assert out.read_text() == run(merge_, str(folder)).stdout


def test_strict_ends_with_1_where_a_host_is_odd(folder: Path) -> None:
    assert run(merge_, str(folder), "--strict").return_value == 1
    (folder / "gpu12").unlink()
    result = run(merge_, str(folder), "--strict")
    assert (result.return_value, result.stderr) == (0, "")


def test_json_names_types_hosts_and_outliers(folder: Path) -> None:
    told = json.loads(run(merge_, str(folder), "--json").stdout)
    (name,) = told["node_types"]
    assert told["hosts"]["gpu12"] == name
    assert told["outliers"] == [
        {"host": "gpu12", "what": "GPUs", "expected": "8 h100", "found": "7 h100"},
    ]
    assert told["remarks"] == [
        {"host": "gpu12", "text": "the driver has 7 of 8 GPUs on the PCI bus"},
    ]


def test_there_is_no_inventory_of_half_the_nodes(folder: Path, tmp_path: Path) -> None:
    (folder / "gpu03").write_text("")
    (folder / "gpu04").write_text("Permission denied\n")
    out = tmp_path / "inventory.yaml"
    with pytest.raises(InvalidInput) as caught:
        run(merge_, str(folder), "--out", str(out))
    assert [Path(problem.where).name for problem in caught.value.problems] == ["gpu03", "gpu04"]
    assert not out.exists()


def test_a_name_that_no_cluster_can_have_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="cluster"):
        run(merge_, str(folder), "--cluster", "A b")
