"""Clusters of every kind to render, as their administrators would write them; and the golden files.

`python -m tests.conf.render.clusters` writes the golden files anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from hpctools.conf.policy import Policy
from hpctools.conf.policy_read import policy as read_policy
from hpctools.conf.rendering import render
from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory as read_inventory

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[3] / "examples" / "site"

DGX = """
  dgx:
    sockets: 2
    cores_per_socket: 56
    threads_per_core: 2
    numa_nodes: 2
    memory: 2014G
    gpus: {type: h100, count: 8, numa: [0, 0, 0, 0, 1, 1, 1, 1]}
    fabric: {kind: infiniband, hcas: 8, rate: 400G}
    reserved: {cores: 2, memory: 16G}
"""
MIG = """
  mig:
    sockets: 1
    cores_per_socket: 64
    threads_per_core: 2
    memory: 503G
    gpus: {type: a100, count: 4, numa: [0, 0, 0, 0], mig: {1g.10gb: 4, 3g.40gb: 1}}
"""
SHARD = """
  shard:
    sockets: 2
    cores_per_socket: 24
    memory: 377G
    gpus:
      - {type: l40s, count: 2, shard: 8}
      - {type: t4, count: 2}
"""
MPS = """
  mps:
    sockets: 1
    cores_per_socket: 32
    memory: 251G
    gpus: {type: a30, count: 4, mps: true}
"""
NVL = """
  nvl72:
    sockets: 2
    cores_per_socket: 72
    numa_nodes: 2
    memory: 857G
    gpus: {type: gb200, count: 4, numa: [0, 0, 1, 1]}
    fabric: {kind: infiniband, hcas: 4, rate: 400G}
"""
CPU = """
  cpu:
    sockets: 2
    cores_per_socket: 64
    memory: 503G
"""


def inventory(types: str, nodes: str, switches: str = "", cluster: str = "alpha") -> Inventory:
    text = f"cluster: {cluster}\nnode_types:{types}\nnodes:\n{nodes}\n"
    return read_inventory(f"{text}switches:\n{switches}\n".encode() if switches else text.encode(), "i.yaml")


def policy(text: str) -> Policy:
    return read_policy(text.encode(), "p.yaml")


PLAIN = policy(
    "slurm: {controllers: ctl1}\npartitions:\n  main: {nodes: all, default: true, max_time: 1-0}\n"
)
ACCOUNTED = policy("""
slurm: {controllers: ctl1, database: {host: db1}, private_tmp: /local/jobs, mounts: [/home]}
partitions:
  main: {nodes: all, default: true, tier: 10, factor: 10, max_time: 7-0, default_time: 1:00:00, grace: 60s}
  scavenge: {nodes: all, tier: 1, max_time: 1-0, default_time: 1:00:00, preempt: requeue}
qos: {normal: {priority: 10}, high: {priority: 20}}
preempt: {by: partition, exempt: 10m}
accounts:
  lab: {fairshare: 1, qos: [normal, high], default_qos: normal, users: [ada]}
""")


def example() -> tuple[Inventory, Policy]:
    """examples/site/, without the file of the database's password: it is on the database's host alone."""
    facts = read_inventory((EXAMPLES / "inventory.yaml").read_bytes(), "inventory.yaml")
    text = (EXAMPLES / "policy.yaml").read_text()
    return facts, policy(text.replace(" secret: /etc/slurm/storage.secret,", ""))


def homogeneous(count: int) -> Inventory:
    """DGX nodes below a fat tree of leaves of 32 and spines of 32 leaves."""
    if count < 64:
        return inventory(DGX, f'  - {{hosts: "gpu[1-{count}]", type: dgx}}')
    leaves = -(-count // 32)
    nodes = (
        f'  - {{hosts: "gpu[00001-{count:05}]", type: dgx, switch: "leaf[001-{leaves:03}]", per_switch: 32}}'
    )
    spines = [
        f'  - {{name: spine{1 + first // 32}, switches: "leaf[{first + 1:03}-{min(first + 32, leaves):03}]"}}'
        for first in range(0, leaves, 32)
    ]
    core = [f'  - {{name: core, switches: "spine[1-{len(spines)}]"}}'] if len(spines) > 1 else []
    return inventory(DGX, nodes, "\n".join([*spines, *core]))


def nvl72(racks: int, more: str = "") -> Inventory:
    """Racks of 18 hosts, each one NVLink domain."""
    hosts = f'hosts: "nvl[00001-{racks * 18:05}]"'
    nodes = f'  - {{{hosts}, type: nvl72, block: "rack[001-{racks:03}]", per_block: 18}}'
    return inventory(NVL + (CPU if more else ""), f"{nodes}\n{more}")


def mixed(count: int) -> Inventory:
    """All kinds of nodes, a sixth of each, some behind switches and some not."""
    each = max(count // 6, 1)
    leaves, racks = -(-each // 16), max(each // 18, 1)
    trays = racks * 18 if each >= 18 else each
    nodes = [
        f'  - {{hosts: "{name}[00001-{each:05}]", type: {name}}}' for name in ("mig", "shard", "mps", "cpu")
    ]
    nodes += [
        f'  - {{hosts: "gpu[00001-{each:05}]", type: dgx, switch: "leaf[001-{leaves:03}]", per_switch: 16}}',
        f'  - {{hosts: "nvl[00001-{trays:05}]", type: nvl72, block: "rack[001-{racks:03}]"}}',
    ]
    return inventory(DGX + MIG + SHARD + MPS + CPU + NVL, "\n".join(nodes))


def clusters() -> Mapping[str, tuple[Inventory, Policy, tuple[str, ...]]]:
    """What the golden files are of: inventory, policy, releases."""
    return {
        "site": (*example(), ("22.05", "26.05")),
        "nvl72": (nvl72(4), ACCOUNTED, ("23.11", "24.11")),
        "nvl72-and-cpu": (
            nvl72(2, '  - {hosts: "cpu[1-8]", type: cpu, switch: "leaf[1-2]"}'),
            policy("slurm: {controllers: ctl1}\npartitions: {gpu: {nodes: nvl72}, cpu: {nodes: cpu}}"),
            ("24.05", "25.05"),
        ),
        "single": (homogeneous(1), PLAIN, ("22.05", "25.11")),
    }


def golden(texts: Mapping[str, str]) -> dict[str, str]:
    """All but the scripts, which are the same everywhere."""
    return {name: text for name, text in texts.items() if not name.endswith(".sh")}


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, (facts, choices, releases) in clusters().items():
        for release in releases:
            folder = GOLDEN / name / release
            folder.mkdir(parents=True)
            for file, text in golden(render(facts, choices, release)).items():
                (folder / file).write_text(text)


if __name__ == "__main__":
    main()
