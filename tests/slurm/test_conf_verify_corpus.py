"""Real files of public repositories: verify agrees with what slurmctld made of them before.

The verdicts (HPCTOOLS_CORPUS/slurm_conf/verdicts.json) come from boots of each slurm.conf alone, without
slurmdbd and without its Include lines; so does the controller of verify boot here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from hpctools.conf.verify.run import verify
from hpctools.sandbox import releases

# Where the verdict is another one, and why. None of these is a mistake of verify's.
_LOC = "AccountingStorageLoc, which the verdicts' boots replaced, is refused: it was removed"
_INCLUDED = "includes files that are not in the corpus; the verdicts' boots left the Include lines out"
_QOS = "names QOS and uses slurmdbd: verify has a database that knows them, the verdicts' boots had none"
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "GoldenRaven__archlinux_xps__slurm.conf": {"22.05": _LOC, "24.11": _LOC, "26.05": _LOC},
    "laugesen11__slurm.cluster__etc__slurm.conf": {
        "22.05": _INCLUDED,
        "24.11": _INCLUDED,
        "26.05": _INCLUDED,
    },
    "romxero__slurm_conf_mother__griz_slurm.conf": {"24.11": _INCLUDED, "26.05": _INCLUDED},
    "boivoador__boivoador__slurm__slurm.conf": {"26.05": _QOS},
    "rahuldhal50__slurm__slurm.conf": {"26.05": _QOS},
}
# One that boots everywhere, and others that do not: for a removed key, a topology.conf that is missing, a
# plugin that is gone since, a geometry and a lack of partitions that only 22.05 refuses, nodes that are
# not there.
SAMPLE = (
    "AMDResearch__omnistat__test__docker__slurm__slurm.conf",
    "2BH__Slurm-ubuntu20__slurm.conf",
    "SchedMD__slurm__testsuite__python__tests__test_133_1_testcases__testcase1__slurm.conf",
    "arlk__lambda-slurm__slurm.conf",
    "Dragonruler6008__slurmdocs__slurm.conf",
    "SchedMD__slurm__testsuite__expect__test7.17_configs__test7.17.1__slurm.conf",
    "KU-Supercomputing-Club__indyscc-ansible__etc__slurm.conf",
)

# Boots other releases from here; there is no need to do so in each of their roots.
pytestmark = pytest.mark.native


@pytest.fixture(params=["22.05", "24.11", "26.05"])
def release(request: pytest.FixtureRequest, slurm_programs: None) -> str:
    """A release that is here: the installed one, or one that has a root."""
    here = {row["release"] for row in releases.known() if row["exact"]}
    if request.param not in here:
        pytest.skip(f"Slurm {request.param} is not here: hpctools sandbox install --slurm {request.param}")
    return str(request.param)


def boots(source: Path, folder: Path, release: str) -> bool:
    """Whether the controller boots with the file alone."""
    folder.mkdir()
    (folder / "slurm.conf").write_bytes(source.read_bytes())
    return verify(folder, release, controller_only=True).boots


def differences(names: Iterable[str], corpus: Path, tmp_path: Path, release: str) -> set[str]:
    """The files whose verdict for release is another one."""
    said = json.loads((corpus / "slurm_conf" / "verdicts.json").read_text())
    return {
        name
        for number, name in enumerate(names or said)
        if boots(corpus / "slurm_conf" / name, tmp_path / str(number), release)
        != said[name][release]["boots"]
    }


def test_a_sample_boots_or_does_not_as_it_did(corpus: Path, tmp_path: Path, release: str) -> None:
    assert differences(SAMPLE, corpus, tmp_path, release) == set()


@pytest.mark.slow
def test_all_boot_or_do_not_as_they_did(corpus: Path, tmp_path: Path, release: str) -> None:
    expected = {name for name, why in EXCEPTIONS.items() if release in why}
    assert differences((), corpus, tmp_path, release) == expected
