"""slurm.conf: what differs by release, what follows from the hardware, what the policy overrides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpctools.conf.policy import Database, Policy
from hpctools.conf.rendering import render
from hpctools.errors import InvalidInput
from hpctools.inventory.model import Inventory
from hpctools.slurm import conf_text
from hpctools.slurm.releases import RELEASES, at_least
from tests.conf.render.clusters import ACCOUNTED, CPU, PLAIN, homogeneous, inventory, mixed, nvl72, policy


def slurm(facts: Inventory, choices: Policy, release: str = "24.11") -> dict[str, str]:
    """The pairs of slurm.conf."""
    lines = conf_text.parse(render(facts, choices, release)["slurm.conf"].encode()).lines
    return {line.key: line.pairs[0].value for line in lines if line.pairs}


def with_settings(**settings: str) -> Policy:
    return replace(PLAIN, daemons=replace(PLAIN.daemons, settings=settings))


@pytest.mark.parametrize("release", RELEASES)
def test_a_job_gets_its_signal_before_it_is_preempted(release: str) -> None:
    found = slurm(homogeneous(1), ACCOUNTED, release)
    if at_least(release, "23.02"):
        assert found["PreemptParameters"] == "send_user_signal"
    else:
        assert found["SlurmctldParameters"] == "enable_configless,preempt_send_user_signal"


@pytest.mark.parametrize("release", RELEASES)
def test_a_jobs_own_tmp_is_made_by_the_plugin_of_the_release(release: str) -> None:
    found = slurm(homogeneous(1), ACCOUNTED, release)
    if at_least(release, "25.11"):
        assert found["NamespaceType"] == "namespace/tmpfs"
    else:
        assert found["JobContainerType"] == "job_container/tmpfs"
    assert "BasePath=/local/jobs" in render(homogeneous(1), ACCOUNTED, release)["job_container.conf"]


@pytest.mark.parametrize("release", RELEASES)
def test_nvlink_domains_get_imex_channels_where_slurm_has_them(release: str) -> None:
    assert slurm(nvl72(1), PLAIN, release).get("SwitchType") == (
        "switch/nvidia_imex" if at_least(release, "24.05") else None
    )
    assert "SwitchType" not in slurm(homogeneous(64), PLAIN, release)


@pytest.mark.parametrize("release", RELEASES)
def test_energy_of_gpus_is_read_where_slurmctld_can_load_the_plugin(release: str) -> None:
    energy = slurm(homogeneous(1), ACCOUNTED, release).get("AcctGatherEnergyType")
    assert energy == ("acct_gather_energy/gpu" if at_least(release, "23.02") else None)


def test_each_gres_is_tracked_by_its_name_and_its_types() -> None:
    tracked = slurm(mixed(6), ACCOUNTED)["AccountingStorageTRES"].split(",")
    assert tracked[0] == "gres/gpu"
    assert set(tracked) == {
        *("gres/gpu", "gres/gpu:h100", "gres/gpu:a100_1g.10gb", "gres/gpu:a100_3g.40gb", "gres/gpu:l40s"),
        *("gres/gpu:t4", "gres/gpu:a30", "gres/gpu:gb200", "gres/shard", "gres/mps"),
    }
    assert slurm(mixed(6), ACCOUNTED)["GresTypes"] == "gpu,shard,mps"


def test_without_a_database_nothing_needs_one() -> None:
    texts = render(mixed(6), PLAIN, "24.11")
    assert not [name for name in texts if "dbd" in name or "accounts" in name]
    assert "AccountingStorage" not in texts["slurm.conf"]
    assert "TRESBillingWeights" not in texts["partitions.conf"]


@pytest.mark.parametrize(("count", "message_s"), [(999, 10), (1000, 30)])
def test_processes_have_five_times_as_long_to_end_as_a_message_may_take(count: int, message_s: int) -> None:
    found = slurm(homogeneous(count), PLAIN)
    assert int(found.get("MessageTimeout", 10)) == message_s
    assert int(found["UnkillableStepTimeout"]) >= 5 * message_s


def test_backfill_looks_as_far_ahead_as_the_longest_job_runs() -> None:
    assert "bf_window=10080,bf_resolution=420" in slurm(homogeneous(1), ACCOUNTED)["SchedulerParameters"]
    assert slurm(homogeneous(1), PLAIN)["SchedulerParameters"] == "bf_continue"


def test_a_setting_of_the_policy_takes_the_place_of_ours() -> None:
    text = render(homogeneous(1), with_settings(returntoservice="2", MaxJobCount="50000"), "24.11")[
        "slurm.conf"
    ]
    assert "returntoservice=2  # set by the policy\n" in text
    assert "ReturnToService=1" not in text
    assert text.endswith("\n# Set by the policy.\nMaxJobCount=50000\n")


def test_a_setting_of_what_stands_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidInput, match="settings: NodeName: is made of other parts"):
        render(homogeneous(1), with_settings(NodeName="x"), "24.11")


def test_a_path_with_a_blank_is_quoted() -> None:
    choices = replace(PLAIN, daemons=replace(PLAIN.daemons, logs="/var/log/the slurm"))
    assert slurm(homogeneous(1), choices)["SlurmdLogFile"] == "/var/log/the slurm/slurmd.log"


def test_what_no_file_of_slurms_can_carry_is_refused() -> None:
    choices = replace(PLAIN, daemons=replace(PLAIN.daemons, logs='/var/log/a "b'))
    with pytest.raises(InvalidInput, match="cannot be written"):
        render(homogeneous(1), choices, "24.11")


def test_memory_that_is_all_reserved_is_refused() -> None:
    types = CPU.replace("503G", "503G\n    reserved: {memory: 500G}")
    with pytest.raises(InvalidInput, match="512000 MiB are reserved of the 503808"):
        render(inventory(types, "  - {hosts: c1, type: cpu}"), PLAIN, "24.11")


def test_qos_without_a_database_are_refused() -> None:
    choices = policy(
        "slurm: {controllers: c}\npartitions: {main: {nodes: all, qos: high}}\nqos: {high: {}}\n"
    )
    with pytest.raises(InvalidInput) as caught:
        render(homogeneous(1), choices, "24.11")
    assert [one.where for one in caught.value.problems] == ["qos high", "partition main: qos"]


def test_the_password_stands_in_no_file() -> None:
    place = "/etc/slurm/storage.secret"
    database = Database("db1", secret=place)
    choices = replace(ACCOUNTED, daemons=replace(ACCOUNTED.daemons, database=database))
    texts = render(homogeneous(1), choices, "24.11")
    assert "\nInclude /etc/slurm/storage.secret\n" in texts["slurmdbd.conf"]
    pairs = conf_text.parse(texts["slurmdbd.conf"].encode()).lines
    assert not [line for line in pairs if line.key.lower() == "storagepass"]
