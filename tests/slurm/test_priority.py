"""Priorities as explained and as a real slurmctld has them: each term, and who starts first."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from hpctools import process
from hpctools.conf import described
from hpctools.conf.accounts import COMMANDS, files
from hpctools.conf.arithmetic import Explained, explain, first
from hpctools.conf.policy import Policy
from hpctools.conf.policy_read import policy
from hpctools.conf.priority import settings, weights
from hpctools.errors import NotFound
from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory
from hpctools.sandbox import cluster, processes, roots
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import Spec

pytestmark = pytest.mark.native

INVENTORY = """\
cluster: %s
node_types: {gpu: {sockets: 1, cores_per_socket: 8, memory: 64G, gpus: {type: h100, count: 2}}}
nodes: {hosts: "n[1-2]", type: gpu}
"""
POLICY = b"""\
slurm: {controllers: head, database: {host: head}}
partitions:
  main: {nodes: all, tier: 10, default: true}
  quick: {nodes: all, tier: 10, factor: 3}
  over: {nodes: all, tier: 20}
qos:
  normal: {priority: 100}
  prod: {priority: 200}
priority: {order: [qos, partition, assoc, fairshare, age, size], max_age: 1-0, favor: %s}
accounts:
  first: {fairshare: 10, Priority: 4, qos: [normal, prod], default_qos: normal, users: [%s]}
  second: {fairshare: 10, qos: [normal, prod], default_qos: normal, users: [%s]}
  last: {fairshare: 0, qos: [normal, prod], default_qos: normal, users: [%s]}
