"""What submit says of a job's image: what it lacks, what it sets; never a reason to refuse."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctools.errors import CommandTimeout
from hpctools.images import Image, checking
from hpctools.jobs import image_lint, submission
from tests.jobs.test_containers import in_image
from tests.jobs.test_submission import Cluster

# Takes the place of Apptainer: notes each start, and answers as inside.py does in an image.
APPTAINER = """\
#!{python}
import sys
with open({seen!r}, "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
sys.stdin.read()
print({answer!r})
"""
NOTHING: dict[str, Any] = {"libraries": {}, "providers": [], "bundled": ["torch/lib/libtorch_cuda.so"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (tmp_path / "bin").mkdir()
    return tmp_path


def apptainer(folder: Path, answer: str) -> None:
    program = folder / "bin" / "apptainer"
    program.write_text(APPTAINER.format(python=sys.executable, seen=str(folder / "seen"), answer=answer))
    program.chmod(0o755)


def of_image(**sets: str) -> str:
    return json.dumps({**NOTHING, "python": [3, 11, 2], "environment": sets})


def seen(folder: Path) -> list[str]:
    return (folder / "seen").read_text().splitlines() if (folder / "seen").exists() else []


def remarks(folder: Path, said: list[str] | None = None, **values: Any) -> tuple[str, ...]:
    asked = in_image(folder, "  images: {}\nfabric: infiniband\n", **values)
    plan = submission.plan(asked, Cluster(), said.append if said is not None else lambda _: None, environ={})
    return tuple(one for one in plan.remarks if "image x.sif" in one)


def test_what_an_image_lacks_and_sets_is_said_by_one_look(folder: Path) -> None:
    apptainer(folder, of_image(NCCL_IB_DISABLE="1", NCCL_P2P_DISABLE="1"))
    said: list[str] = []
    found = remarks(folder, said, nodes=2, env={"NCCL_P2P_DISABLE": "0"})
    assert found[0].startswith("the image x.sif: libibverbs.so.1: not in the image; NCCL has no other way")
    assert found[1].startswith("NCCL_IB_DISABLE=1 (from the image x.sif) turns InfiniBand and RoCE off")
    assert len(found) == 2  # --env wins over the image's NCCL_P2P_DISABLE
    assert said == [f"looking into {folder}/x.sif, once"]
    assert remarks(folder, said, nodes=2, env={"NCCL_P2P_DISABLE": "0"}) == found
    assert len(said) == len(seen(folder)) == 1  # kept for the digest
    assert "--contain" in seen(folder)[0].split()  # the home folder is not for whoever made the image


def test_of_the_network_nothing_is_said_on_one_node(folder: Path) -> None:
    apptainer(folder, of_image(NCCL_IB_DISABLE="1"))
    assert remarks(folder, nodes=1) == ()


@pytest.mark.parametrize("answer", ["", "no JSON", '{"python": 3}'])
def test_an_image_that_answers_nothing_is_a_remark(folder: Path, answer: str) -> None:
    apptainer(folder, answer)
    (said,) = remarks(folder, nodes=2)
    assert "its python3 answered" in said


def test_nothing_is_said_where_this_host_cannot_look(folder: Path) -> None:
    assert remarks(folder, nodes=2) == ()  # no Apptainer here: the nodes may have it
    asked = in_image(folder, "  runtime: pyxis\n  images: {}\n", image="docker://registry.example.org/x:1")
    assert image_lint.remarks(asked.spec, asked.site, 8, pytest.fail) == ()


def test_an_image_that_takes_too_long_is_tried_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apptainer(folder, of_image())
    limits: list[float] = []

    def late(*given: Any) -> None:
        limits.append(given[-1])
        raise CommandTimeout(("apptainer",), -9, "")

    with monkeypatch.context() as patch:
        patch.setattr(checking, "_run", late)
        assert remarks(folder, nodes=2) == remarks(folder, nodes=2) == ()
    assert limits == [checking._GLANCE_S]
    asked = in_image(folder, "  images: {}\n").spec.container
    assert asked is not None
    found = Image(Path(asked.path), "x.sif", "x.sif", asked.sha256, 0)
    assert checking.look(found).python == (3, 11, 2)  # who waits learns it
    assert len(remarks(folder, nodes=2)) == 1  # and then submit has it, too


def test_a_cache_that_cannot_be_used_only_costs_time(folder: Path) -> None:
    apptainer(folder, of_image())
    (folder / "cache").write_text("no folder")
    found = remarks(folder, nodes=2)
    assert found == remarks(folder, nodes=2)
    assert len(found) == 1
    assert len(seen(folder)) == 2


def test_a_job_without_an_image_looks_into_none(folder: Path) -> None:
    apptainer(folder, of_image())
    asked = in_image(folder, image=None)
    submission.plan(asked, Cluster(), environ={})
    assert seen(folder) == []
    assert not os.path.exists(folder / "cache")
