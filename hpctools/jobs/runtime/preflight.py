"""Looks at every node of a job before its training starts, and names those that are bad.

    preflight.py head           the batch host: a clock and a notice board for the nodes of this job
    preflight.py node ...       srun's task on each node: look, and write what was found
    preflight.py reduce ...     a rank of the all-reduce, in a process of its own: torch may hang
    preflight.py judge          the batch host, after srun: all nodes together; status 90 for a bad one

A copy of this file lies in the run folder beside launch.py, and works there with any Python from 3.8 on
and its standard library; torch is used where it is there. What is found stands in attempt-N/preflight.json,
and a bad node also where launch.py looks for the first failure (node-NNN.json).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, Sequence

RUN = os.path.dirname(os.path.abspath(__file__))
Record = Dict[str, Any]
OK, WARNING, BAD, SKIPPED = "ok", "warning", "bad", "skipped"

ALL = "all nodes"  # the name of none
# What is wrong on every node is wrong with the job or the site, not with the nodes.
SHARED = ("nic", "memlock", "run-folder", "program", "image")
STATUS = 90  # what a job ends with that has a bad node
NODE_S = 45.0  # for one node, the all-reduce included
TOOL_S = 12.0  # nvidia-smi of a sick GPU may never come back
LATE_S = 8.0  # for the records of all nodes to be seen on a shared file system
MIB, GIB = 1 << 20, 1 << 30
SKEW_S = 1.0
RDMA = ("infiniband", "roce", "efa", "slingshot")
FIELDS = (
    "index",
    "name",
    "ecc.errors.uncorrected.volatile.total",
    "remapped_rows.failure",
    "remapped_rows.pending",
)


def number(name: str, default: int = 0) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default


def attempt() -> str:
    """The folder of this attempt, as launch.py has it."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    home = os.path.join(RUN, "task-" + task) if task else RUN
    count = number("HPCTOOLS_ATTEMPT", number("SLURM_RESTART_COUNT"))
    folder = os.path.join(home, f"attempt-{count}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def node_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def write_json(path: str, value: Record) -> None:
    """Write beside and rename: who reads sees all of it or nothing."""
    beside = f"{path}.{os.getpid()}.tmp"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    os.replace(beside, path)


def check(name: str, verdict: str, found: str, expected: str = "") -> Record:
    return {"name": name, "verdict": verdict, "found": found, "expected": expected}


def said_by(words: Sequence[str]) -> str:
    """What a program prints. Raises OSError, TimeoutExpired, CalledProcessError."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TOOL_S,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")


# --- the checks of a node -----------------------------------------------------------------------


def gpus(expected: int) -> list[Record]:
    """Those that the driver shows, with their errors; what nvidia-smi cannot tell is left out."""
    if not expected:
        return [check("gpus", SKIPPED, "the job has none")]
    if not shutil.which("nvidia-smi"):
        return [check("gpus", SKIPPED, "there is no nvidia-smi here")]
    try:
        text = said_by(["nvidia-smi", "--query-gpu=" + ",".join(FIELDS), "--format=csv,noheader,nounits"])
    except subprocess.TimeoutExpired:
        return [check("gpus", BAD, f"nvidia-smi gives no answer within {TOOL_S:.0f} s", f"{expected}")]
    except (OSError, subprocess.CalledProcessError) as error:
        last = (getattr(error, "output", b"") or b"").decode("utf-8", "replace").strip().splitlines()[-1:]
        return [check("gpus", BAD, f"nvidia-smi fails: {last[0] if last else error}", f"{expected}")]
    return [*judged_gpus(text, expected), *nvlinks()]


def judged_gpus(text: str, expected: int) -> list[Record]:
    """What the lines of nvidia-smi mean, one a GPU; N/A and [Not Supported] mean nothing."""
    rows = [[word.strip() for word in line.split(",")] for line in text.splitlines() if line.strip()]
    rows = [row for row in rows if len(row) == len(FIELDS)]
    found = [check("gpus", OK if len(rows) >= expected else BAD, f"{len(rows)} are there", f"{expected}")]
    for index, _, uncorrected, failed, pending in rows:
        if uncorrected.isdigit() and int(uncorrected):
            what = f"GPU {index}: {uncorrected} uncorrected memory errors since its driver was loaded"
            found.append(check("ecc", BAD, what, "0"))
        if failed in ("1", "Yes"):
            found.append(check("row-remap", BAD, f"GPU {index}: a row could not be remapped", "none"))
        elif pending in ("1", "Yes"):
            what = f"GPU {index}: a row waits to be remapped; reset the GPU"
            found.append(check("row-remap", WARNING, what, "none"))
    return found


def nvlinks() -> list[Record]:
    try:
        return judged_links(said_by(["nvidia-smi", "nvlink", "--status"]))
    except (OSError, subprocess.SubprocessError):
        return [check("nvlink", SKIPPED, "nvidia-smi does not tell")]


def judged_links(text: str) -> list[Record]:
    """GPUs of one node have equally many active links; one with fewer has lost some."""
    active: dict[str, int] = {}
    gpu = ""
    for line in text.splitlines():
        start = re.match(r"GPU (\d+):", line)
        if start:
            gpu = start.group(1)
            active[gpu] = 0
        elif gpu and re.match(r"\s*Link \d+: [0-9.]+ GB/s", line):
            active[gpu] += 1
    most = max(active.values(), default=0)
    lost = [f"GPU {gpu}: {count} active links" for gpu, count in active.items() if count < most]
    if lost:
        return [check("nvlink", BAD, ", ".join(lost), f"{most}")]
    return [check("nvlink", OK if most else SKIPPED, f"{most} links each" if most else "none")]


def read_line(*parts: str) -> str:
    try:
        with open(os.path.join(*parts)) as file:
            return file.read().strip()
    except OSError:
        return ""


def nics(fabric: str, hcas: Sequence[str], interfaces: Sequence[str], sysfs: str = "/sys") -> list[Record]:
    """The adapters of the fabric and their links; those of the site's list must be up."""
    ports: dict[str, list[str]] = {}
    for device in listed(sysfs, "class/infiniband"):
        for port in listed(sysfs, "class/infiniband", device, "ports"):
            state = read_line(sysfs, "class/infiniband", device, "ports", port, "state")
            ports.setdefault(device, []).append(state.rpartition(":")[2].strip() or "unknown")
    found = []
    for device in hcas or sorted(ports):
        states = ports.get(device.partition(":")[0], [])
        if "ACTIVE" not in states:
            what = f"{device} is {', '.join(states) or 'not there'}"
            # Without a list it may be one that nobody has plugged in.
            found.append(check("nic", BAD if hcas else WARNING, what, "ACTIVE"))
    if fabric in ("infiniband", "roce", "efa") and not ports:
        found.append(check("nic", BAD, "there is no RDMA adapter", fabric))
    elif fabric in ("infiniband", "roce", "efa") and not any("ACTIVE" in one for one in ports.values()):
        found.append(check("nic", BAD, "no adapter has a link", "ACTIVE"))
    for name in interfaces:
        state = read_line(sysfs, "class/net", name, "operstate")
        if state not in ("up", "unknown"):  # lo and some drivers do not tell
            found.append(check("nic", BAD, f"{name} is {state or 'not there'}", "up"))
    up = sum("ACTIVE" in states for states in ports.values())
    return found or [check("nic", OK, f"{up} adapters with a link" if ports else "no RDMA adapters")]


def listed(*parts: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except OSError:
        return []


def memlock(fabric: str) -> Record:
    """RDMA locks the memory that it sends from."""
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if soft == resource.RLIM_INFINITY:
        return check("memlock", OK, "unlimited")
    verdict = OK if fabric not in RDMA else BAD if soft < GIB else WARNING
    return check("memlock", verdict, f"{soft // 1024} KiB", "unlimited" if fabric in RDMA else "")


def memory(text: str) -> Record:
    """What /proc/meminfo says is free: little where a job before has left processes or files."""
    sizes = {match.group(1): int(match.group(2)) for match in re.finditer(r"(\w+):\s+(\d+) kB", text)}
    free, total = sizes.get("MemAvailable", 0), sizes.get("MemTotal", 1)
    verdict = BAD if free < total * 0.02 else WARNING if free < total * 0.2 else OK
    return check("memory", verdict, f"{free / MIB:.1f} of {total / MIB:.1f} GiB available", "20 %")


def disk(name: str, folder: str) -> Record:
    """Whether a file can be written there, and how much is free."""
    path = os.path.join(folder, f".hpctools-preflight-{node_name()}-{os.getpid()}")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(b"x" * 65536)
        os.unlink(path)
        state = os.statvfs(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        return check(name, BAD, f"{folder}: {error.strerror}", "a file can be written")
    free = state.f_bavail * state.f_frsize
    verdict = BAD if free < 64 * MIB else WARNING if free < GIB else OK
    return check(name, verdict, f"{folder}: {free / GIB:.1f} GiB free", "1 GiB")


def program() -> Record:
    """Whether the program's first word can be run here: a file system may not be mounted."""
    try:
        with open(os.path.join(RUN, "argv.json"), encoding="utf-8") as file:
            word = json.load(file)[0]
    except (OSError, ValueError, IndexError) as error:
        return check("program", BAD, f"argv.json cannot be read: {error}")
    there = shutil.which(word) is not None
    return check("program", OK if there else BAD, f"{word} {'is there' if there else 'is not there'}")


# --- the head: a clock and a notice board -------------------------------------------------------


class Board(socketserver.StreamRequestHandler):
    """One question a connection: "time", "put KEY VALUE" or "get KEY"."""

    notes: dict[str, str] = {}

    def handle(self) -> None:
        self.connection.settimeout(5)
        words = self.rfile.readline(4096).decode("utf-8", "replace").split()
        answer = ""
        if words[:1] == ["time"]:
            answer = repr(time.time())
        elif len(words) == 3 and words[0] == "put":
            self.notes[words[1]] = words[2]
        elif len(words) == 2 and words[0] == "get":
            answer = self.notes.get(words[1], "")
        self.wfile.write(answer.encode() + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody's broken connection is nobody's business here."""


def node_address(name: str) -> str:
    """Slurm's own address of a node, for where its name does not resolve."""
    try:
        said = said_by(["scontrol", "show", "node", "--oneliner", name])
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"\bNodeAddr=(\S+)", said)
    return match.group(1) if match else ""


def head() -> int:
    """Print "NAME,NAME PORT" and serve until nobody reads any more."""
    parent = os.getppid()
    names = [node_name(), node_address(node_name()), socket.gethostname()]
    with Server(("", 0), Board) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(",".join(dict.fromkeys(filter(None, names))), server.server_address[1], flush=True)
        reader = select.poll()
        reader.register(sys.stdout.fileno(), 0)  # POLLERR comes unasked when the script has closed it
        while not reader.poll(1000) and os.getppid() == parent:
            pass
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def ask(address: str, port: int, question: str) -> str:
    with socket.create_connection((address, port), 5) as connection:
        connection.sendall(question.encode() + b"\n")
        with connection.makefile("rb") as answer:
            return answer.readline(4096).decode().strip()


def reach(names: Sequence[str], port: int) -> tuple[str, list[Record]]:
    """The first of the head's names that answers, and how far our clock is from the head's."""
    errors = []
    for name in names:
        try:
            before = time.time()
            theirs = float(ask(name, port, "time"))
            after = time.time()
        except (OSError, ValueError) as error:
            errors.append(f"{name}: {error}")
            continue
        skew = (before + after) / 2 - theirs
        far = abs(skew) > SKEW_S + (after - before)
        found = check("clock", BAD if far else OK, f"{skew:+.3f} s from the first node's", f"{SKEW_S:.0f} s")
        return name, [check("head", OK, name), found]
    return "", [check("head", BAD, f"the first node does not answer ({'; '.join(errors)})")]


# --- the all-reduce -----------------------------------------------------------------------------


def reduce(address: str, port: int, rank: int, world: int, local: int, backend: str) -> int:
    """One rank of an all-reduce over all nodes; says on stdout how far it came."""
    try:
        torch = importlib.import_module("torch")
        dist = importlib.import_module("torch.distributed")
    except ImportError as error:
        print(json.dumps({"stage": "no torch", "error": str(error)}), flush=True)
        return 0
    if backend == "auto":
        backend = "nccl" if torch.cuda.is_available() else "gloo"
    print(json.dumps({"stage": "imported", "backend": backend}), flush=True)
    from datetime import timedelta

    patience = timedelta(seconds=NODE_S)
    device = torch.device("cuda", local) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    if rank == 0:
        store = dist.TCPStore(address, 0, world, True, patience, False)
        ask(address, port, f"put store {store.port}")
    else:
        while not ask(address, port, "get store"):
            time.sleep(0.1)
        store = dist.TCPStore(address, int(ask(address, port, "get store")), world, False, patience, False)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=patience)
    count = 64 * MIB if backend == "nccl" else MIB  # of float32
    data = torch.ones(count, dtype=torch.float32, device=device)
    dist.all_reduce(data)
    right = bool((data == world).all())
    print(json.dumps({"stage": "joined", "right": right}), flush=True)
    rounds = 10 if backend == "nccl" else 3
    data.fill_(0)
    wait = torch.cuda.synchronize if backend == "nccl" else lambda: None
    dist.barrier()
    wait()
    start = time.perf_counter()
    for _ in range(rounds):
        dist.all_reduce(data)
    wait()
    seconds = (time.perf_counter() - start) / rounds
    # NCCL's own measure (nccl-tests, PERFORMANCE.md): what each link carries, whatever the number of ranks.
    bus = 2 * (world - 1) / world * count * 4 / seconds / 1e9
    print(json.dumps({"stage": "done", "right": right, "bus_gb_s": bus, "ranks": world}), flush=True)
    dist.destroy_process_group()
    return 0


def ranks_here(given: argparse.Namespace) -> int:
    """One a GPU; one where there are none that torch could use."""
    return max(1, given.gpus) if shutil.which("nvidia-smi") else 1


def all_reduce(given: argparse.Namespace, address: str, seconds: float) -> Record:
    """Start this node's ranks, wait for them as long as may be, and tell what came of it."""
    node, nodes = number("SLURM_NODEID"), number("SLURM_JOB_NUM_NODES", 1)
    ranks = ranks_here(given)
    words = [sys.executable, os.path.abspath(__file__), "reduce", address, str(given.port)]
    started = [
        subprocess.Popen(
            [*words, str(node * ranks + local), str(nodes * ranks), str(local), given.backend],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for local in range(ranks)
    ]
    end = time.monotonic() + seconds
    reports = []
    for process in started:
        timed_out = False
        try:
            out, err = process.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            timed_out = True
            out, err = process.communicate()
        stages = [json.loads(line) for line in out.splitlines() if line.startswith(b'{"stage"')]
        last: Record = {}
        for stage in stages:
            last.update(stage)
        last.setdefault("stage", "started")
        last["timed_out"] = timed_out
        last["said"] = err.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        reports.append(last)
    return judged_reduce(reports, given.bandwidth)


def judged_reduce(reports: Sequence[Record], expected: float) -> Record:
    """What the reports of a node's ranks mean: the one that came least far counts."""
    order = ("no torch", "started", "imported", "joined", "done")
    worst = min(reports, key=lambda one: order.index(one["stage"]))
    wanted = f"{expected:.0f} GB/s" if expected else ""
    if worst["stage"] == "no torch":
        return check("all-reduce", SKIPPED, "this Python has no torch")
    if worst["stage"] == "started" and worst["timed_out"]:
        return check("all-reduce", WARNING, "torch was not loaded in time")
    if worst["stage"] in ("started", "imported", "joined"):
        how = "did not end in time" if worst["timed_out"] else worst["said"][0] or "ended early"
        return {**check("all-reduce", BAD, how, wanted), "joined": worst["stage"] == "joined"}
    if not all(one.get("right") for one in reports):
        return {**check("all-reduce", BAD, "the sum is wrong", wanted), "joined": True}
    speed = min(float(one["bus_gb_s"]) for one in reports)
    found = f"{speed:.2f} GB/s by {worst['backend']}, {worst['ranks']} ranks"
    made = check("all-reduce", WARNING if speed < expected * 0.7 else OK, found, wanted)
    return {**made, "joined": True, "bus_gb_s": speed, "backend": worst["backend"]}


# --- node and judge -----------------------------------------------------------------------------


def stopped(signum: int, frame: object) -> None:
    """Slurm ends the job: then nodes that did not finish are not bad."""
    write_json(os.path.join(attempt(), "preflight-stopped.json"), {"host": node_name()})
    os._exit(128 + signum)


def node(given: argparse.Namespace) -> int:
    """Look at this node, and write what was found; always status 0, for all nodes shall be heard."""
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a warning for the training, which has nothing to save yet
    started = time.time()
    end = time.monotonic() + NODE_S
    address, checks = reach(given.names, given.port)
    looks: list[Callable[[], list[Record]]] = [
        lambda: gpus(given.gpus),
        lambda: nics(given.fabric, given.hcas, given.interfaces),
        lambda: [memlock(given.fabric)],
        lambda: [memory(read_line("/proc/meminfo"))],
        lambda: [disk("disk", os.environ.get("TMPDIR") or "/tmp"), disk("run-folder", attempt())],  # noqa: S108
        lambda: [] if given.outside else [program()],
    ]
    for look in looks:
        try:
            checks += look()
        except Exception as error:  # a check that we wrote wrongly shall cost nobody a job
            checks.append(check("preflight", WARNING, f"{type(error).__name__}: {error}"))
    if address and number("SLURM_JOB_NUM_NODES", 1) * ranks_here(given) > 1:
        checks.append(all_reduce(given, address, end - time.monotonic()))
    record = {
        "node": number("SLURM_NODEID"),
        "host": node_name(),
        "hostname": socket.gethostname(),
        "started_s": started,
        "ended_s": time.time(),
        "checks": checks,
    }
    write_json(os.path.join(attempt(), f"preflight-{number('SLURM_NODEID'):03d}.json"), record)
    return 0


def records(folder: str, nodes: int) -> dict[int, Record]:
    """What the nodes wrote, by number. On NFS our list of the folder may be seconds old."""
    found: dict[int, Record] = {}
    write_json(os.path.join(folder, "preflight.json"), {})  # makes the client look again
    end = time.monotonic() + LATE_S
    while True:
        for name in os.listdir(folder):
            if re.fullmatch(r"preflight-\d+\.json", name):
                with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, name)) as file:
                    one = json.load(file)
                    found[int(one["node"])] = one
        if len(found) >= nodes or time.monotonic() > end:
            return found
        time.sleep(0.5)


def hosts(nodes: int) -> list[str]:
    """The nodes of the job in Slurm's order, for those that did not tell their name."""
    try:
        names = said_by(["scontrol", "show", "hostnames", os.environ.get("SLURM_JOB_NODELIST", "")]).split()
    except (OSError, subprocess.SubprocessError):
        names = []
    return names if len(names) == nodes else [f"node {index}" for index in range(nodes)]


def verdicts(found: dict[int, Record], names: Sequence[str]) -> tuple[list[Record], list[Record]]:
    """The bad nodes with their reasons, and the warnings.

    When an all-reduce fails it fails on all nodes. Those are bad that did not come as far as others; none
    where another check or a missing node explains it, nor where torch was not loaded in time somewhere. If
    nothing tells them apart, the verdict is about all nodes; so it is where all fail the same check of those
    that depend on the job or the site.
    """
    if not found and len(names) > 1:
        # srun itself has failed: the first node runs this very script, so not all of them are bad.
        return [{"node": None, "host": ALL, "reasons": ["no answer: srun could not start the tasks"]}], []
    bad: dict[int, list[str]] = {}
    shared = failed_everywhere(found, names)
    about_all: set[str] = set()
    warnings: list[Record] = []
    reduced: dict[int, Record] = {}
    for index, name in enumerate(names):
        if index not in found:
            bad[index] = [f"no answer: it does not start tasks, hangs, or does not see {RUN}"]
            continue
        for one in found[index]["checks"]:
            where = {"node": index, "host": name}
            if one["name"] == "all-reduce" and one["verdict"] == BAD:
                reduced[index] = one
            elif one["verdict"] == BAD and one["name"] in shared:
                about_all.add(why(one))
            elif one["verdict"] == BAD:
                bad.setdefault(index, []).append(why(one))
            elif one["verdict"] == WARNING:
                warnings.append(
                    {**where, "check": one["name"], "found": one["found"], "expected": one["expected"]}
                )
    named: list[Record] = [
        {"node": i, "host": names[i], "reasons": reasons} for i, reasons in sorted(bad.items())
    ]
    if about_all:
        named.append({"node": None, "host": ALL, "reasons": sorted(about_all)})
    slow = any(one["check"] == "all-reduce" for one in warnings)
    if reduced and not named and slow:
        warnings.append(
            {"node": None, "host": ALL, "check": "all-reduce", "found": "not done", "expected": ""}
        )
    elif reduced and not named:
        late = [index for index in reduced if not reduced[index].get("joined")]
        blamed = late if 0 < len(late) < len(names) else [] if len(reduced) == len(names) else list(reduced)
        named = [{"node": i, "host": names[i], "reasons": [why(reduced[i])]} for i in blamed]
        if not named:
            reasons = sorted({why(one) for one in reduced.values()})
            named = [{"node": None, "host": ALL, "reasons": reasons}]
    return named, warnings


def failed_everywhere(found: dict[int, Record], names: Sequence[str]) -> set[str]:
    """The checks of SHARED that all of several nodes fail."""
    if len(names) < 2 or len(found) < len(names):
        return set()
    failed = [{one["name"] for one in node["checks"] if one["verdict"] == BAD} for node in found.values()]
    return set(SHARED).intersection(*failed)


def why(one: Record) -> str:
    return f"{one['name']}: {one['found']}"


def judge() -> int:
    """Put the nodes together, tell and record the verdict; STATUS where one is bad."""
    folder, nodes = attempt(), number("SLURM_JOB_NUM_NODES", 1)
    if os.path.exists(os.path.join(folder, "preflight-stopped.json")):
        print("hpctools: preflight: Slurm ended the job before all nodes were looked at")
        return 128 + signal.SIGTERM
    found = records(folder, nodes)
    bad, warnings = verdicts(found, hosts(nodes))
    every = [one for node in found.values() for one in node["checks"]]
    speeds = [one["bus_gb_s"] for one in every if "bus_gb_s" in one]
    seconds = time.time() - min([node["started_s"] for node in found.values()] or [time.time()])
    whole = {
        "status": STATUS if bad else 0,
        "seconds": seconds,
        "bad": bad,
        "warnings": warnings,
        "bus_gb_s": min(speeds) if speeds else None,
        "nodes": [found[index] for index in sorted(found)],
    }
    write_json(os.path.join(folder, "preflight.json"), whole)
    for one in warnings:
        print(f"hpctools: preflight: {one['host']}: {one['check']}: {one['found']}")
    for one in bad:
        verb = "is" if one["node"] is not None else "are"
        print(f"hpctools: preflight: {one['host']} {verb} bad: {'; '.join(one['reasons'])}")
        write_failure(folder, one)
    if not bad:
        speed = f", all-reduce {min(speeds):.2f} GB/s" if speeds else ""
        print(f"hpctools: preflight: {nodes} nodes are good, {seconds:.0f} s{speed}")
    return STATUS if bad else 0


def write_failure(folder: str, one: Record) -> None:
    """A bad node as launch.py's finish and hpctools look for it: a node's task that failed."""
    name = f"node-{one['node'] or 0:03d}"
    lines = ["preflight: " + reason for reason in one["reasons"]]
    with open(os.path.join(folder, name + ".log"), "a") as file:
        file.write("\n".join(lines) + "\n")
    record = {"rank": None, "local_rank": None, "node": one["node"], "host": one["host"]}
    record.update(hostname=one["host"], pid=None, started_s=time.time(), ended_s=time.time(), status=STATUS)
    record.update(signal=None, asked=False, last_lines=lines, preflight=True)
    write_json(os.path.join(folder, name + ".json"), record)


def names(text: str) -> list[str]:
    return [one for one in text.split(",") if one]


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="preflight.py", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("head")
    commands.add_parser("judge")
    look = commands.add_parser("node", allow_abbrev=False)
    look.add_argument("--names", type=names, required=True)
    look.add_argument("--port", type=int, required=True)
    look.add_argument("--gpus", type=int, default=0)
    look.add_argument("--backend", choices=("auto", "nccl", "gloo"), default="auto")
    look.add_argument("--fabric", default="")
    look.add_argument("--hcas", type=names, default=[])
    look.add_argument("--interfaces", type=names, default=[])
    look.add_argument("--bandwidth", type=float, default=0.0)
    look.add_argument("--outside", action="store_true", help="the program is in an image, and we are not")
    part = commands.add_parser("reduce")
    part.add_argument("address")
    for name in ("port", "rank", "world", "local"):
        part.add_argument(name, type=int)
    part.add_argument("backend")
    given = parser.parse_args(words)
    if given.command == "head":
        return head()
    if given.command == "node":
        return node(given)
    if given.command == "judge":
        return judge()
    return reduce(given.address, given.port, given.rank, given.world, given.local, given.backend)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
