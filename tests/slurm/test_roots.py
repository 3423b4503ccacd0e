"""Other releases of Slurm, from root folders, beside the native one."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctools.errors import HpctoolsError, InvalidInput, NotFound
from hpctools.sandbox import cluster, processes, releases, roots
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.spec import Spec

pytestmark = pytest.mark.native


@pytest.fixture(params=list(roots.SUITES))
def other(request: pytest.FixtureRequest, slurm_programs: None) -> Iterator[Sandbox]:
    """A small cluster of another release."""
    try:
        roots.install(request.param, lambda text: None)
    except HpctoolsError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no root of Slurm {request.param}: {error}")
    name = f"r{secrets.token_hex(4)}"
    cluster.up(Spec(name=name, nodes=2, gpus_per_node=2, slurm=request.param), lambda text: None)
    yield cluster.load(name)
    cluster.down(name, purge=True)
    assert not Places(name).shared.exists()


def test_a_release_runs_beside_the_native_one(other: Sandbox, sandbox: Sandbox) -> None:
    """Its own daemons, Python and hpctools; the machine's temporary folder, checkout and users."""
    assert other.release.startswith(f"{other.spec.slurm}.")
    assert other.release != sandbox.release
    for each in (other, sandbox):
        assert cluster.command(each, ["srun", "--version"]).stdout.split() == ["slurm-wlm", each.release]
    shown = [
        "srun",
        "--nodes=2",
        "--gpus-per-node=2",
        "sh",
        "-c",
        "echo $CUDA_VISIBLE_DEVICES; hpctools --version",
    ]
    lines = cluster.command(other, shown).check().splitlines()
    assert sorted(lines)[:2] == ["0,1", "0,1"]
    assert [line for line in lines if "hpctools, version" in line]
    inside = cluster.command(
        other, ["python3", "-c", f"import sys, hpctools; print(sys.version.split()[0]); open({__file__!r})"]
    )
    assert inside.check().strip() == roots.existing(str(other.spec.slurm)).python
    for program in roots.ADDED.get(str(other.spec.slurm), ("", ()))[1][:1]:
        assert program in cluster.command(other, [program, "--version"]).check()


def test_commands_from_outside_are_sent_inside(other: Sandbox) -> None:
    name = other.spec.name
    asked = [sys.executable, "-m", "hpctools", "sandbox", "env", "--name", name]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"hpctools sandbox run --name {name} -- COMMAND" in done.stderr
    with pytest.raises(HpctoolsError, match=f"the sandbox {name} uses it"):
        releases.remove(str(other.spec.slurm))


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(InvalidInput, match=r"24\.11 or 26\.05"):
        roots.existing("99.99")
    with pytest.raises(InvalidInput, match=r"no suite here has 99\.99"):
        roots.install("99.99", lambda text: None)
    assert roots.remove("99.99") is False


def test_an_install_that_was_killed_leaves_nothing_and_goes_on(
    slurm_programs: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KILL in the middle: no mount and, after the next call, no process or half root."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a root folder")
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    words = [sys.executable, "-m", "hpctools", "sandbox", "install", "--slurm", "24.11"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as install:
        partial = roots.home() / "24.11" / "partial"
        assert processes.wait_until(lambda: (partial / "debootstrap").exists(), 60)
        time.sleep(1)
        install.kill()
    assert str(cache) not in Path("/proc/self/mounts").read_text()
    with pytest.raises(NotFound):
        roots.existing("24.11")
    assert roots.remove("24.11") is True
    belongs = processes.of_sandbox(str(roots.home() / "24.11"), "", "none", ())
    assert processes.scan(belongs) == []
    assert not partial.exists()
