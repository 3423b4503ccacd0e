"""A node as its probe tells of it: through the probe's own code, on trees of machines that are not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpctools.errors import ParseError
from hpctools.site import node
from tests.inventory.boxes import NAMES, plant, text
from tests.site import trees

KINDS = {"dgx-a100": "infiniband", "dgx-h100": "infiniband", "hgx-h200": "roce", "gb200-nvl72": "infiniband"}


def test_adapters_on_the_gpus_switches_are_the_fabric_and_others_are_not(tmp_path: Path) -> None:
    found = node.of_facts(trees.facts(trees.h100(tmp_path)))
    assert found.kind == "infiniband"
    assert [(nic.name, nic.near) for nic in found.compute] == [("mlx5_0", (0,)), ("mlx5_3", (1,))]
    assert [nic.name for nic in found.others] == ["mlx5_1", "mlx5_2"]
    assert (dict(found.links), found.candidates) == ({"docker0": 10000, "eno1": 25000}, ("eno1",))


@pytest.mark.parametrize("machine", NAMES)
def test_the_kind_of_network_is_told_by_the_adapters(machine: str, tmp_path: Path) -> None:
    found = node.of_facts(trees.facts(plant(tmp_path, text(machine, "sysfs.txt"))))
    assert found.kind == KINDS.get(machine, "roce")
    assert len(found.nics) == text(machine, "sysfs.txt").count("link_layer: ")


def test_adapters_of_efa_are_known_by_their_driver(tmp_path: Path) -> None:
    where = trees.device(tmp_path, "pci0000:50", "0000:50:01.0", uevent="DRIVER=efa")
    trees.adapter(tmp_path, "rdmap80s1", where, "Unspecified", "100 Gb/sec (4X EDR)")
    assert node.of_facts(trees.facts(tmp_path)).kind == "efa"


def test_without_adapters_there_is_tcp(tmp_path: Path) -> None:
    trees.interface(tmp_path, "eno1")
    found = node.of_facts(trees.facts(tmp_path))
    assert (found.kind, found.nics, found.compute) == ("tcp", (), ())


def test_the_way_to_the_others_is_one_interface_or_none(tmp_path: Path) -> None:
    def route(**routes: list[str]) -> str:
        return node.of_facts(trees.facts(tmp_path, routes=routes)).route

    assert route(n1=["lo", "127.0.0.1"], n2=["bond0", "10.0.0.1"], n3=["bond0", "10.0.0.1"]) == "bond0"
    assert route(n2=["bond0", "10.0.0.1"], n3=["eno1", "10.1.0.1"]) == ""
    assert route(n2=[]) == ""


def test_file_systems_of_a_network_are_told_with_what_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    (tmp_path / "scratch two/ada").mkdir(parents=True)
    scratch = str(tmp_path / "scratch two")
    trees.mounted(
        tmp_path,
        "/dev/sda1 / ext4 rw 0 0",
        f"10.0.0.1@o2ib:/fs {scratch.replace(' ', chr(92) + '040')} lustre rw 0 0",
        "nas:/home /not/there nfs4 rw 0 0",
    )
    found = node.of_facts(trees.facts(tmp_path)).shared
    assert found == (
        node.Shared(scratch, "lustre", f"{scratch}/ada"),
        node.Shared("/not/there", "nfs4", ""),
    )


def test_what_a_prolog_prints_around_the_facts_does_no_harm(tmp_path: Path) -> None:
    line = node.MARK + json.dumps(trees.facts(tmp_path))
    assert node.parse(f"Welcome!\n{line}\nbye\n").name == "g1"


@pytest.mark.parametrize("said", ["", "hello\n", f"{node.MARK}{{", f"{node.MARK}[]", f"{node.MARK}{{}}"])
def test_what_is_no_answer_of_the_probe_is_an_error(said: str) -> None:
    with pytest.raises(ParseError, match="probe"):
        node.parse(said)


@pytest.mark.parametrize("name", ["/etc/passwd", "../out"])
def test_no_file_is_made_outside(name: str, tmp_path: Path) -> None:
    facts = trees.facts(tmp_path)
    facts["files"][name] = "x"
    with pytest.raises(ParseError):
        node.parse(node.MARK + json.dumps(facts))
