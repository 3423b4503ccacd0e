"""hpctools.preemption in one process, and as a job finds it without hpctools."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hpctools.preemption
from hpctools.jobs import run_files

HEAD = "import os, signal, sys; from hpctools import preemption; w = preemption.Watch();"
ME = "os.kill(os.getpid(), signal.{});"


def ranks(folder: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code with the helper as a job has it, where hpctools is not installed."""
    for name, source in run_files.COPIED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name)
    (folder / "attempt-0").mkdir(exist_ok=True)
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "python"), "HPCTOOLS_RUN": str(folder)}
    words = [sys.executable, "-S", "-c", code]  # -S: no site-packages
    return subprocess.run(
        words, env={**given, **env}, capture_output=True, text=True, timeout=120, cwd=folder
    )


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_warned_rank_leaves_with_the_status_for_start_me_again(tmp_path: Path, name: str) -> None:
    code = "print(w.should_leave()); " + ME.format(name) + "print(w.should_leave()); w.leave()"
    done = ranks(tmp_path, HEAD + code)
    assert (done.returncode, done.stdout) == (hpctools.preemption.CHECKPOINTED, "False\nTrue\n"), done.stderr


def test_ranks_ask_each_other(tmp_path: Path) -> None:
    code = (
        "w = preemption.Watch(agree=lambda warned: print('asked', warned) or True); print(w.should_leave())"
    )
    assert ranks(tmp_path, HEAD + code).stdout == "asked False\nTrue\n"


def test_a_handler_that_was_there_before_is_called_too(tmp_path: Path) -> None:
    code = "import os, signal; signal.signal(signal.SIGUSR1, lambda *_: print('before'));" + HEAD
    done = ranks(tmp_path, code + ME.format("SIGUSR1") + "print(w.should_leave())")
    assert done.stdout == "before\nTrue\n", done.stderr


def test_functions_of_atexit_run_when_it_leaves(tmp_path: Path) -> None:
    done = ranks(tmp_path, HEAD + "import atexit; atexit.register(print, 'bye'); w.leave()")
    assert (done.returncode, done.stdout) == (75, "bye\n")


def test_each_rank_of_mpirun_tells_of_its_own_checkpoint(tmp_path: Path) -> None:
    for rank in "01":
        ranks(tmp_path, HEAD + "\nwith w.saving(1): pass", SLURM_PROCID="0", OMPI_COMM_WORLD_RANK=rank)
    found = sorted(path.name for path in tmp_path.glob("attempt-0/checkpoint-*"))
    assert found == ["checkpoint-00000.json", "checkpoint-00001.json"]


def test_the_run_folder_learns_of_a_checkpoint_and_of_the_longest_one(tmp_path: Path) -> None:
    code = "\nimport time\nfor step, s in ((10, 1), (20, 0)):\n with w.saving(step):\n  time.sleep(s)\n"
    ranks(tmp_path, HEAD + code, RANK="3")
    mark = json.loads((tmp_path / "attempt-0" / "checkpoint-00003.json").read_text())
    assert (mark["rank"], mark["step"]) == (3, 20)
    assert mark["longest_s"] > mark["seconds"]


def test_a_checkpoint_that_failed_is_none(tmp_path: Path) -> None:
    done = ranks(tmp_path, HEAD + "\nwith w.saving(5):\n raise OSError('disk full')\n")
    assert "disk full" in done.stderr
    assert not list((tmp_path / "attempt-0").iterdir())


def test_giving_up_is_a_status_of_its_own(tmp_path: Path) -> None:
    done = ranks(tmp_path, HEAD + "preemption.give_up('loss is nan')")
    assert (done.returncode, done.stderr) == (93, "not to be started again: loss is nan\n")


def test_a_bad_node_is_named_in_the_run_folder(tmp_path: Path) -> None:
    ranks(tmp_path, HEAD + "preemption.bad_node('Xid 79')", SLURMD_NODENAME="n3")
    said = json.loads((tmp_path / "attempt-0" / "bad-n3.json").read_text())
    assert (said["node"], said["reason"]) == ("n3", "Xid 79")


def test_an_installed_hpctools_is_not_hidden_by_the_jobs_copy(tmp_path: Path) -> None:
    installed = tmp_path / "site" / "hpctools"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("__version__ = 'installed'")
    shutil.copy(hpctools.preemption.__file__, installed)
    code = "import hpctools, hpctools.preemption as p; print(hpctools.__version__, p.__file__)"
    path = f"{tmp_path / 'python'}:{tmp_path / 'site'}"
    assert ranks(tmp_path, code, PYTHONPATH=path).stdout == f"installed {installed}/preemption.py\n"


def test_it_does_not_need_a_job(tmp_path: Path) -> None:
    done = ranks(tmp_path, HEAD + "del os.environ['HPCTOOLS_RUN']\nwith w.saving(1): pass\nw.leave()")
    assert (done.returncode, done.stderr) == (75, "")


def test_handlers_are_kept_out_of_the_way_of_ctrl_c(tmp_path: Path) -> None:
    done = ranks(tmp_path, HEAD + "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
    assert done.stdout == "True\n"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL  # importing it changes nothing
