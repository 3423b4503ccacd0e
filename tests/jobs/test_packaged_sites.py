"""The sites that come with hpctools: their files, and the jobs that come of them, as people have read them.

What cannot run where hpctools is tested (InfiniBand, RoCE, EFA, Pyxis) is compared as text; golden_scripts.py
writes it anew.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hpctools.jobs import env_lint, fabric
from hpctools.jobs.options import BY_NAME
from tests.jobs.golden_scripts import CASES, ENVIRON, GOLDEN, SITES, name, script
from tests.jobs.jobs_of import ask


@pytest.fixture(autouse=True)
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user whose folders stand in the scripts."""
    for variable, value in ENVIRON.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: name(*case))
def test_the_script_of_a_site_is_the_golden_one(case: tuple[str, str, str], tmp_path: Path) -> None:
    assert script(*case, tmp_path) == (GOLDEN / name(*case)).read_text()


def test_no_golden_script_is_of_nothing() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {name(*case) for case in CASES}


@pytest.mark.parametrize("launcher", BY_NAME["launcher"].choices)
@pytest.mark.parametrize("site", SITES)
def test_every_site_renders_for_every_launcher(site: str, launcher: str, tmp_path: Path) -> None:
    subprocess.run(["bash", "-n"], input=script(site, launcher, "", tmp_path).encode(), check=True)


@pytest.mark.parametrize("site", SITES)
def test_a_site_sets_nothing_that_does_harm(site: str, tmp_path: Path) -> None:
    asked = ask(tmp_path, {"site": site, "nodes": 2})
    assert list(env_lint.remarks(asked.spec, asked.site, {})) == []


def test_there_is_a_site_for_each_of_these_networks(tmp_path: Path) -> None:
    kinds = {site: ask(tmp_path, {"site": site}).site.fabric.kind for site in SITES}
    assert kinds == {
        "h100-infiniband": fabric.INFINIBAND,
        "a100-roce": fabric.ROCE,
        "aws-p5-efa": fabric.EFA,
        "tcp": fabric.TCP,
        "cpu": "",
    }


@pytest.mark.parametrize("site", SITES)
def test_a_site_is_complete(site: str, tmp_path: Path) -> None:
    found = ask(tmp_path, {"site": site}).site
    assert found.description
    assert {"partition", "time", "runs-dir"} <= found.defaults.keys()
    assert found.containers.images
    assert found.containers.binds
    assert "scratch" in found.variables
