"""gres.conf: how GPUs are found, and by which cores they sit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import render
from hpctools.errors import InvalidInput
from hpctools.slurm import conf_text
from tests.conf.render.clusters import DGX, MIG, PLAIN, SHARD, inventory

HOST = "  - {hosts: n1, type: %s}"


def detecting(how: str) -> Policy:
    return replace(PLAIN, daemons=replace(PLAIN.daemons, autodetect=how))


def lines(types: str, name: str, how: str = "", release: str = "24.11") -> list[str]:
    text = render(inventory(types, HOST % name), detecting(how), release)["gres.conf"]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_gpus_are_detected_and_nothing_is_said_beside_it() -> None:
    assert lines(DGX, "dgx") == ["NodeName=n1 AutoDetect=nvml"]
    assert lines(DGX, "dgx", "nvidia") == ["NodeName=n1 AutoDetect=nvidia"]


def test_files_come_with_the_whole_socket_near_them_in_slurms_numbers() -> None:
    assert lines(DGX, "dgx", "files") == [
        "NodeName=n1 Name=gpu Type=h100 File=/dev/nvidia[0-3] Cores=0-55",
        "NodeName=n1 Name=gpu Type=h100 File=/dev/nvidia[4-7] Cores=56-111",
    ]


def test_files_without_a_known_place_have_no_cores() -> None:
    types = DGX.replace(", numa: [0, 0, 0, 0, 1, 1, 1, 1]", "")
    assert lines(types, "dgx", "files") == ["NodeName=n1 Name=gpu Type=h100 File=/dev/nvidia[0-7]"]


def test_shards_name_the_gpus_that_are_shared_where_others_are_not() -> None:
    assert lines(SHARD, "shard") == [
        "NodeName=n1 AutoDetect=nvml",
        "NodeName=n1 Name=shard Count=16 File=/dev/nvidia[0-1]",
    ]


def test_gpus_of_another_maker_are_told_by_their_files() -> None:
    types = DGX.replace("type: h100, count: 8", 'type: mi300x, count: 8, files: "/dev/dri/renderD[128-135]"')
    assert "Type=mi300x File=/dev/dri/renderD[128-131] Cores=0-55" in lines(types, "dgx")[0]


def test_only_nvml_finds_mig_instances() -> None:
    assert lines(MIG, "mig", "nvidia") == ["NodeName=n1 AutoDetect=nvml"]
    with pytest.raises(InvalidInput, match="only nvml finds them"):
        lines(MIG, "mig", "files")


def test_what_the_release_cannot_detect_with_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"24\.05 has no nvidia"):
        lines(DGX, "dgx", "nvidia", "24.05")


@pytest.mark.parametrize(("how", "said"), [("nvml", "GPU utilisation and\n# energy"), ("nvidia", "neither")])
def test_the_trade_is_told(how: str, said: str) -> None:
    text = render(inventory(DGX, HOST % "dgx"), detecting(how), "24.11")["gres.conf"]
    assert said in text


def test_a_cluster_without_gpus_has_no_gres() -> None:
    cpu = "\n  cpu: {sockets: 2, cores_per_socket: 8, memory: 64G}\n"
    texts = render(inventory(cpu, HOST % "cpu"), PLAIN, "24.11")
    assert "gres.conf" not in texts
    slurm = conf_text.parse(texts["slurm.conf"].encode())
    assert not [line for line in slurm.lines if line.key == "GresTypes"]
