"""Variables of NCCL, torch and libfabric that cost time or break jobs: one rule each, with its reason.

They come from old scripts, other clouds and forgotten debugging, and nobody sees them. What each does
stands in the source that the rule names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hpctools.jobs.fabric import EFA, INFINIBAND, ROCE, SLINGSHOT, TCP, Fabric

FATAL, WARNING = "fatal", "warning"
_PREFIX = re.compile(r"[a-z]+[a-z0-9]*_[0-9]")

NCCL = "NCCL user guide, env.rst"
EFA_GUIDE = "aws-ofi-nccl, doc/efa-env-var.md"
TORCH = "torch, ProcessGroupNCCL.hpp"
TORCHRUN = "torch, distributed/run.py"
MEASURED = "measured, stas00/ml-engineering"


@dataclass(frozen=True)
class Rule:
    """What is wrong with a variable.

    variables: a pattern that its whole name matches. applies: whether its value is wrong on a
    fabric. severity: fatal where a job on several nodes cannot run. hint: what would be right.
    """

    name: str
    variables: str
    message: str
    hint: str
    source: str
    applies: Callable[[str, Fabric], bool] = lambda value, fabric: True
    severity: str = WARNING

    def finds(self, variable: str, value: str, fabric: Fabric) -> bool:
        """Whether the variable with this value breaks the rule on this fabric."""
        return bool(re.fullmatch(self.variables, variable)) and self.applies(value, fabric)


def _on(value: str, fabric: Fabric) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on", "y")


def _off(value: str, fabric: Fabric) -> bool:
    return value.strip() == "0"


def _is(*words: str) -> Callable[[str, Fabric], bool]:
    return lambda value, fabric: value.strip().lower() in words


def _loopback(value: str, fabric: Fabric) -> bool:
    return not value.startswith("^") and "lo" in value.lstrip("=").split(",")


def _around_guard(value: str, fabric: Fabric) -> bool:
    return bool(fabric.kind) and fabric.kind != TCP and value.strip().lower() == "socket"


def _not_this_net(value: str, fabric: Fabric) -> bool:
    if not fabric.kind or not value.strip() or _around_guard(value, fabric):
        return False
    return value.strip().lower() != fabric.network.lower()


def _prefix(value: str, fabric: Fabric) -> bool:
    return value[:1] not in ("=", "^", "") and any(_PREFIX.fullmatch(one) for one in value.split(","))


def _short_timeout(value: str, fabric: Fabric) -> bool:
    return value.strip().isdecimal() and int(value) < 20 and fabric.nccl >= (2, 23)


def _no_use(kind: str) -> Callable[[str, Fabric], bool]:
    """On a fabric that is known, and is another one."""
    return lambda value, fabric: bool(fabric.kind) and fabric.kind != kind


def _fixed_protocol(value: str, fabric: Fabric) -> bool:
    old_efa = fabric.kind == EFA and fabric.ofi_plugin < (1, 6)
    return bool(value.strip()) and not (old_efa and value.strip().lower() == "simple")


def _renamed(old: str, new: str, source: str = TORCH) -> Rule:
    message = f"is called {new} now; torch reads the old name with a warning, as long as it still does"
    return Rule("renamed", old, message, f"{new}, or leave it out: its default is right", source)


RULES: tuple[Rule, ...] = (
    Rule(
        "loopback",
        "(NCCL|GLOO)_SOCKET_IFNAME",
        "names the loopback: ranks on other nodes cannot be reached over it, and the job hangs or fails",
        "leave it out, or name the interface that the nodes share",
        NCCL,
        _loopback,
        FATAL,
    ),
    Rule(
        "around-the-guard",
        "NCCL_NET",
        "sends all traffic over TCP although this site has a faster fabric",
        "leave it out",
        NCCL,
        _around_guard,
    ),
    Rule(
        "other-network",
        "NCCL_NET",
        "is not the network of this site: NCCL ends with an error where it does not find it",
        "leave it out, or tell the site's file (fabric: net) what the plugin calls itself",
        NCCL,
        _not_this_net,
    ),
    Rule(
        "ib-disabled",
        "NCCL_IB_DISABLE",
        "turns InfiniBand and RoCE off: traffic between nodes goes over TCP, many times slower",
        "leave it out; NCCL_NET=Socket says it where it is meant",
        NCCL,
        _on,
    ),
    Rule(
        "p2p-disabled",
        "NCCL_P2P_DISABLE",
        "keeps the GPUs of a node from talking over NVLink or PCIe: everything goes through host memory",
        "leave it out; it is for debugging",
        NCCL,
        _on,
    ),
    Rule(
        "shm-disabled",
        "NCCL_SHM_DISABLE",
        "makes ranks of one node use the network where they could share memory",
        "leave it out; give a container enough /dev/shm instead",
        NCCL,
        _on,
    ),
    Rule(
        "nvls-disabled",
        "NCCL_NVLS_ENABLE",
        "turns NVLink SHARP off: all-reduce on 8 H200 fell from 480 to 367 GB/s",
        "leave it out",
        MEASURED,
        _off,
    ),
    Rule(
        "algorithm-fixed",
        "NCCL_(ALGO|PROTO)",
        "fixes what NCCL chooses by size and topology; right for one message it is wrong for the others",
        "leave it out",
        NCCL,
        _fixed_protocol,
    ),
    Rule(
        "tuning-fixed",
        "NCCL_(BUFFSIZE|NTHREADS|MIN_NCHANNELS|MAX_NCHANNELS|LAUNCH_MODE|CUMEM_ENABLE|P2P_LEVEL|MAX_NRINGS|"
        "MIN_NRINGS)",
        "fixes what NCCL chooses by GPU and version; values from older GPUs make newer ones slower",
        "leave it out, unless you measured it here",
        NCCL,
    ),
    Rule(
        "gdr-level",
        "NCCL_NET_GDR_LEVEL",
        "fixes which adapters reach the memory of GPUs directly; NCCL finds it by the topology",
        "leave it out, unless you measured it here",
        NCCL,
        lambda value, fabric: fabric.kind != SLINGSHOT,
    ),
    Rule(
        "gid-index",
        "NCCL_IB_GID_INDEX",
        "has no effect on InfiniBand",
        "leave it out",
        NCCL,
        lambda value, fabric: fabric.kind == INFINIBAND,
    ),
    Rule(
        "gid-index",
        "NCCL_IB_GID_INDEX",
        "is found by NCCL itself since 2.21; a fixed one is wrong on nodes whose table differs",
        "leave it out",
        NCCL,
        lambda value, fabric: fabric.kind != INFINIBAND and value.strip() != "-1" and fabric.nccl >= (2, 21),
    ),
    Rule(
        "ib-timeout",
        "NCCL_IB_TIMEOUT",
        "is shorter than NCCL's own (20 since 2.23): a busy or mending fabric ends the job",
        "leave it out",
        NCCL,
        _short_timeout,
    ),
    Rule(
        "hca-prefix",
        "NCCL_IB_HCA",
        "names adapters by how they begin: mlx5_1 means mlx5_10 to mlx5_19, too",
        "put = before the list: =mlx5_0,mlx5_1",
        NCCL,
        _prefix,
    ),
    Rule(
        "topology-file",
        "NCCL_TOPO_FILE|NCCL_GRAPH_FILE",
        "describes one type of machine; on another one NCCL believes it all the same",
        "leave it out, unless it is this site's own",
        NCCL,
        lambda value, fabric: bool(value.strip()),
    ),
    Rule(
        "debug-trace",
        "NCCL_DEBUG",
        "writes every call of every rank into the log",
        "WARN; INFO with NCCL_DEBUG_SUBSYS=INIT,NET while you look for something",
        NCCL,
        _is("trace"),
    ),
    Rule(
        "debug-file",
        "NCCL_DEBUG_FILE",
        "is one file that all ranks write at once",
        "with %h and %p in its name each rank has its own",
        NCCL,
        lambda value, fabric: bool(value.strip()) and not ("%p" in value and "%h" in value),
    ),
    Rule(
        "other-cloud",
        "FI_PROVIDER",
        "chooses EFA, which this site does not have",
        "leave it out",
        EFA_GUIDE,
        lambda value, fabric: value.strip() == "efa" and _no_use(EFA)(value, fabric),
    ),
    Rule(
        "old-efa",
        "FI_PROVIDER",
        "is needed by aws-ofi-nccl before 1.6 only",
        "leave it out",
        EFA_GUIDE,
        lambda value, fabric: (
            value.strip() == "efa" and fabric.kind in ("", EFA) and fabric.ofi_plugin >= (1, 6)
        ),
    ),
    Rule(
        "old-efa",
        "FI_EFA_USE_DEVICE_RDMA",
        "is needed by aws-ofi-nccl 1.6 only",
        "leave it out",
        EFA_GUIDE,
        lambda value, fabric: not (1, 6) <= fabric.ofi_plugin < (1, 7),
    ),
    Rule(
        "fork-safe",
        "FI_EFA_FORK_SAFE",
        "is not needed: libfabric finds out whether the kernel has to be asked",
        "leave it out",
        EFA_GUIDE,
    ),
    Rule(
        "fork-safe",
        "RDMAV_FORK_SAFE|IBV_FORK_SAFE",
        "makes registered memory slow to map and can end a job with huge pages; kernels since 5.13 need none",
        "leave it out",
        EFA_GUIDE,
        _on,
    ),
    Rule(
        "other-cloud",
        "FI_CXI_.*",
        "is of Slingshot, which this site does not have: it came with a script of another cluster",
        "leave it out",
        "libfabric, fi_cxi(7)",
        _no_use(SLINGSHOT),
    ),
    Rule(
        "other-cloud",
        "NCCL_IB_(HCA|TC|SL|QPS_PER_CONNECTION|ADAPTIVE_ROUTING)",
        "is of InfiniBand and RoCE, which this site does not have: it came with a script of another cluster",
        "leave it out",
        NCCL,
        lambda value, fabric: bool(fabric.kind) and fabric.kind not in (INFINIBAND, ROCE),
    ),
    Rule(
        "launch-blocking",
        "CUDA_LAUNCH_BLOCKING",
        "makes the host wait for every kernel: the GPU idles in between",
        "leave it out; it is for debugging",
        "CUDA C++ Programming Guide",
        _on,
    ),
    Rule(
        "torch-debug",
        "TORCH_DISTRIBUTED_DEBUG",
        "checks every collective on all ranks first, which costs one more each time",
        "leave it out; it is for debugging",
        "torch.distributed",
        _is("detail"),
    ),
    Rule(
        "no-error-handling",
        "(TORCH_)?NCCL_ASYNC_ERROR_HANDLING",
        "is off: when one rank dies the others wait for it until the time limit",
        "leave it out",
        TORCH,
        _off,
    ),
    _renamed("NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_ASYNC_ERROR_HANDLING"),
    _renamed("NCCL_BLOCKING_WAIT", "TORCH_NCCL_BLOCKING_WAIT"),
    _renamed("NCCL_DESYNC_DEBUG", "TORCH_NCCL_DESYNC_DEBUG"),
    _renamed("NCCL_ENABLE_TIMING", "TORCH_NCCL_ENABLE_TIMING"),
    _renamed("TORCH_NCCL_TRACE_BUFFER_SIZE", "TORCH_FR_BUFFER_SIZE"),
    _renamed("TORCH_NCCL_DUMP_ON_TIMEOUT", "TORCH_FR_DUMP_ON_TIMEOUT"),
    Rule(
        "gone",
        "TORCH_NCCL_AVOID_RECORD_STREAMS",
        "is no variable of torch any more",
        "leave it out",
        TORCH,
    ),
    Rule(
        "one-thread",
        "OMP_NUM_THREADS",
        "is 1: the work of a rank on the CPU, such as loading data, has one thread",
        "leave it out: a job sets it to the CPUs of a rank",
        TORCHRUN,
        _is("1"),
    ),
    Rule(
        "another-launch",
        "MASTER_ADDR|MASTER_PORT|RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_RANK|NODE_RANK",
        "is left from another launch: torchrun replaces it, a program without torchrun believes it",
        "unset it",
        TORCHRUN,
    ),
)
