"""The tools that read the code find nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def report(*words: str | Path) -> str:
    """What a tool says when it finds something; empty when it does not."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("tool", [["ruff", "check", "--quiet"], ["mypy"]], ids=lambda tool: tool[0])
def test_a_tool_of_python_finds_nothing(tool: list[str]) -> None:
    if find_spec(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    assert report(sys.executable, "-m", *tool) == ""


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    every = sorted((ROOT / "scripts").iterdir())
    scripts = [path for path in every if path.read_text().partition("\n")[0].endswith("sh")]
    assert report(shellcheck, *scripts, ROOT / ".ci" / "run") == ""
    of_nodes = ROOT / "slurm_conf" / "scripts"
    assert report(shellcheck, "-x", "-P", of_nodes, *sorted(of_nodes.glob("*.sh"))) == ""
