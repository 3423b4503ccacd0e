"""What scontrol says of partitions, nodes, jobs, the configuration and itself."""

from __future__ import annotations

import pytest

from hpctools.errors import ParseError
from hpctools.slurm import scontrol, tres
from tests.record import HOSTILE_COMMENT, HOSTILE_NAME
from tests.slurm_language.recordings import answer, corpus, each_release

# What is said to be StdErr where it goes to StdOut, the field with a job's TRES, and the states of the
# nodes that are kept free for a larger job and of those on which others run meanwhile.
STDERR = {"22.05": "{stdout}", "24.11": "{stdout}", "26.05": ""}
TRES = {"22.05": ("TRES", "TRES"), "24.11": ("ReqTRES", "AllocTRES"), "26.05": ("ReqTRES", "AllocTRES")}
PLANNED = {
    "22.05": {("MIXED",), ("IDLE", "PLANNED")},
    "24.11": {("MIXED", "PLANNED"), ("IDLE", "PLANNED")},
    "26.05": {("MIXED", "PLANNED"), ("IDLE", "PLANNED")},
}


@each_release
def test_partitions_are_read_with_their_limits(release: str) -> None:
    partitions = {one.name: one for one in scontrol.parse_partitions(answer(release, "scontrol-partitions"))}
    (default,) = (one for one in partitions.values() if one.is_default)
    assert default.state == "UP"
    assert default.nodes == 4
    assert default.tres["gres/gpu"] == 32
    assert default.max_nodes is None
    assert default.allow_accounts == ()
    assert default.tier > 1
    assert default.other["PartitionName"] == default.name
    assert default.default_time_s == 3600
    assert any(one.grace_time_s for one in partitions.values())


def test_a_partition_may_have_no_default_time() -> None:
    text = answer("22.05", "scontrol-partitions").replace("DefaultTime=01:00:00", "DefaultTime=NONE")
    assert {one.default_time_s for one in scontrol.parse_partitions(text)} == {None, 600}


@each_release
def test_nodes_are_read(release: str) -> None:
    nodes = scontrol.parse_nodes(answer(release, "scontrol-nodes"))
    assert len(nodes) == 4
    for node in nodes:
        assert node.version.startswith(release)
        assert node.gres[0].type == "h200"
        assert node.state[0] in ("IDLE", "MIXED", "ALLOCATED")
        assert node.configured["gres/gpu"] == 8
        assert (node.reason, node.reason_by) == ("", "")
        assert node.port
    assert any(node.allocated for node in nodes)
    assert {node.state for node in nodes} == PLANNED[release]
    for node in nodes:
        assert node.boot_s is not None
        assert (node.partitions[0], node.memory_mb, node.configured["mem"]) == ("main", 65536, 65536)
        assert node.allocated.get("cpu", 0) == int(node.other["CPUAlloc"])


def test_why_a_node_is_drained_may_hold_blanks_and_fields() -> None:
    line = (
        "NodeName=n1 Arch=x86_64 CPUTot=64 State=IDLE+DRAIN OS=Linux 6.1.0 #1 SMP Debian  RealMemory=64000 "
        "Reason=GPU 3 fell off, see TICKET=12 State=DOWN [ada@2026-07-22T23:31:17] ReservationName=maint"
    )
    (node,) = scontrol.parse_nodes(line + "\n")
    assert node.state == ("IDLE", "DRAIN")
    assert (node.reason, node.reason_by) == ("GPU 3 fell off, see TICKET=12 State=DOWN", "ada")
    assert node.other["ReservationName"] == "maint"
    assert node.other["OS"] == "Linux 6.1.0 #1 SMP Debian"
    assert node.memory_mb == 64000


@each_release
@pytest.mark.parametrize(
    ("name", "state", "reason", "code"),
    [
        ("completed", "COMPLETED", "None", "0:0"),
        ("failed", "FAILED", "NonZeroExitCode", "7:0"),
        ("timeout", "TIMEOUT", "TimeLimit", "0:15"),
        ("requeued", "PENDING", "BeginTime", "0:0"),
        ("resources", "PENDING", "Resources", "0:0"),
        ("never", "PENDING", "DependencyNeverSatisfied", "0:0"),
    ],
)
def test_a_jobs_fields_are_read(release: str, name: str, state: str, reason: str, code: str) -> None:
    job = scontrol.parse_job(answer(release, f"scontrol-job-{name}"))
    assert (job["JobState"], job["Reason"], job["ExitCode"]) == (state, reason, code)
    assert job["JobName"] == name
    assert job["Command"] == f"{job['WorkDir']}/job.sh"
    assert job["StdOut"] == f"{job['WorkDir']}/slurm-{job['JobId']}.out"
    assert job["StdErr"] == STDERR[release].format(stdout=job["StdOut"])
    assert job["Restarts"] == str(int(name == "requeued"))


