"""`hpctools site`, as far as it needs no cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpctools import cli
from hpctools.jobs.site import PACKAGED


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["site", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_sites_that_come_with_it_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert "aws-p5-efa       AWS p5 (H100) on EFA, Pyxis, FSx for Lustre\n" in out
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert {one["name"] for one in listed} == {path.stem for path in PACKAGED.glob("*.yaml")}
    assert all(one["description"] and Path(one["path"]).is_file() for one in listed)


def test_a_site_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "show", "tcp") == (0, (PACKAGED / "tcp.yaml").read_text(), "")


def test_a_site_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", "tpc")
    assert (status, out) == (2, "")
    assert "--site: there is no packaged site 'tpc' (did you mean tcp?)" in err


def test_a_file_that_is_there_is_not_overwritten_and_nobody_is_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "none"))  # asked, Slurm's commands would wait for it
    path = tmp_path / "site.yaml"
    path.write_text("mine")
    status, _, err = run(capsys, "init", "-o", str(path))
    assert status == 2
    assert err == f"hpctools: {path}: exists; nothing was written (--force replaces it)\n"
    assert path.read_text() == "mine"
