"""Lint against what five real slurmctld said to 142 real files."""

from __future__ import annotations

import json
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from hpctools.conf.judge import lint

RELEASES = ("22.05", "23.11", "24.11", "25.11", "26.05")
# Where the verdict is not about what the file itself says. (pattern, releases or "", why)
EXCEPTIONS = (
    ("aws__aws-parallelcluster-cookbook__*", "", "a part that slurm.conf includes"),
    ("*__nodes.conf", "", "a part that slurm.conf includes"),
    ("*__partitions.conf", "", "a part that slurm.conf includes"),
    ("romxero__slurm_conf_mother__griz_slurm.conf", "22.05", "its partitions are in an Include, not there"),
    ("SchedMD__slurm__testsuite__python__check__topology__*", "", "topology.conf is not there"),
    ("SchedMD__slurm__testsuite__python__tests__test_133_1*", "", "topology.conf is not there"),
    ("SchedMD__slurm__testsuite__slurm_unit__backfill__*", "", "topology.conf is not there"),
    ("boivoador__boivoador__*", "25.11 26.05", "its QOS may be in its slurmdbd; the trial had none"),
    ("rahuldhal50__slurm__*", "25.11 26.05", "its QOS may be in its slurmdbd; the trial had none"),
    (
        "SchedMD__slurm__testsuite__expect__test7.17_configs__test7.17.1__*",
        "25.11",
        "another slurmctld had the port",
    ),
    # The trial replaced the database and the authentication, so it did not meet what a daemon stops at.
    ("GoldenRaven__archlinux_xps__*", "", "AccountingStorageLoc, which slurmctld refuses, was replaced"),
    ("laugesen11__slurm.cluster__etc__slurm.conf", "22.05", "auth/slurm, which 22.05 has not, was replaced"),
)


def exception(name: str, release: str) -> bool:
    return any(
        fnmatch(name, pattern) and release in (releases or release) for pattern, releases, _ in EXCEPTIONS
    )


@pytest.fixture(scope="session")
def verdicts(corpus: Path) -> dict[str, Any]:
    found = json.loads((corpus / "slurm_conf" / "verdicts.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_lint_judges_as_slurmctld_did(
    release: str, corpus: Path, verdicts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    matrix: Counter[tuple[bool, bool]] = Counter()
    wrong = []
    for name, said in verdicts.items():
        boots = said[release]["boots"]
        fatal = [
            one
            for one in lint([str(corpus / "slurm_conf" / name)], release=release)
            if one.severity == "fatal"
        ]
        matrix[boots, not fatal] += 1
        if boots == bool(fatal) and not exception(name, release):
            wrong.append(f"{name}: boots={boots}: {said[release]['fatal'] or [str(one) for one in fatal]}")
    with capsys.disabled():
        print(f"\n{release}         lint: fine   fatal")
        for boots, word in ((True, "boots"), (False, "does not")):
            print(f"  slurmctld {word:9} {matrix[boots, True]:5} {matrix[boots, False]:7}")
    assert not wrong


def test_every_other_real_file_is_judged(corpus: Path) -> None:
    for path in sorted((corpus / "slurm_conf").iterdir()):
        if path.suffix not in (".tsv", ".json"):
            for release in ("22.05", "26.05"):
                assert all(one.line >= 1 and one.message for one in lint([str(path)], release=release))


def test_no_exception_is_stale(corpus: Path, verdicts: dict[str, Any]) -> None:
    """Each is one that lint and slurmctld still differ about."""
    for pattern, releases, _ in EXCEPTIONS:
        assert any(
            said[release]["boots"]
            == any(
                one.severity == "fatal" for one in lint([str(corpus / "slurm_conf" / name)], release=release)
            )
            for name, said in verdicts.items()
            if fnmatch(name, pattern)
            for release in releases.split() or RELEASES
        ), pattern
