"""Accounts and QOS of a policy, put into a real slurmdbd by sacctmgr itself."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctools import process
from hpctools.conf.accounts import COMMANDS, LOAD, files
from hpctools.conf.policy_read import policy
from hpctools.errors import NotFound
from hpctools.inventory.read import inventory
from hpctools.sandbox import cluster, roots
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import Spec

pytestmark = pytest.mark.native

INVENTORY = """\
cluster: %s
node_types: {gpu: {sockets: 1, cores_per_socket: 8, memory: 64G, gpus: {type: h100, count: 2}}}
nodes: {hosts: n1, type: gpu}
"""
# Every key that a QOS, an account and a user can have.
POLICY = b"""\
slurm: {controllers: head, database: {host: head}}
partitions: {main: {nodes: all}}
preempt: qos
qos:
  prod:
    {priority: 100, preempt: [scav, normal], usage_factor: 1.5, flags: [DenyOnLimit, NoReserve],
     GrpJobs: 9, GrpSubmitJobs: 90, GrpTRES: {gres/gpu:h100: 2, cpu: 8, mem: 32G}, GrpTRESMins: {cpu: 1000},
     GrpTRESRunMins: {cpu: 500}, GrpWall: 7-0, MaxJobsPerAccount: 5, MaxJobsPerUser: 4,
     MaxSubmitJobsPerAccount: 50, MaxSubmitJobsPerUser: 40, MaxTRESMinsPerJob: {gres/gpu: 100},
     MaxTRESPerAccount: {gres/gpu: 2}, MaxTRESPerJob: {node: 1}, MaxTRESPerNode: {cpu: 8},
     MaxTRESPerUser: {gres/gpu: 1}, MaxWall: 1-0, MinPrioThreshold: 3, MinTRESPerJob: {cpu: 1}}
  scav: {mode: requeue, grace: 2m, usage_factor: 0.25}
  normal: {priority: 50}
accounts:
  science:
    description: Die Naturwissenschaften, alle
    fairshare: 60
    qos: [prod, normal]
    default_qos: normal
    accounts:
      physics:
        {fairshare: 3, qos: [prod, scav], default_qos: prod, GrpJobs: 7, GrpJobsAccrue: 6, GrpSubmitJobs: 70,
         GrpTRES: {gres/gpu:h100: 2}, GrpTRESMins: {cpu: 1000}, GrpTRESRunMins: {cpu: 500}, GrpWall: 3-0,
         MaxJobs: 5, MaxJobsAccrue: 4, MaxSubmitJobs: 50, MaxTRES: {cpu: 8}, MaxTRESMins: {cpu: 60},
         MaxTRESPerNode: {cpu: 4}, MaxWall: 1:00:00, Priority: 7,
         users: {ada: {fairshare: 2, admin: operator, MaxJobs: 3, qos: [prod]}, eve: }}
      biology: {users: [eve]}
  guests: {fairshare: 0, qos: scav, users: [zoe]}
