"""`hpctools conf render`: what it prints and writes."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpctools.cli.conf_render import render
from hpctools.errors import InvalidInput

SITE = Path(__file__).parents[2] / "examples" / "site"
FILES = (
    "--inventory",
    str(SITE / "inventory.yaml"),
    "--policy",
    str(SITE / "policy.yaml"),
    "--slurm",
    "24.11",
)


def run(*words: str) -> Result:
    """The result of the command; what main() would turn into messages is raised."""
    result = CliRunner().invoke(render, words, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_without_a_folder_the_files_are_printed() -> None:
    out = run(*FILES).stdout
    names = re.findall(r"^==> (.*) <==$", out, re.MULTILINE)
    assert names[:4] == ["slurm.conf", "nodes.conf", "partitions.conf", "gres.conf"]
    assert "\nClusterName=alpha\n" in out


def test_with_a_folder_they_are_written_and_their_paths_printed(tmp_path: Path) -> None:
    out = run(*FILES, "--out", str(tmp_path / "new")).stdout
    assert sorted(out.splitlines()) == sorted(map(str, (tmp_path / "new").iterdir()))


def test_json_holds_each_file_with_its_mode(tmp_path: Path) -> None:
    found = json.loads(run(*FILES, "--out", str(tmp_path), "--json").stdout)
    assert found["release"] == "24.11"
    assert sorted(found["written"]) == sorted(str(path) for path in tmp_path.iterdir())
    for one in found["files"]:
        path = tmp_path / one["name"]
        assert path.read_text() == one["text"]
        assert stat.S_IMODE(path.stat().st_mode) == int(one["mode"], 8)


def test_mistakes_of_both_files_are_told_at_once(tmp_path: Path) -> None:
    inventory, policy = tmp_path / "i.yaml", tmp_path / "p.yaml"
    inventory.write_text("cluster: alpha\nnode_types: {a: {sockets: 1, cores_per_socket: 1}}\nnodes: []\n")
    policy.write_text("slurm: {controllers: c}\npartition: {}\n")
    with pytest.raises(InvalidInput) as caught:
        run("--inventory", str(inventory), "--policy", str(policy), "--slurm", "24.11")
    assert {one.where.rpartition(":")[0] for one in caught.value.problems} == {str(inventory), str(policy)}


def test_a_release_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no release that hpctools knows"):
        run(*FILES[:-1], "21.08")