@each_release
def test_a_hostile_name_and_comment_come_back_whole_and_change_nothing(release: str) -> None:
    (job,) = scontrol.parse_jobs(answer(release, "scontrol-job-hostile"))
    assert job["JobName"] == HOSTILE_NAME
    assert job["Comment"] == HOSTILE_COMMENT
    assert (job["JobState"], job["ExitCode"], job["NumNodes"]) == ("RUNNING", "0:0", "1")
    assert job["StdOut"] == f"{job['WorkDir']}/h {job['JobId']} {HOSTILE_NAME}.out"


@each_release
def test_a_jobs_tres_are_told_under_the_names_of_the_release(release: str) -> None:
    asked, held = TRES[release]
    running = scontrol.parse_job(answer(release, "scontrol-job-running"))
    assert tres.parse(running[asked])["gres/gpu"] == tres.parse(running[held])["gres/gpu"] == 4
    assert tres.parse(running[held])["gres/gpu:h200"] == 4
    (request,) = tres.parse_gres(running["TresPerNode"])
    assert (request.name, request.count) == ("gpu", 2)
    waiting = scontrol.parse_job(answer(release, "scontrol-job-resources"))
    assert tres.parse(waiting[asked])["gres/gpu"] == 4
    assert tres.parse(waiting["AllocTRES"] if held == "AllocTRES" else "") == {}


@each_release
def test_every_value_of_a_record_is_a_single_value(release: str) -> None:
    for name in ("completed", "resources", "het", "array-limit", "requeued"):
        for job in scontrol.parse_jobs(answer(release, f"scontrol-job-{name}")):
            texts = {"JobName", "SubmitLine", "StdOut", "StdErr"}
            assert {key: value for key, value in job.items() if " " in value and key not in texts} == {}


@each_release
def test_each_task_of_an_array_has_its_record(release: str) -> None:
    tasks = scontrol.parse_jobs(answer(release, "scontrol-job-array"))
    assert {task["ArrayTaskId"]: task["ExitCode"] for task in tasks} == {
        "0": "0:0",
        "1": "1:0",
        "2": "2:0",
        "3": "3:0",
    }
    assert all(
        task["StdOut"].endswith(f"slurm-{task['ArrayJobId']}_{task['ArrayTaskId']}.out") for task in tasks
    )


@each_release
def test_each_part_of_a_heterogeneous_job_has_its_record(release: str) -> None:
    parts = scontrol.parse_jobs(answer(release, "scontrol-job-het"))
    assert [part["HetJobOffset"] for part in parts] == ["0", "1"]
    assert all(part["JobName"] == "het" and part["UserId"] for part in parts)


def test_a_command_that_looks_like_a_record_does_not_move_the_jobs_output() -> None:
    text = (
        "JobId=5 JobName=a UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=1 Nice=0 Account=r QOS=q "
        "JobState=RUNNING Reason=None ExitCode=0:0 Network=(null) Command=/b/run.sh StdOut=/x "
        "JobState=FAILED WorkDir=/y SubmitLine=sbatch WorkDir=/z WorkDir=/w  Comment=c  Extra=e "
        "StdErr=/e StdIn=/dev/null "
        "StdOut=/o MailUser=ada MailType=END TresPerNode=gres/gpu:8 \n"
    )
    job = scontrol.parse_job(text)
    assert (job["JobState"], job["WorkDir"], job["StdOut"]) == ("RUNNING", "/w", "/o")
    assert (job["Comment"], job["Extra"]) == ("c", "e")
    assert (job["MailUser"], job["TresPerNode"]) == ("ada", "gres/gpu:8")


