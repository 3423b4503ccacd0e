"""What a site chose: partitions, QOS, accounts, priorities, preemption, and where its daemons live.

Choices only: what hardware there is stands in the inventory. Neither holds a secret. Limits are kept in
Slurm's own words and values (GrpTRES, MaxTRESPerUser, MaxJobsPerUser, ...), as sacctmgr(1) names them.
Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

Limits = Mapping[str, str]

# The QOS that every database has from its beginning.
NORMAL = "normal"


@dataclass(frozen=True)
class Partition:
    """nodes: names of node types, "all", or hosts in Slurm's form. tier: PriorityTier, which outranks
    every weight; factor: PriorityJobFactor, which the partition's weight is multiplied with.

    preempt: off, requeue, cancel or suspend: what happens to this partition's jobs when they must go.
    grace_s: GraceTime, which counts under preempt/partition_prio. settings: further keys of
    PartitionName as they stand in slurm.conf(5).
    """

    name: str
    nodes: tuple[str, ...]
    default: bool = False
    tier: int = 1
    factor: int = 1
    max_time_s: int | None = None
    default_time_s: int | None = None
    max_nodes: int | None = None
    qos: str = ""
    allow_qos: tuple[str, ...] = ()
    allow_accounts: tuple[str, ...] = ()
    preempt: str = ""
    grace_s: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Qos:
    """priority: its own, from which the QOS factor comes. preempt: the QOS whose jobs it may preempt.

    mode: what happens to its own jobs when they are preempted (requeue, cancel or suspend; "" for the
    cluster's). grace_s: how long these have then; under preempt/qos this counts, not the partition's.
    """

    name: str
    priority: int = 0
    preempt: tuple[str, ...] = ()
    mode: str = ""
    grace_s: int = 0
    usage_factor: str = ""
    flags: tuple[str, ...] = ()
    limits: Limits = field(default_factory=dict)


@dataclass(frozen=True)
class Account:
    """fairshare: its shares among its siblings. users: by name, each with shares and limits."""

    name: str
    fairshare: int = 1
    parent: str = ""
    description: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    limits: Limits = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)


@dataclass(frozen=True)
class User:
    """A user's association with an account."""

    fairshare: int = 1
    qos: tuple[str, ...] = ()
    admin: str = ""
    limits: Limits = field(default_factory=dict)


@dataclass(frozen=True)
class Priority:
    """order: what decides first, then second, ... among jobs of one tier: qos, partition, fairshare, age,
    size, assoc. favor: whether size means large or small jobs. From order the weights are computed.

    half_life_s: 0 where use is never forgotten. max_age_s: from which on waiting gains no more.
    """

    order: tuple[str, ...] = ("qos", "partition", "fairshare", "age", "size")
    half_life_s: int = 14 * 86400
    max_age_s: int = 7 * 86400
    favor: str = "large"


@dataclass(frozen=True)
class Database:
    """Where slurmdbd and its database are. secret: the file of root's that holds StoragePass=..., which
    slurmdbd.conf includes; "" where the database knows the user by the socket.
    """

    host: str
    storage_host: str = "localhost"
    name: str = "slurm_acct_db"
    user: str = "slurm"
    secret: str = ""
    purge_months: int = 0


@dataclass(frozen=True)
class Daemons:
    """controllers: their hosts, the first is the primary. autodetect: how slurmd finds GPUs: nvml, nvidia
    or files ("" for what the release does best). private_tmp: the folder in which each job gets /tmp
    and /dev/shm of its own, "" for none. mounts: file systems without which a node is of no use. ports:
    the first and last at which the ranks of jobs meet. settings: further keys of slurm.conf, which win.
    """

    controllers: tuple[str, ...]
    database: Database | None = None
    user: str = "slurm"
    state_save: str = "/var/spool/slurmctld"
    spool: str = "/var/spool/slurmd"
    logs: str = "/var/log/slurm"
    scripts: str = "/etc/slurm"
    configless: bool = True
    autodetect: str = ""
    private_tmp: str = ""
    mounts: tuple[str, ...] = ()
    ports: tuple[int, int] = (20000, 29999)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """preempt: by qos, by partition, or off. exempt_s: how long a job may run before it can be preempted.

    accounts: each after its parent.
    """

    daemons: Daemons
    partitions: tuple[Partition, ...]
    qos: tuple[Qos, ...] = ()
    accounts: tuple[Account, ...] = ()
    priority: Priority = Priority()
    preempt: str = "off"
    exempt_s: int = 0

    def children(self, account: str) -> Iterator[Account]:
        """The accounts right below account; "" for those at the top."""
        return (one for one in self.accounts if one.parent == account)

    @cached_property
    def _account(self) -> Mapping[str, Account]:
        return {one.name: one for one in self.accounts}

    def lineage(self, account: str) -> Iterator[Account]:
        """The account and those above it, the top one last; nothing for one that is not there."""
        found = self._account.get(account)
        while found:
            yield found
            found = self._account.get(found.parent)

    def qos_of(self, account: str, user: str = "") -> tuple[str, ...]:
        """The QOS that jobs of account (and user) may name: their own, else those of the account above."""
        for one in self.lineage(account):
            own = one.users.get(user) if one.name == account else None
            if own and own.qos:
                return own.qos
            if one.qos:
                return one.qos
        return (NORMAL,)

    def default_qos_of(self, account: str, user: str = "") -> str:
        """The QOS of jobs that name none; assoc_mgr_get_default_qos_info in src/common/assoc_mgr.c."""
        named = next((one.default_qos for one in self.lineage(account) if one.default_qos), "")
        allowed = self.qos_of(account, user)
        return named or (allowed[0] if len(allowed) == 1 else NORMAL)
