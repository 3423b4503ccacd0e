"""Which jobs give way to which, as slurm.conf says it; who preempts whom by QOS stands in slurmdbd."""

from __future__ import annotations

from hpctools.conf.policy import Policy
from hpctools.slurm import units

_TYPES = {"qos": "preempt/qos", "partition": "preempt/partition_prio"}


def mode(policy: Policy) -> str:
    """The cluster's PreemptMode: what happens to jobs whose partition or QOS says nothing of its own.

    Slurm refuses OFF beside a PreemptType, and SUSPEND without GANG, which lets suspended jobs go on
    (_validate_and_set_defaults in src/common/read_config.c). A partition that is to be left alone has
    PreemptMode=OFF of its own.
    """
    if policy.preempt == "partition":
        modes = {partition.preempt for partition in policy.partitions} - {"", "off"}
    else:
        modes = {qos.mode for qos in policy.qos} - {""}
    one = modes.pop() if len(modes) == 1 else "requeue"
    return one.upper() + (",GANG" if "suspend" in modes | {one} else "")


def settings(policy: Policy) -> list[tuple[str, str, str]]:
    """(key, value, comment) of slurm.conf for preemption; [] where there is none."""
    if policy.preempt == "off":
        return []
    counts = "QOS" if policy.preempt == "qos" else "partitions"
    lines = [
        ("PreemptType", _TYPES[policy.preempt], f"the GraceTime of {counts} counts"),
        ("PreemptMode", mode(policy), f"for {counts} that name no mode"),
    ]
    if policy.exempt_s:
        lines.append(
            ("PreemptExemptTime", units.format_duration(policy.exempt_s), "as long a job runs undisturbed")
        )
    return lines
