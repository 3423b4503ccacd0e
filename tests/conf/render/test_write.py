"""Files in a folder: their modes, and what may be written over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hpctools.conf.rendering import render, write
from hpctools.errors import InvalidInput
from tests.conf.render.clusters import ACCOUNTED, PLAIN, example, homogeneous, nvl72


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_secrets_are_private_and_scripts_can_be_run(tmp_path: Path) -> None:
    written = write(render(*example(), "24.11"), tmp_path / "new")
    found = modes(tmp_path / "new")
    assert sorted(map(Path, written)) == sorted((tmp_path / "new").iterdir())
    assert found.pop("slurmdbd.conf") == 0o600
    assert {name for name, mode in found.items() if mode == 0o755} == {
        "prolog.sh",
        "epilog.sh",
        "health-check.sh",
    }
    assert set(found.values()) == {0o755, 0o644}


def test_the_same_input_gives_the_same_bytes() -> None:
    assert render(*example(), "24.11") == render(*example(), "24.11")


def test_what_is_made_no_more_goes(tmp_path: Path) -> None:
    write(render(nvl72(2), ACCOUNTED, "24.11"), tmp_path)
    (tmp_path / "mine.conf").write_text("# of the site\n")
    write(render(homogeneous(1), PLAIN, "24.11"), tmp_path)
    names = set(modes(tmp_path))
    assert not names & {"topology.conf", "slurmdbd.conf", "job_container.conf"}
    assert {"slurm.conf", "gres.conf", "mine.conf"} <= names


def test_a_file_of_the_site_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "gres.conf").write_text("AutoDetect=nvml\n")
    with pytest.raises(InvalidInput, match="gres.conf: is there, and was not made by hpctools"):
        write(render(homogeneous(1), PLAIN, "24.11"), tmp_path)
    assert modes(tmp_path).keys() == {"gres.conf"}


def test_a_file_of_the_site_that_is_not_made_is_not_removed(tmp_path: Path) -> None:
    write(render(homogeneous(1), PLAIN, "24.11"), tmp_path)
    (tmp_path / "topology.conf").write_text("SwitchName=s Nodes=gpu1\n")
    write(render(homogeneous(1), PLAIN, "24.11"), tmp_path)
    assert (tmp_path / "topology.conf").exists()
