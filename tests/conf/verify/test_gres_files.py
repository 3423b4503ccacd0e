"""Device files and AutoDetect."""

from __future__ import annotations

from pathlib import Path

from hpctools.conf.verify import rewrite
from hpctools.conf.verify.ground import Ground
from tests.conf.verify.grounds import GROUND, candidate, started

HEAD = "ClusterName=c\nSlurmctldHost=ctl\nGresTypes=gpu,mps\n"


def made(folder: Path, slurm: str, gres: str, ground: Ground) -> tuple[str, tuple[str, ...]]:
    """gres.conf as it is booted, and the device files that are made."""
    found = rewrite.rewrite(candidate(folder, slurm_conf=HEAD + slurm, gres_conf=gres), ground)
    return found.files["gres.conf"].decode(), found.devices


def test_without_nodes_gres_conf_is_the_candidates_own(tmp_path: Path) -> None:
    text = "AutoDetect=nvml\nName=gpu File=/dev/nvidia[0-3]\n"
    assert made(tmp_path, "NodeName=a1 Gres=gpu:4\n", text, GROUND) == (text, ())


def test_device_files_stand_for_the_real_ones(tmp_path: Path) -> None:
    text = "Name=gpu Type=x File=/dev/nvidia[0,2] Cores=0-3\nName=nic MultipleFiles=/dev/a0,/dev/caps/b1\n"
    after, devices = made(tmp_path, "NodeName=a1 Gres=gpu:x:2\n", text, started(a1=17000))
    assert after == (
        "Name=gpu Type=x File=/sandbox/dev/nvidia[0,2] Cores=0-3\n"
        "Name=nic MultipleFiles=/sandbox/dev/a0,/sandbox/dev/caps/b1\n"
    )
    assert devices == tuple(f"/sandbox/dev/{name}" for name in ("nvidia0", "nvidia2", "a0", "caps/b1"))


def test_what_autodetect_would_find_is_what_slurm_conf_says(tmp_path: Path) -> None:
    after, devices = made(
        tmp_path, "NodeName=a[1-2] Gres=gpu:h100:2,gpu:a30:1\n", "AutoDetect=nvml\n", started(a2=17000)
    )
    assert after.split("\n")[:3] == [
        "AutoDetect=off",
        "NodeName=a2 Name=gpu Type=a30 File=/sandbox/dev/nvidia[2-2]",
        "NodeName=a2 Name=gpu Type=h100 File=/sandbox/dev/nvidia[0-1]",
    ]
    assert set(devices) == {f"/sandbox/dev/nvidia{n}" for n in range(3)}


def test_a_filter_of_autodetect_is_no_gpu_of_its_own(tmp_path: Path) -> None:
    text = (
        "NodeName=a1 AutoDetect=nvml Name=gpu Type=h100 Cores=0-3\nNodeName=a2 Name=gpu File=/dev/nvidia0\n"
    )
    after, _ = made(tmp_path, "NodeName=a[1-2] Gres=gpu:h100:1\n", text, started(a1=17000, a2=17001))
    assert after.split("\n") == [
        "",
        "NodeName=a2 Name=gpu File=/sandbox/dev/nvidia0",
        "NodeName=a1 Name=gpu Type=h100 File=/sandbox/dev/nvidia[0-0]",
        "",
    ]


def test_nodes_without_autodetect_have_what_gres_conf_says(tmp_path: Path) -> None:
    text = "AutoDetect=nvml\nNodeName=a2 AutoDetect=off Name=gpu File=/dev/nvidia0\n"
    after, _ = made(tmp_path, "NodeName=a[1-2] Gres=gpu:2\n", text, started(a2=17000))
    assert after == "AutoDetect=off\nNodeName=a2 AutoDetect=off Name=gpu File=/sandbox/dev/nvidia0\n"
