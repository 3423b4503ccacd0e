"""The tables of what each release knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpctools.slurm.releases import (
    RELEASES,
    TABLES,
    at_least,
    ever,
    known,
    plugin_last_release,
    plugins,
)

ROOT = Path(__file__).parent.parent.parent


def test_the_tables_are_those_of_the_source(corpus: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "release-tables"
    subprocess.run([sys.executable, script, tmp_path], check=True, env={"HPCTOOLS_CORPUS": str(corpus)})
    for name in ("keywords.tsv", "plugins.tsv"):
        assert (tmp_path / name).read_text() == (TABLES / name).read_text(), name


@pytest.mark.parametrize(
    ("key", "first", "last"),
    [
        ("SlurmctldPlugstack", "22.05", "22.05"),
        ("frontendname", "22.05", "24.11"),
        ("PrologTimeout", "25.05", "26.05"),
        ("NAMESPACETYPE", "25.11", "26.05"),
    ],
)
def test_keys_come_and_go(key: str, first: str, last: str) -> None:
    knowing = [release for release in RELEASES if key.lower() in known("slurm.conf", release)]
    assert (knowing[0], knowing[-1]) == (first, last)


def test_the_counts_are_those_of_the_releases() -> None:
    # Counted in the source when the tables were made.
    counts = {release: len(known("slurm.conf", release)) for release in RELEASES}
    assert (counts["22.05"], counts["26.05"]) == (226, 248)


def test_a_key_may_change_its_type() -> None:
    assert known("slurm.conf", "23.11")["prolog"].type == "STRING"
    assert known("slurm.conf", "24.05")["prolog"].type == "ARRAY"
    assert [key.type for key in ever("cgroup.conf", "CgroupAutomount")] == ["BOOLEAN", "DEFUNCT"]
    assert ever("slurm.conf", "NoSuchKey") == ()


def test_plugins_come_and_go() -> None:
    assert "cons_res" in plugins("select", "22.05")
    assert "cons_res" not in plugins("select", "23.11")
    assert plugin_last_release("select", "cons_res") == "23.02"
    assert plugin_last_release("select", "cons_tres") == ""
    assert plugin_last_release("select", "magic") is None


def test_releases_are_ordered_as_they_came_out() -> None:
    assert at_least("23.11", "23.02")
    assert at_least("22.05", "22.05")
    assert not at_least("22.05", "23.02")


def test_what_to_do_is_known_for_every_key_that_is_gone() -> None:
    rows = [row.split("\t") for row in (TABLES / "gone.tsv").read_text().splitlines()[1:]]
    told = {(scope, key) for scope, key, _, _ in rows}
    gone = {
        (key.scope, key.name)
        for line in (TABLES / "keywords.tsv").read_text().splitlines()[1:]
        for key in ever(*line.split("\t")[:2])
        if key.type == "DEFUNCT" or not any(one.known_to("26.05") for one in ever(key.scope, key.name))
    }
    assert told == gone
    assert all(action in ("", "remove") and hint for _, _, action, hint in rows)
