"""slurmdbd.conf alone and with slurm.conf; job_container.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctools.conf.judge import lint

DBD = "DbdHost=db1\nStorageType=accounting_storage/mysql\nSlurmUser=slurm\n"
SLURM = (
    "ClusterName=c\nSlurmctldHost=h\nSlurmUser=slurm\nAccountingStorageType=accounting_storage/slurmdbd\n"
    "AccountingStorageHost=db1.example.org\nNodeName=n CPUs=4\nPartitionName=p Nodes=ALL Default=YES\n"
)


def alone(folder: Path, name: str, text: str, release: str = "26.05", mode: int = 0o600) -> dict[str, str]:
    (folder / name).write_text(text)
    (folder / name).chmod(mode)
    return {one.rule: one.severity for one in lint([str(folder / name)], release=release)}


def both(folder: Path, slurm: str, dbd: str) -> set[str]:
    (folder / "slurm.conf").write_text(slurm)
    (folder / "slurmdbd.conf").write_text(dbd)
    (folder / "slurmdbd.conf").chmod(0o600)
    return {one.rule for one in lint([str(folder)], release="26.05") if one.rule.startswith("slurmdbd")}


def test_what_agrees_has_nothing(tmp_path: Path) -> None:
    assert not both(tmp_path, SLURM, DBD)
    assert not both(tmp_path, SLURM.replace("db1.example.org", "10.0.0.5"), DBD)
    assert not both(tmp_path, SLURM.replace("SlurmUser=slurm\n", ""), DBD)


@pytest.mark.parametrize(
    ("value", "good"),
    [("12", True), ("12months", True), ("12mo", True), ("90Days", True), ("23hours", True), ("0", True)]
    + [("1year", False), ("12 months", False), ("months", False), ("-1", False), ("1monthss", False)],
)
def test_a_purge_is_a_number_and_the_beginning_of_a_unit(value: str, good: bool, tmp_path: Path) -> None:
    found = alone(tmp_path, "slurmdbd.conf", f'{DBD}PurgeJobAfter="{value}"\n')
    assert ("slurmdbd-purge" not in found) is good


@pytest.mark.parametrize(
    ("mode", "release", "good"),
    [(0o600, "22.05", True), (0o640, "25.05", False), (0o640, "25.11", True), (0o400, "26.05", False)],
)
def test_the_mode_of_slurmdbd_conf(mode: int, release: str, good: bool, tmp_path: Path) -> None:
    found = alone(tmp_path, "slurmdbd.conf", DBD, release, mode)
    assert ("slurmdbd-mode" not in found) is good


def test_a_part_of_slurmdbd_conf_lacks_nothing(tmp_path: Path) -> None:
    found = alone(tmp_path, "slurmdbd_storage.conf", "DbdPort=6819\nStoragePort=3306\n")
    assert "slurmdbd-storage-type" not in found


def test_names_of_hosts_are_compared_without_their_domains(tmp_path: Path) -> None:
    assert both(tmp_path, SLURM.replace("db1.example", "db2.example"), DBD) == {"slurmdbd-host-differs"}


@pytest.mark.parametrize(
    ("release", "text", "fatal"),
    [
        ("22.05", "BasePath=/tmp/x\n", True),
        ("22.05", "BasePath=/tmpfs\n", False),
        ("23.11", "BasePath=/tmp/x\n", False),
        ("23.11", "BasePath=/tmp\n", True),
        ("23.11", "BasePath=/var Dirs=/var/tmp\n", True),
        ("26.05", "BasePath=none\n", False),
        ("26.05", "NodeName=n[1-2] AutoBasePath=true\n", True),
    ],
)
def test_the_base_path_is_outside_of_what_is_private(
    release: str, text: str, fatal: bool, tmp_path: Path
) -> None:
    found = alone(tmp_path, "job_container.conf", text, release)
    assert ("fatal" in found.values()) is fatal, found


@pytest.mark.parametrize(
    ("line", "release", "rule"),
    [
        ("AuthType=munge", "22.05", "slurmdbd-auth-type"),
        ("AuthType=munge", "23.02", "slurmdbd-auth-type"),
        ("AuthType=munge", "23.11", None),
        ("AuthType=auth/munge", "22.05", None),
        ("AuthType=auth/slurm", "23.02", "slurmdbd-auth-type"),
        ("StorageType=mysql", "22.05", "slurmdbd-storage-type"),
        ("StorageType=mysql", "26.05", "slurmdbd-storage-type"),
        ("StorageType=accounting_storage/MySQL", "26.05", "slurmdbd-storage-type"),
        ("StorageType=accounting_storage/none", "22.05", None),
    ],
)
def test_a_plugin_must_be_named_as_the_release_has_it(
    line: str, release: str, rule: str | None, tmp_path: Path
) -> None:
    found = alone(tmp_path, "slurmdbd.conf", f"{DBD}{line}\n", release)
    assert [name for name, severity in found.items() if severity == "fatal"] == ([rule] if rule else [])


def test_munge_is_auth_munge_since_it_is_taken(tmp_path: Path) -> None:
    assert not both(tmp_path, SLURM, f"{DBD}AuthType=munge\n")
    assert not both(tmp_path, f"{SLURM}AuthType=munge\n", f"{DBD}AuthType=auth/munge\n")
    assert both(tmp_path, SLURM, f"{DBD}AuthType=auth/slurm\n") == {"slurmdbd-auth-differs"}