"""
DUMP = """\
root: Account - 'guests':Description='guests':Organization='guests':Fairshare=0:QOS='scav'
root: Account - 'science':Description='die naturwissenschaften, alle':Organization='science'\
:DefaultQOS='normal':Fairshare=60:QOS='normal,prod'
science: Account - 'biology':Description='biology':Organization='science':Fairshare=1
science: Account - 'physics':Description='physics':Organization='science':DefaultQOS='prod':Fairshare=3\
:GrpTRESMins=cpu=1000:GrpTRESRunMins=cpu=500:GrpTRES=gres/gpu:h100=2,gres/gpu=2:GrpJobs=7\
:GrpJobsAccrue=6:GrpSubmitJobs=70:GrpWall=4320:MaxTRESMinsPerJob=cpu=60:MaxTRESPerJob=cpu=8\
:MaxTRESPerNode=cpu=4:MaxJobs=5:MaxJobsAccrue=4:MaxSubmitJobs=50:MaxWallDurationPerJob=60:Priority=7\
:QOS='prod,scav'
physics: User - 'ada':DefaultAccount='physics':AdminLevel='Operator':Fairshare=2:MaxJobs=3:QOS='prod'
physics: User - 'eve':DefaultAccount='physics':Fairshare=1
biology: User - 'eve':DefaultAccount='physics':Fairshare=1
guests: User - 'zoe':DefaultAccount='guests':Fairshare=1
"""
QOS_FIELDS = (
    "name,priority,preempt,preemptmode,gracetime,usagefactor,flags,grpjobs,grpsubmit,grptres,grptresmins,"
    "grptresrunmins,grpwall,maxjobspa,maxjobspu,maxsubmitpa,maxsubmitpu,maxtresmins,maxtrespa,maxtres,"
    "maxtrespernode,maxtrespu,maxwall,minpriothresh,mintres"
)
QOS = {
    "prod|100|normal,scav|cluster|00:00:00|1.500000|DenyOnLimit,NoReserve|9|90|"
    "cpu=8,gres/gpu:h100=2,gres/gpu=2,mem=32G|cpu=1000|cpu=500|7-00:00:00|5|4|50|40|gres/gpu=100|gres/gpu=2|"
    "node=1|cpu=8|gres/gpu=1|1-00:00:00|3|cpu=1",
    f"scav|0||requeue|00:02:00|0.250000|{'|' * 18}",
    f"normal|50||cluster|00:00:00|1.000000|{'|' * 18}",
}


@pytest.fixture(scope="module", params=[None, "26.05"], ids=["native", "26.05"])
def own(request: pytest.FixtureRequest, slurm_programs: None, state_home: Path) -> Iterator[Sandbox]:
    """A cluster whose database this module may change."""
    if request.param:
        try:
            roots.existing(request.param)
        except NotFound as error:
            pytest.skip(str(error))
    name = f"q{secrets.token_hex(4)}"
    spec = Spec(name=name, nodes=1, gpus_per_node=2, cpus_per_node=8, slurm=request.param)
    cluster.up(spec, lambda text: None)
    try:
        yield cluster.load(name)
    finally:
        cluster.down(name, purge=True)


def sacctmgr(own: Sandbox, *words: str, stdin: str | None = None, cwd: Path | None = None) -> str:
    """What sacctmgr says. Its status says little: it is 1 where there was nothing to add, too."""
    argv = own.view().words([own.program("sacctmgr"), "--immediate", *words])
    done = process.run(argv, stdin=stdin, cwd=cwd, env=own.command_env(os.environ), timeout_s=60)
    said = done.stdout + done.stderr
    assert done.status == 0 or "Nothing new added" in said, said
    assert not re.search(r"error|Unknown|Problem|bad qos", said), said
    return said


def dump(own: Sandbox, folder: Path) -> list[str]:
    """What `sacctmgr dump` says of the policy's accounts and their users, each after the account above it.

    The sandbox has accounts of its own, and the user ada.
    """
    path = folder / "dump.cfg"
    path.unlink(missing_ok=True)
    sacctmgr(own, "dump", own.spec.name, f"file={path}")
    found, parent, foreign = [], "", {"research", "product"}
    for line in path.read_text().splitlines():
        kind, _, name = line.partition(":")[0].partition(" - ")
        if kind == "Parent":
            parent = name.strip("'")
        elif kind in ("Account", "User") and not {parent, name.strip("'")} & foreign and name != "'root'":
            found.append(f"{parent}: {line}")
    return sorted(found)


def texts(own: Sandbox) -> dict[str, str]:
    facts = inventory((INVENTORY % own.spec.name).encode(), "i.yaml")
    return files(facts, policy(POLICY, "p.yaml"), ".".join(own.release.split(".")[:2]))


def qos(own: Sandbox) -> set[str]:
    said = sacctmgr(own, "-nP", "show", "qos", f"format={QOS_FIELDS}")
    return {line for line in said.splitlines() if line.split("|")[0] in ("prod", "scav", "normal")}


def test_the_database_becomes_and_stays_what_the_policy_says(own: Sandbox, tmp_path: Path) -> None:
    """sacctmgr reads the commands itself, or a program runs them one by one, any number of times."""
    made = texts(own)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    sacctmgr(own, stdin=made[COMMANDS], cwd=tmp_path)
    assert dump(own, tmp_path) == sorted(DUMP.splitlines())
    assert qos(own) == QOS
    before = dump(own, tmp_path), qos(own)
    for line in made[COMMANDS].splitlines():
        sacctmgr(own, *line.replace(f"file={LOAD}", f"file={tmp_path / LOAD}").split(" "))
    assert (dump(own, tmp_path), qos(own)) == before
    for words in (
        "modify qos where name=prod set Priority=1 Preempt-=scav Flags=NoDecay GrpJobs=1 UsageFactor=3",
        "modify qos where name=scav set PreemptMode=cancel GraceTime=1",
        f"modify user where name=ada account=physics cluster={own.spec.name} set QOS=scav,prod MaxJobs=1",
        f"modify account where name=physics cluster={own.spec.name} set QOS+=normal DefaultQOS=scav",
    ):
        sacctmgr(own, *words.split())
    assert (dump(own, tmp_path), qos(own)) != before
    sacctmgr(own, stdin=made[COMMANDS], cwd=tmp_path)
    assert (dump(own, tmp_path), qos(own)) == before
