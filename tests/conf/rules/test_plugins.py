"""Plugins under their other names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conf.rules.lines import say

NODE = "NodeName=n1 CPUs=4"
PLUGINS = ("unknown-plugin", "removed-plugin", "newer-plugin")


@pytest.mark.parametrize("value", ["munge", "auth/munge", "slurm", "cred/slurm", "auth/slurm"])
def test_auth_plugins_make_credentials_since_2311(tmp_path: Path, value: str) -> None:
    assert not say(tmp_path, PLUGINS, f"CredType={value}", NODE, release="23.11")
    (one,) = say(tmp_path, PLUGINS, f"CredType={value}", NODE, release="23.02")
    assert one.severity == "fatal"


def test_what_makes_no_credentials_is_still_refused(tmp_path: Path) -> None:
    (one,) = say(tmp_path, PLUGINS, "CredType=auth/jwt", NODE)
    assert (one.severity, one.hint) == ("fatal", "cred/ has munge, none, slurm")


def test_openmpi_is_none_and_only_old_releases_tell(tmp_path: Path) -> None:
    rules = (*PLUGINS, "obsolete-option")
    assert not say(tmp_path, rules, "MpiDefault=openmpi", NODE)
    (one,) = say(tmp_path, rules, "MpiDefault=openmpi", NODE, release="22.05")
    assert one.rule == "obsolete-option"
