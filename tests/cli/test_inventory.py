"""`hpctools inventory`: what it prints, and how it ends."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctools import cli
from hpctools.inventory.read import inventory as read

ALPHA = Path(__file__).parent.parent / "inventory" / "alpha.yaml"
SLURMD = "NodeName={} CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=2 RealMemory={}\n"


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `hpctools inventory WORDS`."""
    status = cli.main(["inventory", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def lines_of_four(tmp_path: Path) -> str:
    path = tmp_path / "slurmd.txt"
    path.write_text(
        "".join(SLURMD.format(f"n{number}", 64000 if number < 4 else 32000) for number in range(1, 5))
    )
    return str(path)


# --- check ----------------------------------------------------------------------------------------
def test_check_says_in_one_line_what_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "check", str(ALPHA)) == (0, f"{ALPHA}: 113 hosts of 4 types, 664 GPUs\n", "")


def test_check_tells_every_mistake_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "i.yaml"
    path.write_text(ALPHA.read_text().replace("count: 8", "count: x"))
    status, out, err = ran(capsys, "check", str(path))
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        f"hpctools: {path}:11: node type dgx-h100: gpus: count: x is no whole number from 1 to 64",
    ]


def test_check_takes_the_file_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(capsys, "check") == (2, "", "hpctools: inventory.yaml: there is no such file\n")
    assert ran(capsys, "check", ".") == (2, "", "hpctools: .: is a folder, and a file is wanted\n")
    (tmp_path / "inventory.yaml").write_bytes(ALPHA.read_bytes())
    assert ran(capsys, "check")[0] == 0


# --- show -----------------------------------------------------------------------------------------
def test_show_draws_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ran(capsys, "show", str(ALPHA))
    assert (status, err) == (0, "")
    assert out == ALPHA.with_name("alpha.tree.txt").read_text()


def test_show_says_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[str, Any] = json.loads(ran(capsys, "show", "--json", str(ALPHA))[1])
    assert list(said) == ["cluster", "totals", "node_types", "switches", "leaves", "blocks", "racks"]
    assert said["totals"] == {
        "hosts": 113,
        "cores": 64 * 112 + 2 * 64 + 36 * 144 + 11 * 128,
        "cpus": 64 * 224 + 2 * 64 + 36 * 144 + 11 * 256,
        "memory_mb": 64 * 2014 * 1024 + 2 * 512000 + 36 * 860 * 1024 + 11 * 768 * 1024,
        "gpus": 664,
        "gpu_types": {"h100": 512, "a100": 8, "gb200": 144},
    }
    assert [(type["name"], len(type["hosts"]), type["cores"]) for type in said["node_types"]] == [
        ("dgx-h100", 64, 112),
        ("a100-mig", 2, 64),
        ("gb200", 36, 144),
        ("cpu", 11, 128),
    ]
    assert said["switches"]["spine1"][-1] == "leaf09"
    assert (len(said["leaves"]["leaf09"]), len(said["blocks"]["b2"]), said["racks"]["r2"][0]) == (
        38,
        18,
        "gpu005",
    )


def test_show_sends_nothing_to_the_terminal_that_moves_its_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "i.yaml"
    path.write_text(ALPHA.read_text().replace("cluster: alpha", 'cluster: "a\\e[2J"'))
    status, _, err = ran(capsys, "show", str(path))
    assert status == 2
    assert "\x1b" not in err


# --- import ---------------------------------------------------------------------------------------
def test_import_prints_an_inventory_and_tells_who_is_odd(
    lines_of_four: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = ran(capsys, "import", lines_of_four, "--cluster", "beta")
    assert (status, err) == (0, "hpctools: n4: memory: 31G, and 62G on the others\n")
    found = read(out.encode(), "stdout")
    assert (found.cluster, list(found.hosts), list(found.types)) == (
        "beta",
        ["n1", "n2", "n3", "n4"],
        ["cpu-4c"],
    )


def test_import_writes_what_it_would_print(
    lines_of_four: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = ran(capsys, "import", lines_of_four)[1]
    out = tmp_path / "inventory.yaml"
    status, said, err = ran(capsys, "import", lines_of_four, "--out", str(out))
    assert (status, said, out.read_text()) == (0, "", printed)
    assert err.splitlines()[-1] == f"hpctools: {out}: 4 hosts of 1 type"


def test_import_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SLURMD.format("n1", 1000).encode())))
    status, out, _ = ran(capsys, "import", "-")
    assert (status, list(read(out.encode(), "").hosts)) == (0, ["n1"])


def test_import_reads_the_files_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    assert ran(capsys, "import", str(folder)) == (2, "", f"hpctools: {folder}: holds no files\n")
    for name in ("n1", "n2"):
        (folder / name).write_text(SLURMD.format(name, 64000))
    (folder / ".hidden").write_text("?")
    status, out, _ = ran(capsys, "import", str(folder))
    assert (status, list(read(out.encode(), "").hosts)) == (0, ["n1", "n2"])


def test_import_writes_nothing_where_something_is_wrong(
    lines_of_four: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "inventory.yaml"
    assert ran(capsys, "import", lines_of_four, str(ALPHA), "--out", str(out))[0] == 2
    assert not out.exists()
    status, _, err = ran(capsys, "import", lines_of_four, "--format", "cvs")
    assert (status, err) == (
        2,
        "hpctools: --format: cvs is none of csv, scontrol, slurmd, ansible, ibnetdiscover, inventory\n",
    )


def test_the_table_says_what_the_commands_say_of_themselves() -> None:
    from hpctools.cli.inventory import COMMANDS, inventory

    for name, (_, _, help) in COMMANDS.items():
        command = inventory.get_command(None, name)  # type: ignore[arg-type]
        assert command
        assert (command.name, command.get_short_help_str(limit=200)) == (name, help)
