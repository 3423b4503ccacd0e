"""Reading policy.yaml: what it says, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.conf.policy import Account, Database, Partition, Policy, Priority, Qos, User
from hpctools.conf.policy_accounts import ASSOCIATION_LIMITS, QOS_LIMITS
from hpctools.conf.policy_read import policy as read
from hpctools.errors import InvalidInput

POLICIES = Path(__file__).parent.parent.parent / "slurm_conf" / "policies"
READY = sorted(path for path in POLICIES.glob("*.yaml") if path.stem != "inventory")
SITE = """\
slurm: {controllers: "head[1-2]", database: {host: db, secret: /etc/slurm/pass}}
partitions:
  prod:     {nodes: dgx, tier: 100, factor: 2, max_time: 7-00:00:00, qos: prod, preempt: off}
  debug:    {nodes: all, tier: 100, max_time: 1:00:00, default_time: 10, max_nodes: 2, default: true}
  scavenge: {nodes: [dgx, cpu], tier: 1, preempt: requeue, grace: 2m, allow_qos: [normal]}
qos:
  prod: {priority: 100, usage_factor: 2.5, flags: [DenyOnLimit], MaxWall: 7-0, GrpTRES: {gres/gpu: 64}}
  normal:
priority: {order: [qos, fairshare], half_life: 7-0, max_age: 12:00:00, favor: small}
accounts:
  research:
    fairshare: 60
    MaxTRES: gres/gpu=8,cpu=64
    accounts:
      ml: {qos: [prod, normal], default_qos: prod, users: {ada: {admin: operator, MaxJobs: 4}, lin: }}
  product: {users: [eve]}
"""
# What is right beside which a mistake is put.
RIGHT = "slurm: {controllers: head%s}\npartitions: {main: {nodes: all%s}}\n%s"


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        read(text.encode() if isinstance(text, str) else text, "p.yaml")
    return [str(problem) for problem in raised.value.problems]


def site() -> Policy:
    return read(SITE.encode(), "p.yaml")


# --- what it says ---------------------------------------------------------------------------------
def test_partitions_are_read() -> None:
    prod, debug, scavenge = site().partitions
    assert prod == Partition(
        "prod", ("dgx",), tier=100, factor=2, max_time_s=7 * 86400, qos="prod", preempt="off"
    )
    assert (debug.default, debug.max_nodes, debug.default_time_s) == (True, 2, 600)
    assert (scavenge.nodes, scavenge.grace_s, scavenge.allow_qos) == (("dgx", "cpu"), 120, ("normal",))


def test_qos_and_limits_are_kept_in_slurms_words() -> None:
    prod, normal = site().qos
    assert prod == Qos(
        name="prod",
        priority=100,
        usage_factor="2.5",
        flags=("DenyOnLimit",),
        limits={"MaxWall": "7-00:00:00", "GrpTRES": "gres/gpu=64"},
    )
    assert normal == Qos("normal")


def test_accounts_stand_after_those_above_them() -> None:
    research, ml, product = site().accounts
    assert research == Account("research", 60, limits={"MaxTRES": "gres/gpu=8,cpu=64"})
    assert ml.parent == "research"
    assert ml.users == {"ada": User(admin="operator", limits={"MaxJobs": "4"}), "lin": User()}
    assert product.users == {"eve": User()}


def test_daemons_and_priorities_are_read() -> None:
    found = site()
    assert found.daemons.controllers == ("head1", "head2")
    assert found.daemons.database == Database("db", secret="/etc/slurm/pass")  # noqa: S106 - a path
    assert found.priority == Priority(("qos", "fairshare"), 7 * 86400, 12 * 3600, "small")


def test_qos_of_an_account_are_its_own_or_those_above() -> None:
    found = read(
        (RIGHT % (", database: {host: db}", "", "")).encode()
        + b"""\
qos: {a: , b: }
accounts:
  top: {qos: [a, b], default_qos: b, users: [u], accounts: {low: {users: {u: {qos: b}}}}}
  alone: {qos: a}
  plain: {}