"""
# What a job asks for, and the same in the words of explain; from the one that starts last to the first. All
# CPUs are asked for: once slurmctld has tried a job, it counts those that the job would get.
NODE, ALL = "--nodes=1 --ntasks=8", "--nodes=2 --ntasks=16"
JOBS = (
    (f"{NODE} --account=last", "nodes=1,cpus=8,account=last"),
    (f"{ALL} --account=last", "nodes=2,cpus=16,account=last"),
    (f"{ALL} --account=second", "nodes=2,cpus=16,account=second"),
    (f"{ALL} --account=first", "nodes=2,cpus=16,account=first"),
    (f"{ALL} --account=last --partition=quick", "nodes=2,cpus=16,account=last,partition=quick"),
    (f"{ALL} --account=last --qos=prod", "nodes=2,cpus=16,account=last,qos=prod"),
    (
        f"{ALL} --account=second --qos=prod --partition=quick",
        "nodes=2,cpus=16,account=second,qos=prod,partition=quick",
    ),
    (f"{ALL} --account=last --partition=over", "nodes=2,cpus=16,account=last,partition=over"),
)
# sprio's names of the terms, and their fields.
TERMS = {"age": "%A", "assoc": "%B", "fairshare": "%F", "size": "%J", "partition": "%P", "qos": "%Q"}
FIELDS = ("%i", "%Y", "%a", "%f", *TERMS.values())


class Site:
    """A cluster that was configured from a policy."""

    def __init__(self, own: Sandbox, facts: Inventory, choices: Policy) -> None:
        self.own, self.facts, self.choices = own, facts, choices
        self.weights = weights(facts, choices)

    def run(self, *words: str) -> str:
        return cluster.command(self.own, words).check()

    def submit(self, words: str, script: str = "sleep 1") -> str:
        return self.run("sbatch", "--parsable", *COMMON, *words.split(), f"--wrap={script}").strip()

    def factors(self) -> dict[str, dict[str, float]]:
        """What sprio says of each pending job."""
        said = self.run("sprio", "--noheader", "--format", "|".join(FIELDS))
        rows = [line.split("|") for line in said.splitlines()]
        return {row[0].strip(): dict(zip(FIELDS, map(float, row), strict=True)) for row in rows}

    def explained(self, text: str, told: Mapping[str, float]) -> Explained:
        """A job explained with the age and the fair share that slurmctld knows of it.

        sprio prints seven digits of both: of these there is one number of seconds, and one rank.
        """
        max_age_s = self.choices.priority.max_age_s
        fairshare = float(Fraction(told["%f"]).limit_denominator(1000))
        more = f",age={round(told['%a'] * max_age_s)}s,fairshare={fairshare!r}"
        job = described.job(text + more, self.facts, self.choices)
        return explain(job, self.facts, self.choices, self.weights)


COMMON = ("--mem=0", "--time=5", "--output=/dev/null")


@pytest.fixture(scope="module", params=[(None, "large"), ("26.05", "small")], ids=["native", "26.05"])
def site(request: pytest.FixtureRequest, slurm_programs: None, state_home: Path) -> Iterator[Site]:
    release, favor = request.param
    if release:
        try:
            roots.existing(release)
        except NotFound as error:
            pytest.skip(str(error))
    name, user = f"p{secrets.token_hex(4)}", process.run(["id", "-un"]).stdout.strip()
    facts = inventory((INVENTORY % name).encode(), "i.yaml")
    choices = policy(POLICY % tuple(word.encode() for word in (favor, user, user, user)), "p.yaml")
    lines = [f"{key}={value}" for key, value, _ in settings(facts, choices, release or "22.05")]
    lines += ["PriorityCalcPeriod=1", "PreemptType=preempt/none", "PreemptMode=OFF"]
    for one in choices.partitions:
        line = f"PartitionName={one.name} Nodes=ALL PriorityTier={one.tier} PriorityJobFactor={one.factor}"
        lines.append(f"{line} Default={'YES' if one.default else 'NO'}")
    spec = Spec(name=name, nodes=2, gpus_per_node=2, cpus_per_node=8, conf=tuple(lines), slurm=release)
    cluster.up(spec, lambda text: None)
    try:
        own = cluster.load(name)
        folder = own.places.data
        made = files(facts, choices, release or "22.05")
        for path, text in made.items():
            (folder / path).write_text(text)
        argv = own.view().words([own.program("sacctmgr"), "--immediate"])
        env = own.command_env(os.environ)
        process.run(argv, stdin=made[COMMANDS], cwd=folder, env=env, timeout_s=60).check()
        # slurmctld ranks users when it starts, and then once a minute.
        cluster.down(name)
        cluster.up(spec, lambda text: None)
        yield Site(cluster.load(name), facts, choices)
    finally:
        cluster.down(name, purge=True)


def test_terms_equal_sprio_and_the_first_starts_first(site: Site) -> None:
    blocker = site.submit(f"{ALL} --account=last", "sleep 1000")

    def running() -> bool:
        return site.run("squeue", "--noheader", "--format=%T").strip() == "RUNNING"

    assert processes.wait_until(running, 120)
    # Of jobs that differ in size alone the larger one is first, or the smaller one.
    jobs = JOBS if site.choices.priority.favor == "large" else (JOBS[1], JOBS[0], *JOBS[2:])
    texts = {site.submit(words): text for words, text in jobs}

    def ranked() -> bool:
        """Whether all are known, and those of the account without shares stand behind."""
        told = site.factors()
        return len(told) == len(texts) and len({one["%f"] for one in told.values()}) > 1

    assert processes.wait_until(ranked, 240), site.factors()
    told = site.factors()
    made = {job: site.explained(text, told[job]) for job, text in texts.items()}
    for job, one in made.items():
        points = {name: one.term(name).points for name in TERMS}
        assert points == {name: told[job][field] for name, field in TERMS.items()}, texts[job]
        # sprio rounds the sum of its terms, and slurmctld cuts it.
        assert abs(one.priority - told[job]["%Y"]) <= 1
    site.run("scancel", blocker)
    order = list(reversed(texts))
    for high, low in zip(order, order[1:], strict=False):
        number, why = first(made[high], made[low], site.choices, site.weights, site.facts)
        assert number == 1, (texts[high], texts[low], why)

    def ended() -> bool:
        return not site.run("squeue", "--noheader").strip()

    assert processes.wait_until(ended, 300)

    def accounted() -> list[list[str]]:
        said = site.run("sacct", "-XnP", f"--jobs={','.join(texts)}", "--format=start,jobid,state")
        return sorted(line.split("|") for line in said.splitlines())

    # slurmdbd may hear of the last ones a moment later.
    assert processes.wait_until(lambda: [row[2] for row in accounted()] == ["COMPLETED"] * len(texts), 60)
    assert [row[1] for row in accounted()] == order
