"""A candidate is changed where the fixed list says so, and nowhere else."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.conf.verify import rewrite, table
from hpctools.conf.verify.ground import Ground
from hpctools.conf.verify.rewrite import with_plugins
from hpctools.conf.verify.value import KINDS
from hpctools.slurm import conf_text, releases
from tests.conf.verify.grounds import GROUND, candidate, started

BASE = "ClusterName=c\nSlurmctldHost=ctl\nNodeName=n[1-4] CPUs=4\nPartitionName=p Nodes=ALL\n"


def rewritten(folder: Path, text: str, ground: Ground = GROUND) -> dict[str, str]:
    """The pairs of slurm.conf as it is booted, by key; of several the last."""
    found = candidate(folder, ground.release, slurm_conf=text)
    data = rewrite.rewrite(found, ground).files["slurm.conf"]
    return {pair.key: pair.value for line in conf_text.parse(data).lines for pair in line.pairs}


def test_every_rule_is_of_a_kind_that_is_told() -> None:
    tables = (
        table.SLURM,
        table.ACCOUNTING,
        table.PARTITION,
        table.POWER_ACTION,
        table.SLURMDBD,
        table.CGROUP,
    )
    assert {rule.kind for rules in tables for rule in rules.values()} <= set(KINDS)


@pytest.mark.parametrize(
    ("scope", "rules"),
    [
        ("slurm.conf", {**table.SLURM, **table.ACCOUNTING}),
        ("PartitionName", table.PARTITION),
        ("slurmdbd.conf", table.SLURMDBD),
        ("cgroup.conf", table.CGROUP),
    ],
)
def test_every_rule_is_for_a_key_that_some_release_knows(scope: str, rules: dict[str, table.Rule]) -> None:
    assert [key for key in rules if not releases.ever(scope, key)] == []


def test_what_is_replaced_and_what_is_added_is_told_with_its_place(tmp_path: Path) -> None:
    found = candidate(tmp_path, slurm_conf=f"{BASE}SlurmUser=slurm\n")
    told = {one.key: one for one in rewrite.rewrite(found, GROUND).replacements}
    assert str(told["SlurmUser"]) == f"{tmp_path}/slurm.conf:5: SlurmUser: slurm -> me"
    assert (told["SlurmUser"].kind, told["SlurmctldHost"].new) == ("users", "here(127.0.0.1)")
    assert (told["StateSaveLocation"].old, told["StateSaveLocation"].new) == ("", "/sandbox/state")


def test_the_controller_alone_is_booted_with_the_candidates_own_plugins(tmp_path: Path) -> None:
    text = BASE + "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup,task/affinity\nUsePAM=1\n"
    alone, with_nodes = rewritten(tmp_path, text), rewritten(tmp_path, text, started(n1=17000))
    keys = ("ProctrackType", "TaskPlugin", "UsePAM")
    assert [alone[key] for key in keys] == ["proctrack/cgroup", "task/cgroup,task/affinity", "1"]
    assert [with_nodes[key] for key in keys] == ["proctrack/pgid", "task/none", "0"]
    assert "SlurmdParameters" not in alone
    assert with_nodes["SlurmdParameters"] == "config_overrides"


@pytest.mark.parametrize(
    "line", ["ProctrackType=proctrack/nonsense", "AuthType=auth/nonsense", "SwitchType=switch/x"]
)
def test_a_plugin_that_the_release_does_not_have_stays_to_be_refused(tmp_path: Path, line: str) -> None:
    key, _, value = line.partition("=")
    assert rewritten(tmp_path, f"{BASE}{line}\n", started(n1=17000))[key] == value


def test_a_key_that_the_release_does_not_know_stays_to_be_refused(tmp_path: Path) -> None:
    old = replace(GROUND, release="22.05")
    assert rewritten(tmp_path, f"{BASE}TLSType=tls/s2n\n", old)["TLSType"] == "tls/s2n"
    assert rewritten(tmp_path, f"{BASE}TLSType=tls/s2n\n")["TLSType"] == "tls/none"


@pytest.mark.parametrize("release", ["22.05", "24.11", "26.05"])
def test_private_folders_of_jobs_are_left_to_the_site(tmp_path: Path, release: str) -> None:
    ground = replace(started(n1=17000), release=release)
    found = rewritten(tmp_path, f"{BASE}JobContainerType=job_container/tmpfs\n", ground)
    assert found["JobContainerType"] == "job_container/none"


def test_files_of_plugins_that_only_the_controller_has_come_and_go_with_them(tmp_path: Path) -> None:
    (tmp_path / "acct_gather.conf").write_text("EnergyIPMIFrequency=1\n")
    found = with_plugins(candidate(tmp_path, slurm_conf=BASE), str(tmp_path))
    assert rewrite.rewrite(found, GROUND).files["acct_gather.conf"] == b"EnergyIPMIFrequency=1\n"
    assert "acct_gather.conf" not in rewrite.rewrite(found, started(n1=17000)).files


def test_other_words_of_a_list_stay(tmp_path: Path) -> None:
    text = (
        BASE + "CommunicationParameters=keepaliveinterval=9,EnableIPv6\nSlurmdParameters=l3cache_as_socket\n"
    )
    found = rewritten(tmp_path, text, started(n1=17000))
    assert found["CommunicationParameters"] == "keepaliveinterval=9,NoCtldInAddrAny,NoInAddrAny"
    assert found["SlurmdParameters"] == "l3cache_as_socket,config_overrides"


def test_backup_controllers_are_left_out_and_no_line_moves(tmp_path: Path) -> None:
    text = (
        "ClusterName=c\nSlurmctldHost=a\nSlurmctldHost= \\\n  b\n"
        + "NodeName=n1 CPUs=1 # one\nPartitionName=p Nodes=n1\n"
    )
    found = candidate(tmp_path, slurm_conf=text)
    lines = rewrite.rewrite(found, GROUND).files["slurm.conf"].decode().split("\n")
    assert lines[1] == "SlurmctldHost=here(127.0.0.1)"
    assert "b" not in "".join(lines[2:4])
    assert lines[4] == "NodeName=n1 CPUs=1 NodeAddr=239.0.0.0 # one"


def test_programs_of_the_site_are_not_run(tmp_path: Path) -> None:
    text = (
        BASE
        + "MailProg=/opt/mail\nHealthCheckProgram=/opt/check\nSuspendProgram=/opt/off\nProlog=/etc/p.d/*\n"
    )
    found = rewritten(tmp_path, text)
    assert {found[key] for key in ("MailProg", "HealthCheckProgram", "SuspendProgram", "Prolog")} == {
        "/bin/true"
    }


def test_without_slurmdbd_its_keys_are_left_alone(tmp_path: Path) -> None:
    text = BASE + "AccountingStorageHost=db\n"
    assert rewritten(tmp_path, text)["AccountingStorageHost"] == "db"
    assert (
        rewritten(tmp_path, text + "AccountingStorageType=accounting_storage/slurmdbd\n")[
            "AccountingStorageHost"
        ]
        == "127.0.0.1"
    )


def test_included_files_come_along(tmp_path: Path) -> None:
    inside, outside = tmp_path / "conf", tmp_path / "elsewhere"
    (inside / "d").mkdir(parents=True)
    outside.mkdir()
    (inside / "d" / "nodes.conf").write_text("NodeName=n[1-4] CPUs=4\n")
    (outside / "parts.conf").write_text("PartitionName=p Nodes=ALL AllowGroups=staff\n")
    text = f"ClusterName=c\nSlurmctldHost=ctl\nInclude d/nodes.conf\nInclude {outside}/parts.conf\n"
    found = rewrite.rewrite(candidate(inside, slurm_conf=text), GROUND)
    assert "Include d/nodes.conf\nInclude included-slurm.conf-2\n" in found.files["slurm.conf"].decode()
    assert found.files["d/nodes.conf"] == b"NodeName=n[1-4] CPUs=4 NodeAddr=239.0.0.[0-3]\n"
    assert found.files["included-slurm.conf-2"] == b"PartitionName=p Nodes=ALL AllowGroups=us\n"
    assert found.origin["/sandbox/etc/included-slurm.conf-2"] == f"{outside}/parts.conf"


def test_files_of_plugins_that_are_replaced_are_named(tmp_path: Path) -> None:
    for name in ("plugstack.conf", "job_submit.lua", "notes.txt"):
        (tmp_path / name).write_text("x")
    left = rewrite.siblings(str(tmp_path), candidate(tmp_path, slurm_conf=BASE))
    assert [(Path(one.file).name, one.kind) for one in left] == [
        ("job_submit.lua", "files"),
        ("plugstack.conf", "spank"),
    ]


def test_slurmdbd_is_the_candidates_own_where_it_has_one(tmp_path: Path) -> None:
    text = "DbdHost=db\nStorageType=accounting_storage/mysql\nStoragePass=secret\nPurgeJobAfter=12months\n"
    found = candidate(tmp_path, slurm_conf=BASE, slurmdbd_conf=text)
    data, told = rewrite.slurmdbd(found.conf("slurmdbd.conf"), GROUND)
    pairs = {line.pairs[0].key: line.pairs[0].value for line in conf_text.parse(data).lines}
    assert pairs["PurgeJobAfter"] == "12months"
    assert (pairs["DbdHost"], pairs["StorageHost"], pairs["DbdPort"]) == ("here", "localhost", "16001")
    assert b"secret" not in data
    assert {one.key for one in told} >= {"DbdHost", "StoragePass", "DbdPort"}


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ("22.05", "ProctrackType=cgroup"),
        ("26.05", "SwitchType=hpe_slingshot"),
        ("22.05", "AuthType=none"),
        ("24.11", "AuthAltTypes=auth/jwt,auth/jtw"),
        ("24.11", "JobCompType=mysql"),
        ("24.11", "TaskPlugin=task/Cgroup"),
        ("24.11", "UsePAM=maybe"),
        ("24.11", "SlurmctldPort=many"),
        ("24.11", "SlurmctldSyslogDebug=loud"),
    ],
)
def test_a_value_that_the_release_refuses_stays(tmp_path: Path, release: str, line: str) -> None:
    key, _, value = line.partition("=")
    ground = replace(started(n1=17000), release=release)
    assert rewritten(tmp_path, f"{BASE}{line}\n", ground)[key] == value


@pytest.mark.parametrize(
    ("release", "line", "new"),
    [
        ("22.05", "TaskPlugin=cgroup,affinity", "task/none"),
        ("22.05", "AcctGatherEnergyType=rapl", "acct_gather_energy/none"),
        ("24.11", "AuthType=none", "auth/munge"),
        ("24.11", "UsePAM=YES", "0"),
        ("24.11", "SlurmctldPort=6817-6820", "16000"),
    ],
)
def test_a_value_that_the_release_accepts_is_replaced(
    tmp_path: Path, release: str, line: str, new: str
) -> None:
    ground = replace(started(n1=17000), release=release)
    assert rewritten(tmp_path, f"{BASE}{line}\n", ground)[line.partition("=")[0]] == new


def test_what_cgroup_conf_cannot_say_stays(tmp_path: Path) -> None:
    text = "CgroupPlugin=autodetct\nConstrainCores=on\nConstrainDevices=Up\n"
    found = candidate(tmp_path, slurm_conf=BASE, cgroup_conf=text)
    made = rewrite.rewrite(found, GROUND).files["cgroup.conf"]
    assert made == b"CgroupPlugin=autodetct\nConstrainCores=on\nConstrainDevices=no\n"
    found = candidate(tmp_path, slurm_conf=BASE, cgroup_conf="CgroupPlugin=cgroup/v2\n")
    assert rewrite.rewrite(found, GROUND).files["cgroup.conf"] == b"CgroupPlugin=disabled\n"


def test_secrets_are_not_told(tmp_path: Path) -> None:
    accounting = "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStoragePass=s3cret\n"
    text = (
        f"{BASE}{accounting}AuthInfo=ttl=9,key=s3cret\nTLSParameters=k=s3cret\nAuthAltParameters=k=s3cret\n"
    )
    dbd = "StorageType=accounting_storage/mysql\nStoragePass=s3cret\nStorageParameters=SSL_KEY=s3cret\n"
    found = candidate(tmp_path, slurm_conf=text, slurmdbd_conf=dbd)
    told = [
        *rewrite.rewrite(found, GROUND).replacements,
        *rewrite.slurmdbd(found.conf("slurmdbd.conf"), GROUND)[1],
    ]
    hidden = {one.key for one in told if one.old == "(hidden)"}
    keys = "AccountingStoragePass AuthInfo TLSParameters AuthAltParameters StoragePass StorageParameters"
    assert hidden == set(keys.split())
    assert "s3cret" not in repr(told)
    found = candidate(tmp_path, slurm_conf=f"{BASE}AuthInfo=socket=/run/m,ttl=9\n")
    assert "socket=/run/m,ttl=9" in {one.old for one in rewrite.rewrite(found, GROUND).replacements}


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()), st.booleans())
def test_any_bytes_are_rewritten(data: bytes, nodes: bool) -> None:
    with TemporaryDirectory() as folder:
        for name in ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf"):
            (Path(folder) / name).write_bytes(data)
        found = candidate(Path(folder))
        made = rewrite.rewrite(found, started(n1=17000) if nodes else GROUND)
        rewrite.slurmdbd(found.conf("slurmdbd.conf"), GROUND)
    assert set(made.files) >= {"slurm.conf", "gres.conf", "cgroup.conf"}


_WORD = st.text(string.ascii_letters + string.digits + "/,._-", min_size=1, max_size=8)
_KEYS = st.sampled_from(
    [
        "ClusterName",
        "SlurmctldHost",
        "SlurmUser",
        "Prolog",
        "JobSubmitPlugins",
        "MaxJobCount",
        "Nonsense",
        "TaskPlugin",
    ]
)
_BETWEEN = st.sampled_from(["", " # note", "\n", " \\\n ", "\n# comment", "\r\n"])


@given(st.lists(st.tuples(_KEYS, _WORD, _BETWEEN), max_size=12), st.booleans())
def test_no_line_moves_and_no_other_value_changes(lines: list[tuple[str, str, str]], nodes: bool) -> None:
    text = "".join(f"{key}={value}{between}\n" for key, value, between in lines)
    with TemporaryDirectory() as folder:
        found = candidate(Path(folder), slurm_conf=text)
        made = rewrite.rewrite(found, started(n1=17000) if nodes else GROUND)
    after = conf_text.parse(made.files["slurm.conf"])
    told = {(one.line, one.key) for one in made.replacements}
    kept = {(line.number, line.key): line.pairs[0].value for line in after.lines if line.pairs}
    for line in found.confs["slurm.conf"].lines:
        if line.pairs and (line.pairs[0].line, line.key) not in told:
            assert kept[line.number, line.key] == line.pairs[0].value
