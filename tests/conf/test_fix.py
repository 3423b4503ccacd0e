"""Mending: what is safe, nothing else, and never halfway."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hpctools.conf.mending import fix
from hpctools.conf.on_disk import in_place, into
from hpctools.conf.upgrading import steps, upgrade
from hpctools.errors import HpctoolsError, InvalidInput

OLD = """\
# The cluster of the third floor
ClusterName=alpha   # do not change
SlurmctldHost=head
JobCredentialPrivateKey=/etc/slurm/key # of 2009
SlurmctldTimeout=120 SlurmdTimeout=300
Include nodes.conf
PartitionName=main Nodes=ALL Default=YES
"""
NODES = "SelectType=select/cons_res\nNodeName=gpu[1-2] CPUs=4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    there = tmp_path / "slurm"
    there.mkdir()
    (there / "slurm.conf").write_text(OLD)
    (there / "nodes.conf").write_text(NODES)
    return there


def test_only_what_is_wrong_changes(folder: Path) -> None:
    fixed = fix([str(folder)], release="24.11")
    text = fixed.files[str(folder / "slurm.conf")].decode()
    assert text == OLD.replace("JobCredentialPrivateKey=/etc/slurm/key # of 2009\n", "").replace(
        "120 Slurmd", "120\nSlurmd"
    )
    assert [finding.rule for finding in fixed.mended][:2] == ["defunct-key", "several-keys"]
    assert not [finding for finding in fixed.left if finding.severity == "fatal"]


def test_a_file_that_is_included_is_mended_too(folder: Path) -> None:
    fixed = fix([str(folder)], release="24.11")
    assert str(folder / "nodes.conf") in fixed.changed
    assert b"select/cons_tres" in fixed.files[str(folder / "nodes.conf")]


def test_what_was_mended_is_told_by_the_lines_that_it_had(tmp_path: Path) -> None:
    """CoreSpecPlugin and the second key of a line come to light, or are mended, in later rounds."""
    lines = [
        "ClusterName=alpha",
        "SlurmctldHost=head",
        "JobCredentialPrivateKey=/a",
        "JobCredentialPublicCertificate=/b",
        "SlurmctldTimeout=120 CoreSpecPlugin=core_spec/none",
        "SlurmctldParameters=cloud_reg_addrs,idle_on_node_suspend,enable_job_state_cache",
        "NodeName=n1 CPUs=4",
        "PartitionName=main Nodes=ALL Default=YES ExclusiveUser=YES",
    ]
    path = tmp_path / "slurm.conf"
    path.write_text("\n".join(lines) + "\n")
    fixed = fix([str(path)], release="26.05")
    told = {(finding.line, finding.rule) for finding in fixed.mended}
    assert told == {
        (3, "defunct-key"),
        (4, "defunct-key"),
        (5, "several-keys"),
        (5, "defunct-key"),
        (6, "obsolete-option"),
        (6, "unknown-parameter"),
        (8, "renamed-option"),
    }
    assert fixed.files[str(path)].decode().splitlines() == [
        *lines[:2],
        "SlurmctldTimeout=120",
        "SlurmctldParameters=idle_on_node_suspend",
        "NodeName=n1 CPUs=4",
        "PartitionName=main Nodes=ALL Default=YES Exclusive=USER",
    ]


def test_in_place_keeps_what_was(folder: Path) -> None:
    real = folder.parent / "real.conf"
    (folder / "slurm.conf").rename(real)
    (folder / "slurm.conf").symlink_to(real)
    real.chmod(0o640)
    fixed = fix([str(folder)], release="24.11")
    kept = in_place(fixed)
    assert (folder / "slurm.conf").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes() == fixed.files[str(folder / "slurm.conf")]
    backup = Path(kept[str(folder / "slurm.conf")])
    assert backup.read_text() == OLD
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640


def test_backups_never_overwrite_each_other(folder: Path) -> None:
    kept: list[str] = []
    for _ in range(3):
        (folder / "slurm.conf").write_text(OLD)
        kept += in_place(fix([str(folder / "slurm.conf")], release="24.11")).values()
    assert len(set(kept)) == len(kept) >= 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(folder: Path) -> None:
    os.chown(folder / "slurm.conf", 12345, 23456)
    in_place(fix([str(folder)], release="24.11"))
    status = (folder / "slurm.conf").stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)


def test_a_folder_of_its_own_holds_every_file(folder: Path, tmp_path: Path) -> None:
    fixed = fix([str(folder)], release="24.11")
    written, elsewhere = into(fixed, [str(folder)], str(tmp_path / "new"))
    assert not elsewhere
    assert sorted(os.path.relpath(path, tmp_path / "new") for path in written) == ["nodes.conf", "slurm.conf"]
    assert (folder / "slurm.conf").read_text() == OLD
    with pytest.raises(InvalidInput, match="exists"):
        into(fixed, [str(folder)], str(tmp_path / "new"))


def test_a_file_from_elsewhere_is_not_written(folder: Path, tmp_path: Path) -> None:
    (folder / "nodes.conf").rename(tmp_path / "nodes.conf")
    (folder / "slurm.conf").write_text(OLD.replace("nodes.conf", "../nodes.conf"))
    fixed = fix([str(folder)], release="24.11")
    with pytest.raises(InvalidInput, match="included from outside .* has to change"):
        into(fixed, [str(folder)], str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    (tmp_path / "nodes.conf").write_text("NodeName=gpu[1-2] CPUs=4\n")
    written, elsewhere = into(fix([str(folder)], release="24.11"), [str(folder)], str(tmp_path / "new"))
    assert [os.path.basename(path) for path in written] == ["slurm.conf"]
    assert [os.path.basename(path) for path in elsewhere] == ["nodes.conf"]


def test_an_absolute_include_means_the_file_of_the_folder(folder: Path) -> None:
    (folder / "slurm.conf").write_text(OLD.replace("nodes.conf", "/etc/slurm/nodes.conf"))
    fixed = fix([str(folder)], release="24.11")
    assert str(folder / "nodes.conf") in fixed.changed


def test_what_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(HpctoolsError, match=r"new/slurm.conf: cannot be written: \w"):
        into(fix([str(folder)], release="24.11"), [str(folder)], str(tmp_path / "new"))


def test_an_upgrade_tells_what_is_new(folder: Path) -> None:
    found = upgrade([str(folder)], to="26.05", since="22.05")
    rules = {finding.rule for finding in found.new}
    assert "defunct-key" in rules, "it had an effect in 22.05"
    assert "several-keys" not in rules, "that is as wrong in 22.05"
    assert found.steps == ("23.02", "24.11", "26.05")


@pytest.mark.parametrize(
    ("since", "to", "expected"),
    [
        ("24.11", "26.05", ("26.05",)),
        ("22.05", "23.11", ("23.11",)),
        ("23.11", "26.05", ("24.11", "26.05")),
        ("26.05", "26.05", ("26.05",)),
        (None, "26.05", ("26.05",)),
    ],
)
def test_the_way_to_a_release(since: str | None, to: str, expected: tuple[str, ...]) -> None:
    assert steps(since, to) == expected


def test_mending_again_finds_nothing_to_mend(corpus: Path) -> None:
    for path in sorted((corpus / "slurm_conf").glob("*.conf*")):
        once = fix([str(path)], release="26.05")
        assert not [finding for finding in once.left if finding.edits], path.name
