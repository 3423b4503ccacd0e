"""Reasons and states in plain sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.slurm import squeue, why
from tests.slurm_language.recordings import answer, each_release

# Every reason that a release from 20.11 to 26.05 can print (src/common/job_state_reason.c, before
# 23.11 slurm_protocol_defs.c), written out once, because nothing of Slurm's is installed with us.
REASONS = """
AccountNotAllowed AccountingPolicy AssocGrpBB AssocGrpBBMinutes AssocGrpBBRunMinutes AssocGrpBilling
AssocGrpBillingMinutes AssocGrpBillingRunMinutes AssocGrpCPUMinutesLimit AssocGrpCPURunMinutesLimit
AssocGrpCpuLimit AssocGrpEnergy AssocGrpEnergyMinutes AssocGrpEnergyRunMinutes AssocGrpGRES
AssocGrpGRESMinutes AssocGrpGRESRunMinutes AssocGrpJobsLimit AssocGrpLicense AssocGrpLicenseMinutes
AssocGrpLicenseRunMinutes AssocGrpMemLimit AssocGrpMemMinutes AssocGrpMemRunMinutes AssocGrpNodeLimit
AssocGrpNodeMinutes AssocGrpNodeRunMinutes AssocGrpSubmitJobsLimit AssocGrpUnknown AssocGrpUnknownMinutes
AssocGrpUnknownRunMinutes AssocGrpWallLimit AssocMaxBBMinutesPerJob AssocMaxBBPerJob AssocMaxBBPerNode
AssocMaxBillingMinutesPerJob AssocMaxBillingPerJob AssocMaxBillingPerNode AssocMaxCpuMinutesPerJobLimit
AssocMaxCpuPerJobLimit AssocMaxCpuPerNode AssocMaxEnergyMinutesPerJob AssocMaxEnergyPerJob
AssocMaxEnergyPerNode AssocMaxGRESMinutesPerJob AssocMaxGRESPerJob AssocMaxGRESPerNode AssocMaxJobsLimit
AssocMaxLicenseMinutesPerJob AssocMaxLicensePerJob AssocMaxMemMinutesPerJob AssocMaxMemPerJob
AssocMaxMemPerNode AssocMaxNodeMinutesPerJob AssocMaxNodePerJobLimit AssocMaxSubmitJobLimit
AssocMaxUnknownMinutesPerJob AssocMaxUnknownPerJob AssocMaxUnknownPerNode AssocMaxWallDurationPerJobLimit
AssociationJobLimit AssociationResourceLimit AssociationTimeLimit BadConstraints BeginTime BlockFreeAction
BlockMaxError BurstBufferOperation BurstBufferResources BurstBufferStageIn Cleaning Constraints DeadLine
Dependency DependencyNeverSatisfied FedJobLock FrontEndDown InactiveLimit InvaildReason InvalidAccount
InvalidQOS InvalidReason JobArrayTaskLimit JobHeldAdmin JobHeldUser JobHoldMaxRequeue JobLaunchFailure
Licenses MaxBBPerAccount MaxBBRunMinsPerAccount MaxBBRunMinsPerUser MaxBillingPerAccount
MaxBillingRunMinsPerAccount MaxBillingRunMinsPerUser MaxCpuPerAccount MaxCpuRunMinsPerAccount
MaxCpuRunMinsPerUser MaxEnergyPerAccount MaxEnergyRunMinsPerAccount MaxEnergyRunMinsPerUser
MaxGRESPerAccount MaxGRESRunMinsPerAccount MaxGRESRunMinsPerUser MaxJobsPerAccount MaxLicensePerAccount
MaxLicenseRunMinsPerAccount MaxLicenseRunMinsPerUser MaxMemPerLimit MaxMemoryPerAccount
MaxMemoryRunMinsPerAccount MaxMemoryRunMinsPerUser MaxNodePerAccount MaxNodeRunMinsPerAccount
MaxNodeRunMinsPerUser MaxPoweredUpNodes MaxSubmitJobsPerAccount MaxUnknownPerAccount
MaxUnknownRunMinsPerAccount MaxUnknownRunMinsPerUser MpiPortsBusy NodeDown NonZeroExitCode None
NvidiaImexChannels OutOfMemory PartitionConfig PartitionDown PartitionInactive PartitionNodeLimit
PartitionTimeLimit PowerNotAvail PowerReserved Priority Prolog QOSGrpBB QOSGrpBBMinutes QOSGrpBBRunMinutes
QOSGrpBilling QOSGrpBillingMinutes QOSGrpBillingRunMinutes QOSGrpCPUMinutesLimit QOSGrpCPURunMinutesLimit
QOSGrpCpuLimit QOSGrpEnergy QOSGrpEnergyMinutes QOSGrpEnergyRunMinutes QOSGrpGRES QOSGrpGRESMinutes
QOSGrpGRESRunMinutes QOSGrpJobsLimit QOSGrpLicense QOSGrpLicenseMinutes QOSGrpLicenseRunMinutes
QOSGrpMemLimit QOSGrpMemoryMinutes QOSGrpMemoryRunMinutes QOSGrpNodeLimit QOSGrpNodeMinutes
QOSGrpNodeRunMinutes QOSGrpSubmitJobsLimit QOSGrpUnknown QOSGrpUnknownMinutes QOSGrpUnknownRunMinutes
QOSGrpWallLimit QOSJobLimit QOSMaxBBMinutesPerJob QOSMaxBBPerJob QOSMaxBBPerNode QOSMaxBBPerUser
QOSMaxBillingMinutesPerJob QOSMaxBillingPerJob QOSMaxBillingPerNode QOSMaxBillingPerUser
QOSMaxCpuMinutesPerJobLimit QOSMaxCpuPerJobLimit QOSMaxCpuPerNode QOSMaxCpuPerUserLimit
QOSMaxEnergyMinutesPerJob QOSMaxEnergyPerJob QOSMaxEnergyPerNode QOSMaxEnergyPerUser QOSMaxGRESMinutesPerJob
QOSMaxGRESPerJob QOSMaxGRESPerNode QOSMaxGRESPerUser QOSMaxJobsPerUserLimit QOSMaxLicenseMinutesPerJob
QOSMaxLicensePerJob QOSMaxLicensePerUser QOSMaxMemoryMinutesPerJob QOSMaxMemoryPerJob QOSMaxMemoryPerNode
QOSMaxMemoryPerUser QOSMaxNodeMinutesPerJob QOSMaxNodePerJobLimit QOSMaxNodePerUserLimit
QOSMaxSubmitJobPerUserLimit QOSMaxUnknownMinutesPerJob QOSMaxUnknownPerJob QOSMaxUnknownPerNode
QOSMaxUnknownPerUser QOSMaxWallDurationPerJobLimit QOSMinBB QOSMinBilling QOSMinCpuNotSatisfied QOSMinEnergy
QOSMinGRES QOSMinLicense QOSMinMemory QOSMinNode QOSMinUnknown QOSNotAllowed QOSResourceLimit QOSTimeLimit
QOSUsageThreshold RaisedSignal ReqNodeNotAvail Reservation ReservationDeleted ReservationInvalid Resources
SchedDefer SystemFailure TimeLimit
""".split()
STATES = """
PENDING RUNNING SUSPENDED COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE
OUT_OF_MEMORY COMPLETING CONFIGURING EXPEDITING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL REQUEUED
REQUEUE_FED REQUEUE_HOLD
RESIZING RESV_DEL_HOLD REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED
""".split()


def is_sentence(text: str) -> bool:
    """Begins with a capital, ends with a full stop, says more than a word, has no hole."""
    return text[0].isupper() and text.endswith(".") and text.count(" ") >= 1 and "{" not in text


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_slurm_has_a_sentence_of_ours(reason: str) -> None:
    sentence = why.explain(reason)
    assert is_sentence(sentence)
    assert "Slurm says" not in sentence


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_slurm_has_a_sentence_of_ours(state: str) -> None:
    sentence = why.explain_state(state)
    assert is_sentence(sentence)
    assert "Slurm says" not in sentence
    assert why.explain_state(state.lower()) == sentence


def test_every_entry_of_the_table_is_a_reason_of_slurms() -> None:
    assert set(why.REASONS) <= set(REASONS)
    assert set(why.STATES) == set(STATES)


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        ("AssocGrpGRES", "All jobs of its account together are at the limit for GPUs"),
        ("QOSMaxGRESPerUser", "Its QOS allows one user no more now"),
        ("QOSMaxGRESPerJob", "more than its QOS allows one job, so it will not start: the limit is on GPUs"),
        ("QOSMinGRES", "It asks for less GPUs"),
        ("QOSMaxNodePerUserLimit", "the limit is on nodes"),
        ("AssocMaxJobsLimit", "Its account allows one user no more now; it starts when others end"),
        ("MaxSubmitJobsPerAccount", "waiting and running jobs"),
        ("QOSMaxWallDurationPerJobLimit", "the limit is on run time"),
        ("AssocGrpCPUMinutesLimit", "usage decays or the limit is raised"),
        ("AssocGrpCPURunMinutesLimit", "it starts when others end"),
        ("MaxGRESRunMinsPerUser", "Its QOS allows one user no more now"),
    ],
)
def test_limits_are_told_by_who_has_them_and_on_what(reason: str, part: str) -> None:
    assert part in why.explain(reason)


def test_a_longer_text_is_explained_and_kept() -> None:
    said = why.explain("(ReqNodeNotAvail, UnavailableNodes:n[1-2])")
    assert "not available" in said
    assert "UnavailableNodes:n[1-2]" in said
    text = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"
    assert why.explain(text) == why.explain(text.replace(" ", "_"))
    assert "next in line" in why.explain(text)


def test_the_signal_that_ended_a_job_is_told() -> None:
    assert why.explain("RaisedSignal:9(Killed)") == "Signal 9 (Killed) ended it."
    # scontrol writes blanks as underscores.
    assert why.explain("RaisedSignal:11(Segmentation_fault)") == "Signal 11 (Segmentation fault) ended it."
    assert why.explain("(RaisedSignal:10(User defined signal 1))").startswith("Signal 10 (User defined")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Reservation maint 1 was deleted", "ReservationDeleted"),
        ("Reservation_maint_is_invalid", "ReservationInvalid"),
        ("Job is at or exceeds QOS normal's group wall limit of 60 with 70", "AccountingPolicy"),
        ("job requeued in held state", "JobHeldUser"),
    ],
)
def test_texts_of_slurmctld_are_explained_as_the_reason_they_stand_for(text: str, reason: str) -> None:
    assert why.explain(text) == f"{why.REASONS[reason]} Slurm says: {text.replace('_', ' ')}."


def test_several_reasons_of_an_array_are_each_explained() -> None:
    said = why.explain("Resources,JobArrayTaskLimit")
    assert why.explain("Resources") in said
    assert why.explain("JobArrayTaskLimit") in said


def test_who_cancelled_a_job_does_not_hide_the_state() -> None:
    assert why.explain_state("CANCELLED by 1000") == why.explain_state("CANCELLED")
    assert why.explain_state("CANCELLED+") == why.explain_state("CANCELLED")


@given(st.text())
def test_an_unknown_reason_is_told_as_slurm_told_it(reason: str) -> None:
    assert why.explain(reason)
    assert why.explain_state(reason)


@each_release
def test_every_recorded_reason_and_state_is_explained(release: str) -> None:
    for job in squeue.parse(answer(release, "squeue")):
        assert "Slurm says" not in why.explain(job.reason)
        assert "Slurm says" not in why.explain_state(job.state)