""",
        "p.yaml",
    )
    assert found.qos_of("low") == ("a", "b")
    assert found.qos_of("low", "u") == ("b",)
    assert found.default_qos_of("low", "u") == "b"
    assert found.default_qos_of("alone") == "a"
    assert (found.qos_of("plain"), found.default_qos_of("plain")) == (("normal",), "normal")
    assert [one.name for one in found.lineage("low")] == ["low", "top"]


@pytest.mark.parametrize(
    ("more", "partition", "found"),
    [
        ("", "", ("off", 0)),
        ("qos: {a: {preempt: normal}}", "", ("qos", 0)),
        ("", ", tier: 2}, low: {nodes: all, preempt: requeue", ("partition", 0)),
        ("preempt: off", "", ("off", 0)),
        ("preempt: {by: qos, exempt: 10m}\nqos: {a: {preempt: normal}}", "", ("qos", 600)),
    ],
)
def test_who_names_modes_of_preemption_need_not_say_it_again(
    more: str, partition: str, found: tuple[str, int]
) -> None:
    made = read((RIGHT % ("", partition, more)).encode(), "p.yaml")
    assert (made.preempt, made.exempt_s) == found


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_ready_policy_is_right(path: Path) -> None:
    made = read(path.read_bytes(), path.name)
    assert made.accounts
    assert made.partitions


# --- what is wrong --------------------------------------------------------------------------------
def test_all_mistakes_are_told_at_once_by_line() -> None:
    text = """\
slurm:
  controllers: head
  state_save: spool
  settings: {PriorityWeightQOS: 1000}
partitions:
  all: {nodes: all}
  a: {tier: 70000, qos: gone}
  b: {nodes: x, default: yes, tier: many}
  c: {nodes: [], default: yes, max_time: 1:00, default_time: 2:00}
qos:
  Prod: {prio: 3, flags: Fast}
  loop: {preempt: [loop, none]}
priority: {order: [qos, luck, qos], half_life: 0, max_age: UNLIMITED}
accounts:
  x: {users: [Ada, "a b"], qos: [gone], fairshare: -1, MaxJobs: few, GrpTRES: {GPU: 3}}
  y: {accounts: {x: }, description: "it's", default_qos: loop}
