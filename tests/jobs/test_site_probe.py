"""What a node answers when it is asked for what a site's file says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hpctools.jobs.runtime import site_probe

PROGRAM = Path(site_probe.__file__)


def test_a_bind_is_there_or_not(tmp_path: Path) -> None:
    assert site_probe.bind(str(tmp_path))["verdict"] == "ok"
    assert site_probe.bind(str(tmp_path / "no"))["verdict"] == "bad"


def test_a_folder_is_there_and_scratch_can_be_written(tmp_path: Path) -> None:
    assert site_probe.folder("data", str(tmp_path))["found"] == f"{tmp_path} is there"
    assert site_probe.folder("scratch", str(tmp_path))["found"] == f"{tmp_path} can be written"
    assert list(tmp_path.iterdir()) == []
    assert site_probe.folder("data", str(tmp_path / "no"))["verdict"] == "bad"
    (tmp_path / "file").write_text("")
    assert site_probe.folder("data", str(tmp_path / "file"))["found"].endswith("is no folder")


def test_scratch_may_be_writable_in_the_users_own_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    made = os.open

    def refused(path: str, *rest: int) -> int:
        if os.path.dirname(path) == str(tmp_path):
            raise PermissionError(13, "Permission denied", path)
        return made(path, *rest)

    monkeypatch.setattr(os, "open", refused)
    assert site_probe.folder("scratch", str(tmp_path))["verdict"] == "bad"
    (tmp_path / "ada").mkdir()
    assert site_probe.folder("scratch", str(tmp_path))["found"] == f"{tmp_path}/ada can be written"


@pytest.mark.parametrize(
    ("body", "verdict", "said"),
    [
        ("echo INFO: starting; echo 3.11", "ok", "starts, with Python 3.11"),
        ("echo 3.6", "bad", "starts, with Python 3.6"),
        ("echo FATAL: no python3; exit 255", "bad", "exec ends with 255: FATAL: no python3"),
    ],
)
def test_an_image_starts_and_has_a_python_that_will_do(
    body: str, verdict: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apptainer").write_text(f"#!/bin/bash\n{body}\n")
    (tmp_path / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "x.sif").write_text("x")
    found = site_probe.image(str(tmp_path / "x.sif"), "apptainer", ["--no-privs"])
    assert found["verdict"] == verdict
    assert said in found["found"]


def test_an_image_that_is_not_there_is_bad_and_pyxis_images_are_only_read(tmp_path: Path) -> None:
    assert site_probe.image("/no/x.sif", "apptainer", [])["found"] == "/no/x.sif: No such file or directory"
    assert site_probe.image(str(tmp_path), "apptainer", [])["verdict"] == "bad"  # submit takes no folder
    (tmp_path / "x.sqsh").write_text("x")
    assert site_probe.image(str(tmp_path / "x.sqsh"), "pyxis", [])["found"].endswith("can be read")


def test_ports_that_are_taken_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_probe, "read", lambda path: "32768\t60999")
    with socket.socket() as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        assert site_probe.ports(port, port)["verdict"] == "bad"


def test_a_range_that_linux_takes_ports_from_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_probe, "read", lambda path: "20500\t60999")
    found = site_probe.ports(20000, 20500)
    assert found["verdict"] in ("warning", "bad")
    assert "20500-60999" in found["found"] or found["verdict"] == "bad"


def test_a_node_writes_what_it_found_beside_the_probe(tmp_path: Path) -> None:
    shutil.copy(PROGRAM, tmp_path / "probe.py")
    wanted = {"folders": {"data": "/"}, "binds": ["/no"], "images": [], "runtime": "", "options": []}
    (tmp_path / "look.json").write_text(json.dumps({**wanted, "ports": [20000, 20009]}))
    env = {"PATH": os.environ["PATH"], "SLURM_NODEID": "3", "SLURMD_NODENAME": "n4"}
    words = [sys.executable, "-I", "-S", str(tmp_path / "probe.py"), "look"]
    subprocess.run(words, check=True, env=env, timeout=60)
    found = json.loads((tmp_path / "look-003.json").read_text())
    assert {one["name"]: one["verdict"] for one in found["checks"] if one["name"] != "ports"} == {
        "python": "ok",
        "bind": "bad",
        "data": "ok",
    }
    assert (found["node"], found["facts"]["node"]) == (3, "n4")


def test_the_way_to_this_machine_is_found() -> None:
    assert site_probe.route("127.0.0.1") == ["lo", "127.0.0.1"]
    assert site_probe.route("no-such-name.invalid") == []
