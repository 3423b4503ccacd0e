"""What slurm.conf must have: a name, a controller, nodes and partitions (read_config.c)."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import Problem, Severity
from hpctools.conf.rules import rule
from hpctools.slurm.units import YES

# Later slurmctld starts without nodes and partitions.
_EMPTY_IS_REFUSED = ("22.05",)


@rule("cluster-name-missing", "fatal")
def cluster_name_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if slurm and not slurm.value("ClusterName") and (slurm.get("ClusterName") or not slurm.partial):
        place = slurm.get("ClusterName") or slurm
        yield Problem(place, "ClusterName is not set", "ClusterName=a-short-name")


@rule("slurmctld-host-missing", "fatal")
def slurmctld_host_missing(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if slurm and not slurm.partial and not slurm.get("SlurmctldHost") and not slurm.get("ControlMachine"):
        yield Problem(slurm, "SlurmctldHost is not set", "SlurmctldHost=the host on which slurmctld runs")


@rule("slurmctld-host", "fatal")
def slurmctld_host(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    hosts: dict[str, int] = {}
    for line in slurm.all("SlurmctldHost"):
        value = line.pairs[0].value
        name, _, address = value.partition("(")
        if ("(" in value or ")" in value) and (address.count(")") != 1 or not address.endswith(")")):
            message = f"SlurmctldHost={value} is neither a host nor host(address)"
            yield Problem(line, message, "SlurmctldHost=head(10.0.0.1)")
        elif name in hosts:
            yield Problem(line, f"{name} already stands in line {hosts[name]}", "name each controller once")
        hosts.setdefault(name, line.line)
    if not hosts:
        yield from _old_hosts(slurm)


@rule("no-nodes", "warning")
def no_nodes(candidate: Candidate) -> Iterator[Problem]:
    """With MaxNodeCount nodes may come later."""
    slurm = candidate.slurm
    if slurm and not slurm.partial and not slurm.nodes and not slurm.get("MaxNodeCount"):
        yield Problem(slurm, "no NodeName line defines a node", "NodeName=...", _empty(candidate))


@rule("no-partitions", "warning")
def no_partitions(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if slurm and not slurm.partial and not slurm.partitions:
        message = "no PartitionName line defines a partition"
        yield Problem(slurm, message, "PartitionName=main Nodes=ALL Default=YES", _empty(candidate))


@rule("no-default-partition", "error")
def no_default_partition(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm or slurm.partial or not slurm.partitions:
        return
    if not any(record.value("Default").lower() in YES for record in slurm.partitions):
        message = "no partition has Default=YES: a job that names none is refused"
        yield Problem(slurm.partitions[0], message, "add Default=YES to one")


def _empty(candidate: Candidate) -> Severity:
    return "fatal" if candidate.release in _EMPTY_IS_REFUSED else "warning"


def _old_hosts(slurm: Conf) -> Iterator[Problem]:
    """ControlMachine and BackupController, where there is no SlurmctldHost."""
    machine, backup = slurm.get("ControlMachine"), slurm.get("BackupController")
    address = slurm.get("BackupAddr")
    if machine and "," in machine.value and not slurm.get("ControlAddr"):
        yield Problem(machine, "ControlMachine names several hosts without a ControlAddr", "SlurmctldHost")
    if address and not backup:
        yield Problem(address, "BackupAddr without a BackupController", "a second SlurmctldHost line")
    if machine and backup and machine.value == backup.value:
        yield Problem(backup, f"{backup.value} is the ControlMachine already", "name each controller once")
