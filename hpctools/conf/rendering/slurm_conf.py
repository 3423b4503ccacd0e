"""slurm.conf: all but the nodes and partitions, which stand in files that it includes."""

from __future__ import annotations

from collections.abc import Mapping

from hpctools.conf import priority
from hpctools.conf.policy import Policy
from hpctools.conf.rendering import billing, capacity, gres_conf, text
from hpctools.conf.rendering.topology import Plan
from hpctools.inventory.model import Inventory
from hpctools.slurm.releases import at_least, known, plugins

# slurm.conf(5): the defaults of bf_window and MessageTimeout.
_BF_WINDOW_MINUTES = 1440
_MESSAGE_S = 10
# The large cluster guide has longer timeouts from about here.
_LARGE = 1000
_LARGE_MESSAGE_S = 30
_UNKILLABLE_S = 180
# slurmctld cannot load acct_gather_energy/gpu before: it lacks a symbol that only slurmd has.
_ENERGY_SINCE = "23.02"
_RDMA = ("infiniband", "roce", "efa", "slingshot")


def slurm_conf(inventory: Inventory, policy: Policy, plan: Plan, release: str) -> str:
    """What follows from the inventory and the policy, in the template that holds what is always so."""
    keys = known("slurm.conf", release)
    message_s = _LARGE_MESSAGE_S if len(inventory.hosts) >= _LARGE else _MESSAGE_S
    kinds = [inventory.types[name] for name in dict.fromkeys(one.type for one in inventory.groups)]
    values = {
        "header": text.Text(text.header(release, f"the cluster {inventory.cluster}.")),
        "cluster": inventory.cluster,
        "daemons": policy.daemons,
        "database": policy.daemons.database,
        "parameters": ",".join(_controller_parameters(policy, keys)),
        "message_s": message_s if message_s != _MESSAGE_S else None,
        "unkillable_s": max(_UNKILLABLE_S, 5 * message_s),
        "gres_types": ",".join(dict.fromkeys(one.name for kind in kinds for one in capacity.gres(kind))),
        "memory_per_cpu_mb": capacity.memory_per_cpu_mb(kinds),
        "scheduler": ",".join(_scheduler_parameters(policy)),
        "topology": plan.plugin,
        "namespace_key": "NamespaceType" if "namespacetype" in keys else "JobContainerType",
        "namespace": "namespace/tmpfs" if "namespacetype" in keys else "job_container/tmpfs",
        "imex": bool(_nvlink(inventory)) and "nvidia_imex" in plugins("switch", release),
        "preempts": policy.preempt != "off",
        "preempt_parameters": "preemptparameters" in keys,
        "priority": text.Text(_priority(inventory, policy, release).rstrip("\n")),
        "enforce": "associations,limits,qos,safe" if policy.accounts or policy.qos else "",
        "tres": ",".join(billing.tracked(inventory)),
        "energy": at_least(release, _ENERGY_SINCE) and gres_conf.uses(inventory, policy, release, "nvml"),
    }
    return text.override(text.template("slurm.conf", values), policy.daemons.settings)


def has_rdma(inventory: Inventory) -> bool:
    """Whether a node type has a fabric whose adapters read memory themselves, which must stay in place."""
    used = {group.type for group in inventory.groups}
    return any(
        kind.fabric and kind.fabric.kind in _RDMA for kind in inventory.types.values() if kind.name in used
    )


def _nvlink(inventory: Inventory) -> bool:
    """Whether GPUs of several hosts are one NVLink domain."""
    return any(inventory.hosts[host].gpus for hosts in inventory.blocks.values() for host in hosts)


def _controller_parameters(policy: Policy, keys: Mapping[str, object]) -> list[str]:
    found = ["enable_configless"] if policy.daemons.configless else []
    # Before there was PreemptParameters.
    if policy.preempt != "off" and "preemptparameters" not in keys:
        found.append("preempt_send_user_signal")
    return found


def _scheduler_parameters(policy: Policy) -> list[str]:
    """bf_window must reach as far as the longest job: what ends later, backfill does not see."""
    limits = [one.max_time_s for one in policy.partitions if one.max_time_s is not None]
    minutes = -(-max(limits, default=0) // 60)
    found = ["bf_continue"]
    if minutes > _BF_WINDOW_MINUTES:
        # slurm.conf(5): a longer window wants a coarser resolution, for as much work as by default.
        found += [f"bf_window={minutes}", f"bf_resolution={max(60, minutes * 60 // _BF_WINDOW_MINUTES)}"]
    return found


def _priority(inventory: Inventory, policy: Policy, release: str) -> str:
    return "".join(
        text.line([(key, value)], comment)
        for key, value, comment in priority.settings(inventory, policy, release)
    )
