"""Lint against what real slurmctld said to hundreds of small files, each with one thing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.conf.judge import lint

RELEASES = ("22.05", "24.11", "26.05")
NODES = "NodeName=n[1-4] NodeAddr=127.0.0.1 CPUs=2"
PARTITION = "PartitionName=p Nodes=ALL Default=YES\n"
EMPTY = "ClusterName=c\nSlurmctldHost=h\n"
BASES = {
    "usual": f"{EMPTY}{NODES} State=UNKNOWN\n{PARTITION}",
    "no nodes": f"{EMPTY}{PARTITION}",
    "no partition": f"{EMPTY}{NODES} Feature=f\n",
    "empty": EMPTY,
    "nothing": "",
}


def answers() -> list[tuple[str, str, str]]:
    text = (Path(__file__).parent / "answers.tsv").read_text()
    _, *rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return [(base, verdict, text.replace("\\n", "\n").replace("\\\\", "\\")) for base, verdict, text in rows]


@pytest.mark.parametrize("release", RELEASES)
def test_a_fatal_is_said_where_slurmctld_stops_and_nowhere_else(release: str, tmp_path: Path) -> None:
    place = RELEASES.index(release)
    file = tmp_path / "slurm.conf"
    wrong = []
    for base, verdict, text in answers():
        file.write_text(f"{BASES[base]}{text}\n")
        fatal = [str(one) for one in lint([str(file)], release=release) if one.severity == "fatal"]
        if (verdict[place] == "+") == bool(fatal):
            wrong.append(f"{text!r} after {base}: slurmctld says {verdict[place]}, lint {fatal}")
    assert not wrong
