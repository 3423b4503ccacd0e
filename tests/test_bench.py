"""The benchmark of submitting: that it starts, and reads right what the tools print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.timing import CannotRun, job_id

SCRIPT = Path(__file__).parent / "bench" / "submit.py"


def test_the_benchmark_says_how_it_is_used() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "--rounds" in done.stdout


@pytest.mark.parametrize("printed", ["Submitted batch job 47\n\n47\n", "47\n", "slurm://torchx/47\n"])
def test_a_job_is_known_by_what_each_tool_prints(printed: str) -> None:
    assert job_id(printed) == "47"


def test_a_tool_that_names_no_job_has_not_submitted_one() -> None:
    with pytest.raises(CannotRun, match="no job"):
        job_id("done\n")