@pytest.mark.parametrize(
    "field",
    [
        # As 24.11 and 26.05 printed them first behind StdOut; ExpeditedRequeue by scontrol/info_job.c.
        "SegmentSize=1 ConsolidateSegments=Yes",
        "OOMKillStep=1 ",
        "MailUser=a@b MailType=END",
        "TresBind=gres/gpu:per_task:1 TresPerTask=gres/gpu:1",
        "KillOInInvalidDependent=Yes ",
        "KillOnInvalidDependent=Yes",
        "SpreadJob=Yes",
        "ExpeditedRequeue=Yes",
        "CpusPerTres=gres/gpu:1 TresPerJob=gres/gpu:1",
        "MemPerTres=gres/gpu:1024 TresPerJob=gres/gpu:1",
        "Switches=1@00:05:00",
        "GresEnforceBind=No",
        "TresFreq=gpu:high TresPerJob=gres/gpu:1",
        "ContainerType=(null) Container=/x ContainerID=(null)",
    ],
)
def test_what_follows_a_jobs_log_is_no_part_of_its_path(field: str) -> None:
    text = answer("26.05", "scontrol-job-begin").rstrip("\n")
    job = scontrol.parse_job(text)
    more = scontrol.parse_job(f"{text} {field}\n")
    name, _, value = field.split(" ")[0].partition("=")
    assert more["StdOut"] == job["StdOut"]
    assert more[name] == value


def test_the_head_of_a_record_is_read_as_25_11_prints_it() -> None:
    text = (
        "JobId=5 JobName=a b SLUID=s7C HetJobIdSet=5-6 UserId=ad a(1000) GroupId=users(100) MCS_label=N/A "
        "Priority=1 Nice=-5 Account=r QOS=q JobState=PENDING Reason=Priority Command=/c SubmitLine=sbatch /c "
        "WorkDir=/w StdErr=/e StdIn=/dev/null StdOut=/o \n"
    )
    job = scontrol.parse_job(text)
    assert (job["JobName"], job["UserId"], job["SLUID"]) == ("a b", "ad a(1000)", "s7C")
    assert (job["SubmitLine"], job["Nice"], job["StdOut"]) == ("sbatch /c", "-5", "/o")


@each_release
def test_an_unknown_job_is_refused(release: str) -> None:
    with pytest.raises(ParseError):
        scontrol.parse_job(answer(release, "scontrol-job-unknown"))


@each_release
def test_the_configuration_is_a_mapping(release: str) -> None:
    config = scontrol.parse_config(answer(release, "scontrol-config"))
    assert config["SLURM_VERSION"].startswith(release)
    assert config["ClusterName"]
    assert config["SelectType"].startswith("select/")
    assert "gres/gpu" in config["AccountingStorageTRES"]


@each_release
def test_which_slurmctld_answers_is_told(release: str) -> None:
    (controller,) = scontrol.parse_ping(answer(release, "scontrol-ping"))
    assert (controller.role, controller.up) == ("primary", True)


def test_a_backup_that_is_down_is_told() -> None:
    text = "Slurmctld(primary) at a is UP\nSlurmctld(backup1) at b is DOWN\n"
    assert [one.up for one in scontrol.parse_ping(text)] == [True, False]


def test_partitions_of_another_site_are_read() -> None:
    for name in ("sample-scontrol-output.txt", "sample-scontrol-output-large.txt"):
        text = corpus("gcm", name).read_text()
        partitions = scontrol.parse_partitions(text)
        assert len(partitions) == text.count("PartitionName=")
        assert all(one.max_time_s and one.nodes for one in partitions)


def test_the_configuration_of_another_site_is_read() -> None:
    text = corpus("gcm", "sample-scontrol-show-config-output.txt").read_text()
    config = scontrol.parse_config(text)
    assert config["AccountingStorageHost"] == "slurmdb"
    assert len(config) > 150


@pytest.mark.parametrize("folder", ["", "slurm-24.11.7", "slurm-26.05.2"])
def test_nodes_of_other_releases_are_read(folder: str) -> None:
    text = corpus("exporters", "test_data", folder, "scontrol_nodes.txt").read_text()
    nodes = scontrol.parse_nodes(text)
    assert len(nodes) == text.count("NodeName=")
    assert all(node.cpus and node.memory_mb and node.state and node.version for node in nodes)
    if not folder:
        assert nodes[0].reason == "planned_maintenance"
        assert nodes[0].reason_by == "root"
        assert nodes[0].other["ReservationName"] == "maintenance-2026"
