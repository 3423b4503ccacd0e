"""Why a job waits, and how it ended, in plain sentences: what it means, what one can do.

Reasons are those of Slurm 22.05 to 26.05 (src/common/job_state_reason.c; in older releases
slurm_protocol_defs.c), and the longer texts that slurmctld puts in their place. States are those
of job_state_string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

_LIMITS = "`sacctmgr show associations` and `sacctmgr show qos` show it"

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "None": "Slurm has not looked at it yet; it will within a scheduling cycle.",
        "Prolog": "The nodes are being prepared (the site's prolog runs); it starts when that is done.",
        "Priority": (
            "Jobs with a higher priority are ahead of it in this partition. `sprio -j JOB` shows its "
            "priority; a shorter time limit lets it fit into gaps."
        ),
        "Dependency": "It waits for another job (see its dependency).",
        "DependencyNeverSatisfied": (
            "It waits for another job that did not end as asked, so it can never start. Cancel it, or "
            "change its dependency with `scontrol update`."
        ),
        "Resources": (
            "It is next in line and waits until enough nodes, GPUs, CPUs or memory are free. Fewer of "
            "them, or a shorter time limit, may start it sooner."
        ),
        "PartitionNodeLimit": (
            "It asks for more (or fewer) nodes than the partition allows, or nodes of the partition are"
            " down. Ask for fewer nodes or use another partition."
        ),
        "PartitionTimeLimit": (
            "Its time limit is longer than the partition allows. Shorten it or use another partition."
        ),
        "PartitionDown": (
            "The partition is closed (DOWN); its administrators must open it. Other partitions may serve."
        ),
        "PartitionInactive": (
            "The partition starts no jobs at the moment (INACTIVE); its administrators must open it."
        ),
        "PartitionConfig": "It breaks a rule of the partition. `scontrol show partition` shows them.",
        "JobHeldAdmin": "An administrator holds it; only they can release it. Its comment may say why.",
        "JobHeldUser": "It is held. `scontrol release JOB` lets it go.",
        "JobHoldMaxRequeue": (
            "It was put back into the queue too many times (MaxBatchRequeue) and is held. Find out why "
            "it failed to start, then `scontrol release JOB`."
        ),
        "BeginTime": (
            "Its begin time has not come yet: asked for with --begin, or the pause after it was put "
            "back into the queue."
        ),
        "Licenses": "It waits for a licence that other jobs hold. `scontrol show licenses` shows them.",
        "Reservation": (
            "Its reservation has not begun yet or is fully used. `scontrol show reservation` shows when."
        ),
        "ReservationDeleted": (
            "Its reservation was deleted. Take another one or none with `scontrol update`."
        ),
        "ReservationInvalid": (
            "Its reservation is not valid (ended, or not for this user, account or partition)."
        ),
        "ReqNodeNotAvail": (
            "Nodes that it asks for, or that could run it, are not available: down, drained, or kept "
            "free for a reservation. `sinfo -R` says why; excluding no nodes and asking for none by "
            "name may help."
        ),
        "SchedDefer": (
            "It wanted to start at once, and the site has put that off (SchedulerParameters=defer)."
        ),
        "FrontEndDown": "The front end node that starts jobs is down. The administrators must mend it.",
        "NodeDown": "A node of the job went down.",
        "BadConstraints": (
            "No node of the cluster can ever satisfy it (features, GPUs, memory or CPUs on one node). "
            "Cancel it and ask for less; `sinfo -o '%P %G %c %m %f'` shows what there is."
        ),
        "Constraints": "No node that fits its features or constraints is free, or none has them.",
        "SystemFailure": (
            "Slurm itself or a node failed. Submit it again; tell the administrators if it stays."
        ),
        "JobLaunchFailure": (
            "It could not be started on its nodes: output folder missing or not writable, user unknown "
            "there, or a failing prolog. Look at its output path and work folder. Before 23.02 it can "
            "also mean that a signal ended its script."
        ),
        "NonZeroExitCode": "Its script ended with an error; see its log.",
        "RaisedSignal": "A signal ended it.",
        "TimeLimit": "It ran into its time limit.",
        "InactiveLimit": "It did nothing for longer than the site allows (InactiveLimit) and was ended.",
        "InvalidAccount": (
            "Its account does not exist or is not this user's. `sacctmgr show associations user=NAME` "
            "lists the possible ones."
        ),
        "InvalidQOS": "Its QOS does not exist or is not this account's.",
        "QOSUsageThreshold": (
            "Its QOS demands a fair-share of at least UsageThreshold, and the account has used more "
            "than that. It starts when usage has decayed."
        ),
        "QOSNotAllowed": "Its QOS may not be used in this partition or by this account.",
        "AccountNotAllowed": "Its account may not use this partition.",
        "AccountingPolicy": f"A limit of its account or QOS is reached; {_LIMITS}.",
        "Cleaning": "It was put back into the queue and its last run is still being cleaned up.",
        "JobArrayTaskLimit": "As many tasks of the array run as it allows itself (the number behind %).",
        "BurstBufferResources": "It waits for space in the burst buffer.",
        "BurstBufferStageIn": "Its data is being copied into the burst buffer.",
        "BurstBufferOperation": "The burst buffer failed for it. Its comment may say how.",
        "DeadLine": "It cannot end before its deadline any more (--deadline).",
        "FedJobLock": "The clusters of the federation are agreeing on which of them runs it.",
        "OutOfMemory": "It used more memory than it had asked for. Ask for more (--mem), or use less.",
        "MaxMemPerLimit": (
            "It asks for more memory per CPU or node than the site allows (MaxMemPerCPU, MaxMemPerNode)."
        ),
        "MaxPoweredUpNodes": "As many nodes are powered on as the site allows (MaxPoweredUpNodes).",
        "MpiPortsBusy": "All ports that Slurm hands to MPI jobs on these nodes are taken.",
        "NvidiaImexChannels": "All NVIDIA IMEX channels are taken by other jobs.",
        "PowerNotAvail": "The site's power cap leaves too little for it.",
        "PowerReserved": "The power that it needs is reserved for others.",
        "BlockFreeAction": "A block of the machine is being freed for it.",
        "BlockMaxError": "A block of the machine has failed too often.",
        "AssociationJobLimit": f"The account or user runs as many jobs as allowed; {_LIMITS}.",
        "AssociationResourceLimit": f"The account or user holds as much as allowed; {_LIMITS}.",
        "AssociationTimeLimit": f"The account or user has used as much time as allowed; {_LIMITS}.",
        "QOSJobLimit": f"As many jobs of its QOS run as allowed; {_LIMITS}.",
        "QOSResourceLimit": f"Its QOS holds as much as allowed; {_LIMITS}.",
        "QOSTimeLimit": f"Its QOS has used as much time as allowed; {_LIMITS}.",
        "InvalidReason": "Slurm gives no reason that it knows itself.",
        # As some releases write it.
        "InvaildReason": "Slurm gives no reason that it knows itself.",
    }
)

STATES: Mapping[str, str] = MappingProxyType(
    {
        "PENDING": "It waits.",
        "RUNNING": "It runs.",
        "SUSPENDED": "It is stopped for a while and keeps its nodes; it goes on by itself or when resumed.",
        "COMPLETED": "It ended with status 0.",
        "CANCELLED": "It was cancelled, by its user or an administrator.",
        "FAILED": "It ended with an error: its log says more.",
        "TIMEOUT": "It ran into its time limit. Ask for more time (--time), or let it save and continue.",
        "NODE_FAIL": (
            "A node of the job failed. It may be submitted again; Slurm does so itself where requeueing"
            " is on."
        ),
        "PREEMPTED": "It had to make room for a job of higher priority.",
        "BOOT_FAIL": "A node did not boot for it. Submit it again; tell the administrators if it stays.",
        "DEADLINE": "It could not end before its deadline (--deadline) and was ended.",
        "OUT_OF_MEMORY": "It used more memory than it had asked for and was killed. Ask for more (--mem).",
        "COMPLETING": "It has ended, and its nodes are being cleaned up.",
        "CONFIGURING": "It has nodes, and they are being made ready (booted, prolog).",
        "EXPEDITING": "It was put back into the queue with the highest priority, to start again at once.",
        "LAUNCH_FAILED": "It could not be started on its nodes.",
        "POWER_UP_NODE": "Its nodes are being powered on.",
        "RECONFIG_FAIL": "Its nodes could not be set up as asked.",
        "REQUEUED": "It is being put back into the queue.",
        "REQUEUE_FED": "It goes to another cluster of the federation.",
        "REQUEUE_HOLD": "It was put back into the queue and is held; `scontrol release JOB` lets it go.",
        "RESIZING": "Its size is changing.",
        "RESV_DEL_HOLD": "It is held because its reservation was deleted.",
        "REVOKED": "Another cluster of the federation runs it.",
        "SIGNALING": "It is being sent a signal.",
        "SPECIAL_EXIT": (
            "It ended with a status for which the site holds jobs in the queue (RequeueExitHold); "
            "`scontrol release JOB` lets it go."
        ),
        "STAGE_OUT": "It has ended, and its files are being copied out of the burst buffer.",
        "STOPPED": "It was sent a stop signal and keeps its nodes and CPUs.",
    }
)

_WHAT: Mapping[str, str] = MappingProxyType(
    {
        "bb": "burst buffer space",
        "billing": "billing units",
        "cpu": "CPUs",
        "energy": "energy",
        "gres": "GPUs (or other GRES)",
        "job": "running jobs",
        "license": "licences",
        "mem": "memory",
        "memory": "memory",
        "node": "nodes",
        "submitjob": "waiting and running jobs",
        "unknown": "a resource that Slurm does not name",
        "wall": "run time",
        "wallduration": "run time",
    }
)
# AssocGrpGRESMinutes, QOSMaxCpuPerUserLimit, MaxGRESRunMinsPerUser, QOSMinMemory ...
_LIMIT = re.compile(
    r"(?P<owner>Assoc|QOS)?(?P<kind>Grp|Max|Min)(?P<what>BB|Billing|Cpu|CPU|Energy|GRES|Job|License|"
    r"Mem(?:ory)?|Node|SubmitJob|Unknown|WallDuration|Wall)s?(?P<minutes>Minutes|RunMinutes|RunMins)?"
    r"(?:Per(?P<each>Job|Node|User|Account))?(?:Limit|NotSatisfied)?"
)
_EACH = {"Job": "one job", "Node": "a job on one node", "User": "one user", "Account": "one account"}

# Longer texts that stand in the place of a reason, by how they begin.
_TEXTS = (
    (r"Nodes required for job are DOWN", "Resources"),
    (r"ReqNodeNotAvail", "ReqNodeNotAvail"),
    (r"launch failed requeued held", "JobLaunchFailure"),
    (r"job requeued in held state", "JobHeldUser"),
    (r"Job is at or exceeds (?:QOS|association) ", "AccountingPolicy"),
    (r"Reservation .+ was deleted", "ReservationDeleted"),
    (r"Reservation .+ is invalid", "ReservationInvalid"),
)
# Since 23.02: RaisedSignal:9(Killed), in the words of strsignal(3).
_SIGNAL = re.compile(r"RaisedSignal:([0-9]+)\((.+)\)")


def explain(reason: str) -> str:
    """What a waiting job's reason means, in a sentence or two; the reason itself if it is unknown.

    Takes it as squeue, scontrol (blanks as underscores) and sacct write it, in parentheses or not;
    of several, as arrays have them, each.
    """
    text = reason.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if known := _known(text):
        return known
    plain = text.replace("_", " ")
    for beginning, name in _TEXTS:
        if re.match(beginning, plain):
            return f"{REASONS[name]} Slurm says: {plain}."
    parts = [part.strip() for part in plain.split(",")]
    sentences = [_known(part) for part in parts]
    if len(parts) > 1 and all(sentences):
        return " ".join(dict.fromkeys(filter(None, sentences)))
    return f"Slurm says: {plain}." if plain else REASONS["None"]


def explain_state(state: str) -> str:
    """What a job's state means, in a sentence; takes "CANCELLED by 1000" and lower case too."""
    words = state.strip().upper().removesuffix("+").split()
    word = words[0] if words else ""
    return STATES.get(word, f"Slurm says: {state.strip()}.")


def _known(reason: str) -> str | None:
    if reason in REASONS:
        return REASONS[reason]
    if match := _SIGNAL.fullmatch(reason.replace("_", " ")):
        return f"Signal {match[1]} ({match[2]}) ended it."
    match = _LIMIT.fullmatch(reason)
    return _limit(match) if match else None


def _limit(match: re.Match[str]) -> str:
    owner = "account" if match["owner"] == "Assoc" else "QOS"
    what = _WHAT[match["what"].lower()]
    if match["minutes"]:
        what = f"the product of {what} and minutes"
    if match["kind"] == "Min":
        return f"It asks for less {what} than its {owner} demands of a job; ask for more ({_LIMITS})."
    if match["kind"] == "Grp":
        when = "usage decays or the limit is raised" if match["minutes"] == "Minutes" else "others end"
        told = f"All jobs of its {owner} together are at the limit for {what} ({_LIMITS})"
        return f"{told}; it starts when {when}."
    each = match["each"] or "User"
    limit = f"the limit is on {what} ({_LIMITS})"
    if each in ("Job", "Node"):
        return f"It asks for more than its {owner} allows {_EACH[each]}, so it will not start: {limit}."
    return f"Its {owner} allows {_EACH[each]} no more now; it starts when others end: {limit}."
