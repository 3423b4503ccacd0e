"""The JSON Schema of policy.yaml for editors says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hpctools.conf import policy_accounts, policy_daemons, policy_read
from hpctools.errors import InvalidInput
from tests.conf.test_policy import READY, SITE

ROOT = Path(__file__).parent.parent.parent
SCHEMA: dict[str, Any] = json.loads((ROOT / "slurm_conf/schemas/policy.schema.json").read_text())
JUDGE = jsonschema.Draft202012Validator(SCHEMA)
DEFS = SCHEMA["$defs"]


def keys(name: str) -> set[str]:
    return set(DEFS[name]["properties"])


def accepted(text: str) -> tuple[bool, bool]:
    """Whether the schema takes text, and whether the reader does."""
    try:
        policy_read.policy(text.encode(), "p.yaml")
    except InvalidInput:
        return JUDGE.is_valid(yaml.safe_load(text)), False
    return JUDGE.is_valid(yaml.safe_load(text)), True


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_the_keys_and_words_of_the_reader() -> None:
    assert set(SCHEMA["properties"]) == set(policy_read.POLICY_KEYS)
    assert keys("slurm") == set(policy_daemons.DAEMON_KEYS)
    assert keys("database") == set(policy_daemons.DATABASE_KEYS)
    assert keys("partition") == set(policy_read.PARTITION_KEYS)
    assert keys("priority") == set(policy_read.PRIORITY_KEYS)
    assert keys("qos") == {*policy_accounts.QOS_KEYS, *policy_accounts.QOS_LIMITS}
    assert keys("account") == {*policy_accounts.ACCOUNT_KEYS, *policy_accounts.ASSOCIATION_LIMITS}
    assert keys("user") == {*policy_accounts.USER_KEYS, *policy_accounts.ASSOCIATION_LIMITS}
    words = {
        policy_daemons.AUTODETECT: DEFS["slurm"]["properties"]["autodetect"]["enum"],
        policy_read.FACTORS: DEFS["priority"]["properties"]["order"]["items"]["enum"],
        policy_read.FAVOR: DEFS["priority"]["properties"]["favor"]["enum"],
        # Editors that follow YAML 1.1 take a bare off for false, too.
        (*policy_read.PREEMPT_MODES, False): DEFS["partition"]["properties"]["preempt"]["enum"],
        (*policy_read.PREEMPT_BY, False): DEFS["preempt_by"]["enum"],
        policy_accounts.QOS_MODES: DEFS["qos"]["properties"]["mode"]["enum"],
        policy_accounts.QOS_FLAGS: DEFS["qos_flag"]["enum"],
        policy_accounts.ADMINS: DEFS["user"]["properties"]["admin"]["enum"],
    }
    assert [list(known) for known in words] == list(words.values())


@pytest.mark.parametrize("text", [SITE, *(path.read_text() for path in READY)])
def test_what_is_right_is_accepted_by_both(text: str) -> None:
    JUDGE.validate(yaml.safe_load(text))
    assert accepted(text) == (True, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("controllers:", "controler:"),
        ("database: {host: db", "database: {name: db"),
        ("/etc/slurm/pass", "p@ss word"),
        ("prod:     {nodes", "p rod: {nodes"),
        ("nodes: dgx, tier: 100", "tier: 100"),
        ("tier: 100", "tier: 65534"),
        ("factor: 2", "factor: two"),
        ("7-00:00:00", "a week"),
        ("max_nodes: 2", "max_nodes: 0"),
        ("preempt: requeue", "preempt: kill"),
        ("grace: 2m", "grace: 2 minutes"),
        ("priority: 100", "priority: -1"),
        ("usage_factor: 2.5", "usage_factor: much"),
        ("flags: [DenyOnLimit]", "flags: [Deny]"),
        ("MaxWall:", "MaxWalls:"),
        ("gres/gpu: 64", "GPU: 64"),
        ("order: [qos, fairshare]", "order: [qos, luck]"),
        ("order: [qos, fairshare]", "order: [qos, qos]"),
        ("favor: small", "favor: tiny"),
        ("fairshare: 60", "fairshare: parent"),
        ("MaxTRES: gres/gpu=8", "MaxTRES: eight"),
        ("admin: operator", "admin: root"),
        ("MaxJobs: 4", "MaxJobs: four"),
        ("[eve]", "[Eve]"),
        ("product:", "root:"),
    ],
)
def test_a_mistake_of_form_is_refused_by_both(old: str, new: str) -> None:
    assert old in SITE
    assert accepted(SITE.replace(old, new, 1)) == (False, False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nodes: [dgx, cpu]", "nodes: dgx"),
        ("grace: 2m", "grace: 120"),
        ("7-00:00:00", "UNLIMITED"),
        ("preempt: off", 'preempt: "off"'),
        ("flags: [DenyOnLimit]", "flags: DenyOnLimit"),
        ("GrpTRES: {gres/gpu: 64}", 'GrpTRES: "gres/gpu=64,gres/gpu:h100=64"'),
        ("users: [eve]", "users: {eve: }"),
        ("  normal:", "  normal: {}"),
    ],
)
def test_another_form_of_a_value_is_accepted_by_both(old: str, new: str) -> None:
    assert old in SITE
    assert accepted(SITE.replace(old, new, 1)) == (True, True)
