"""`hpctools conf new`: a site begins with files that are right, and none of its own is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctools.cli.conf_new import new as command
from hpctools.conf.inputs import inputs
from hpctools.conf.judge import lint
from hpctools.conf.policy import Database, Policy
from hpctools.conf.policy_read import policy
from hpctools.conf.priority import weights
from hpctools.conf.rendering import render, write
from hpctools.conf.starting import new, policies
from hpctools.errors import InvalidInput
from hpctools.inventory.model import Inventory


def rendered(facts: Inventory, choices: Policy, folder: Path, release: str) -> str:
    """The folder that a policy's configuration was written into."""
    write(render(facts, choices, release), folder)
    return str(folder)


@pytest.mark.parametrize("release", ["22.05", "24.11", "26.05"])
@pytest.mark.parametrize("name", policies())
def test_what_is_written_is_right(name: str, release: str, tmp_path: Path) -> None:
    written = new(name, str(tmp_path / "site"))
    assert written == [str(tmp_path / "site" / file) for file in ("inventory.yaml", "policy.yaml")]
    facts, choices = inputs(*written)
    assert weights(facts, choices).lost == ()
    known = {*facts.types, "all"}
    assert all(set(partition.nodes) <= known for partition in choices.partitions)
    # The password is not here, as it is on the host of slurmdbd.
    secret = tmp_path / "pass.conf"
    secret.write_text("StoragePass=x\n")
    secret.chmod(0o600)
    database = replace(choices.daemons.database or Database(""), secret=str(secret))
    choices = replace(choices, daemons=replace(choices.daemons, database=database))
    # Clean, and that too: debug jobs of none of them push long runs off their nodes.
    found = lint([rendered(facts, choices, tmp_path / "conf", release)], release=release)
    assert [str(one) for one in found] == []


def test_a_debug_tier_above_production_is_found(tmp_path: Path) -> None:
    written = new("production-scavenger", str(tmp_path / "site"))
    facts, _ = inputs(*written)
    text = Path(written[1]).read_text()
    text = text.replace("debug: {nodes: all, tier: 100", "debug: {nodes: all, tier: 200")
    text = text.replace("    preempt: off   ", "    preempt: requeue   ")
    choices = policy(text.encode(), "p.yaml")
    found = lint([rendered(facts, choices, tmp_path / "conf", "24.11")], release="24.11")
    (said,) = [one for one in found if one.rule == "short-tier-preempts"]
    assert "jobs of debug (PriorityTier=200) push running jobs of production" in said.message


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("mine")
    with pytest.raises(InvalidInput, match=r"policy\.yaml: exists; nothing was written"):
        new("training", str(tmp_path))
    assert (tmp_path / "policy.yaml").read_text() == "mine"
    assert not (tmp_path / "inventory.yaml").exists()
    (tmp_path / "policy.yaml").unlink()
    (tmp_path / "policy.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="exists"):
        new("training", str(tmp_path))


@pytest.mark.parametrize("name", ["", "gone", "inventory", "../schemas/policy.schema", "/etc/passwd"])
def test_only_ready_policies_are_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="known are production-scavenger, training, university"):
        new(name, str(tmp_path / "site"))
    assert not (tmp_path / "site").exists()


def test_the_command_lists_writes_and_tells_mistakes(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(command, [], catch_exceptions=False).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["POLICY", *policies()]
    assert all(len(what) > 20 for what in policies().values())
    done = runner.invoke(
        command, ["--policy", "training", "--out", str(tmp_path / "a" / "b")], catch_exceptions=False
    )
    assert done.stdout.splitlines() == [
        str(tmp_path / "a" / "b" / name) for name in ("inventory.yaml", "policy.yaml")
    ]
    with pytest.raises(InvalidInput, match="needs --out"):
        runner.invoke(command, ["--policy", "training"], catch_exceptions=False)
    with pytest.raises(InvalidInput, match="needs --policy"):
        runner.invoke(command, ["--out", "x"], catch_exceptions=False)