prempt: qos
"""
    assert mistakes(text) == [
        "p.yaml:2: accounts need a database (slurm: {database: {host: ...}})",
        "p.yaml:3: slurm: state_save: spool is no absolute path",
        "p.yaml:4: slurm: settings: PriorityWeightQOS has a place of its own (say it in priority: order)",
        "p.yaml:6: partition all: is a word of slurm.conf (another name)",
        "p.yaml:7: partition a: nodes is missing",
        "p.yaml:7: partition a: tier: 70000 is no whole number from 0 to 65533",
        "p.yaml:7: partition a: no QOS gone (add it under qos)",
        "p.yaml:8: partition b: tier: many is no whole number from 0 to 65533",
        "p.yaml:9: partition c: default_time is above max_time",
        "p.yaml:9: partition c: nodes: names no node (all, or names of node types or hosts)",
        "p.yaml:9: partition c: b is the default already",
        "p.yaml:11: qos Prod: sacctmgr knows small letters only (prod)",
        "p.yaml:11: qos Prod: no key prio (did you mean priority?)",
        "p.yaml:11: qos Prod: flags: Fast is none of DenyOnLimit, EnforceUsageThreshold, NoDecay, NoReserve,"
        " OverPartQOS, PartitionMaxNodes, PartitionMinNodes, PartitionTimeLimit, Relative,"
        " RequiresReservation, UsageFactorSafe",
        "p.yaml:12: qos loop: no QOS none to preempt (add it under qos)",
        "p.yaml:12: qos loop preempts itself (slurmdbd refuses such a circle)",
        "p.yaml:13: priority: order: luck is none of qos, partition, fairshare, age, size, assoc",
        "p.yaml:13: priority: order: a factor stands there twice",
        "p.yaml:13: priority: max_age is no time that ends, of 60 s or more (7-0)",
        "p.yaml:13: priority: half_life: use would never be forgotten, which Slurm refuses"
        " (7-0, or set PriorityUsageResetPeriod in slurm: settings)",
        "p.yaml:15: account x: fairshare: -1 is no whole number from 0 to 2147483647",
        "p.yaml:15: account x: MaxJobs: few is no whole number from 0 to 2147483647",
        "p.yaml:15: account x: GrpTRES: GPU=3 is not a list of TRES (gres/gpu=8,cpu=64)",
        "p.yaml:15: account x: user Ada: sacctmgr knows small letters only (ada)",
        "p.yaml:15: account x: user a b: letters, digits, . - and _ make a name",
        "p.yaml:15: account x: no QOS gone (add it under qos)",
        "p.yaml:16: account y: description: it's is not up to 255 characters without quotes, backslashes"
        " and #",
        "p.yaml:16: account x stands there twice (a cluster has one of a name)",
        "p.yaml:16: account y: jobs that name no QOS get loop, and may use normal only"
        " (set default_qos, or add it to qos)",
        "p.yaml:17: the policy: no key prempt (did you mean preempt?)",
    ]


@pytest.mark.parametrize(
    ("partition", "more", "message"),
    [
        ("", "preempt: qos", "preemption is by qos, and no qos preempts another"),
        ("", "preempt: partition", "no partition of a lower tier may be preempted"),
        (", grace: 60", "", "preempt and grace count under preemption by partition, and it is off"),
        (
            ", tier: 2}, low: {nodes: all, preempt: requeue",
            "qos: {a: {grace: 60s}}",
            "preempt, mode and grace count under preemption by qos, and it is partition",
        ),
        ("", "qos: {a: {mode: off}}", "qos a: mode: off is none of requeue, cancel, suspend"),
        ("", "qos: {a: {preempt: b}, b: {preempt: a}}", "qos a preempts itself"),
        ("", "qos: {a: {usage_factor: -1}}", "usage_factor: -1 is not a factor such as 0.25"),
        ("", "preempt: {by: luck}", "preempt: by: luck is none of qos, partition, off"),
        ("", "preempt: {by: qos, exempt: 1 hour}", "exempt: 1 hour is not a number of seconds"),
        (", allow_accounts: [x]", "", "allow_accounts: no account x"),
        ('}, "a b": {nodes: all', "", "partition a b: letters, digits, . - and _ make a name"),
        (
            ", settings: {priorityjobfactor: 3}",
            "",
            "priorityjobfactor has a place of its own (say it in factor)",
        ),
        (", settings: {a b: 1}", "", "a b is no key of slurm.conf"),
        (', settings: {Nodes: "a\\nb"}', "", "no line end and no double quote"),
    ],
)
def test_a_mistake_is_told(partition: str, more: str, message: str) -> None:
    assert any(message in one for one in mistakes(RIGHT % ("", partition, more)))


@pytest.mark.parametrize(
    "daemons",
    [
        ", settings: {PriorityFlags: NO_NORMAL_QOS}",
        ", settings: {priorityweightage: 5}",
        ", settings: {PriorityMaxAge: 1-0}",
        ", settings: {PreemptMode: REQUEUE}",
        ", autodetect: magic",
        ", database: {host: db, secret: my password!}",
        ", database: {}",
    ],
)
def test_a_mistake_of_the_daemons_is_told(daemons: str) -> None:
    assert all(one.startswith("p.yaml:1: ") for one in mistakes(RIGHT % (daemons, "", "")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml:1: is empty"),
        ("- a", "p.yaml:1: is no mapping"),
        ("a: [", "is not YAML"),
        (
            "slurm: {controllers: h}\npartitions: {a: {nodes: all}}\nqos: {q: }\nqos: {r: }",
            "p.yaml:4: qos stands",
        ),
        ("slurm: {controllers: h}\npartitions: {}", "p.yaml:2: there is no partition"),
        ("slurm: {controllers: h}\npartitions:\n", "partitions is missing"),
    ],
)
def test_what_is_no_policy_is_told(text: str, message: str) -> None:
    assert any(message in one for one in mistakes(text))


def test_aliases_that_multiply_are_read_once() -> None:
    """A few lines could stand for billions of accounts otherwise."""
    levels = "\n".join(
        f"  - &l{n} {{a{n}: {{accounts: *l{n - 1}}}, b{n}: {{accounts: *l{n - 1}}}}}" for n in range(1, 60)
    )
    text = f"x:\n  - &l0 {{end: }}\n{levels}\naccounts: *l59\n" + RIGHT % ("", "", "")
    assert any("end stands there twice" in one for one in mistakes(text))


NUMBERS = st.sampled_from(
    ["9" * 5000, "-1", "0x10", "1e9", "08", ".inf", "~", "'", "[]", "{}", "*a", "&a b", "\\"]
)
KEYS = st.sampled_from(
    [
        *"slurm partitions qos accounts priority preempt nodes tier factor max_time grace users".split(),
        *"settings database host controllers description default_qos half_life mode flags order".split(),
        *sorted(QOS_LIMITS | ASSOCIATION_LIMITS),
    ]
)
VALUES = st.recursive(
    st.one_of(NUMBERS, KEYS, st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(KEYS, inner, max_size=4).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=20,
)


def places_of_mistakes(data: bytes) -> list[str]:
    try:
        read(data, "p.yaml")
    except InvalidInput as error:
        return [problem.where for problem in error.problems] or ["nowhere"]
    return []


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=80), VALUES.map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_a_policy_or_mistakes(data: bytes) -> None:
    for one in (data, SITE.encode() + data, SITE.replace("60", "%s").encode() % data):
        assert all(where.startswith("p.yaml:") for where in places_of_mistakes(one))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_are_a_policy_or_mistakes(found: dict[str, str]) -> None:
    lines = "".join(f"{key}: {value}\n" for key, value in found.items())
    assert all(where.startswith("p.yaml:") for where in places_of_mistakes(lines.encode("utf-8", "replace")))
