"""A real Slurm cluster on this machine: up, down, status."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from hpctools import files, process
from hpctools.errors import HpctoolsError, InvalidInput, NotFound, Problem
from hpctools.process import Completed
from hpctools.sandbox import (
    accounts,
    cgroups,
    daemons,
    layout,
    namespaces,
    places,
    processes,
    programs,
    roots,
)
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.ports import reserved
from hpctools.sandbox.spec import Spec, problems

Say = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """What stands of a sandbox: `up` (all daemons live), `degraded`, `down`.

    daemons: name -> whether it lives and is not frozen. nodes: name -> Slurm's state, empty when
    slurmctld is away.
    """

    name: str
    state: str
    release: str
    slurm_conf: str
    daemons: dict[str, bool]
    nodes: dict[str, str]
    spec: Spec


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One `up`, `down`, `fail` or `heal` of a sandbox at a time."""
    lock = Places(name).lock
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with files.locked(lock):
        yield


def command(sandbox: Sandbox, argv: Sequence[str], *, timeout_s: float = 120) -> Completed:
    """Run a command of Slurm's on the sandbox, as its controller's host sees the world."""
    words = [sandbox.program(argv[0]), *argv[1:]]
    done = process.run(sandbox.view().words(words), env=sandbox.command_env(os.environ), timeout_s=timeout_s)
    return replace(done, argv=tuple(argv))


def up(spec: Spec, say: Say) -> bool:
    """Start the sandbox and wait until all its nodes are idle; False when it is up already.

    What a crash, a kill or a reboot left is cleaned away first; jobs and accounting are kept.
    Raises InvalidInput, NotFound (packages are missing), HpctoolsError (a daemon did not start).
    """
    if found := problems(spec, root=os.geteuid() == 0):
        raise InvalidInput(found)
    spec = native_or_root(spec)
    with locked(spec.name):
        record = places.load(spec.name)
        if record and record["state"] == "up":
            known = Sandbox.from_record(record)
            if all(known.alive(daemon) for daemon in daemons.expected(known.spec)):
                _same_or_refuse(spec, known.spec)
                return False
            say("its daemons are not all there: cleaning up")
        existed = record is not None
        clean(spec.name, record)
        try:
            _start(spec, say)
        except BaseException:
            clean(spec.name, places.load(spec.name))
            if not existed:
                remove(spec.name)
            raise
    return True


def native_or_root(spec: Spec) -> Spec:
    """spec, whose release is None where that is the native one. Raises NotFound for what is missing."""
    native = None if programs.missing(["slurmctld"]) else programs.release(process.run)
    if spec.slurm and native and native.startswith(f"{spec.slurm}."):
        spec = replace(spec, slurm=None)
    if spec.slurm:
        roots.existing(spec.slurm)
    programs.require(slurm=spec.slurm is None, accounting=spec.accounting)
    return spec


def _same_or_refuse(wanted: Spec, running: Spec) -> None:
    """Raises InvalidInput, naming the options that would change a sandbox that is up."""
    asked, has = wanted.to_dict(), running.to_dict()
    options = [f"--{key.removesuffix('_mb').replace('_', '-')}" for key in asked if asked[key] != has[key]]
    hint = f"hpctools sandbox down --name {wanted.name}, then up again"
    if options:
        raise InvalidInput(Problem(each, "differs from the sandbox that is up", hint) for each in options)


def _start(spec: Spec, say: Say) -> None:
    addresses = find_addresses(spec)
    wanted = (places.load(spec.name) or {"ports": {}})["ports"].values()
    names = ("slurmctld", "slurmdbd", *(f"slurmd-{node}" for node in spec.node_names))
    with reserved(
        "127.0.0.1", len(names), wanted=list(wanted), taken=places.ports_of_others(spec.name)
    ) as ports:
        sandbox = Sandbox(
            spec,
            Places(spec.name),
            addresses.controller,
            dict(zip(names, ports, strict=True)),
            roots.existing(spec.slurm).exact if spec.slurm else programs.release(process.run),
            addresses.private_users,
            addresses.private_hosts,
            {},
        )
        # The record first: what is laid out and started after it is found by it.
        sandbox.places.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.save(spec.name, sandbox.to_record("starting"))
        layout.lay_out(sandbox)
        _start_daemons(sandbox, say)
    places.save(spec.name, sandbox.to_record("up"))


@dataclass(frozen=True)
class Addresses:
    controller: str
    private_users: bool
    private_hosts: bool


def find_addresses(spec: Spec) -> Addresses:
    """Where the controller listens, and which system files its processes need of their own."""
    probe = namespaces.View({"/etc/hosts": "/etc/hosts"}).words(["true"])
    unshare = process.run(probe).status == 0
    own = namespaces.loopback_address()
    if own is None and not unshare:
        name = socket.gethostname()
        raise HpctoolsError(
            f"this host's name, {name}, is not on loopback and no mount namespace may be made here:\n"
            f"  Slurm's daemons would listen on the network. Add a line '127.0.1.1 {name}' to /etc/hosts."
        )
    controller = namespaces.network_address(0) if spec.netns else own or "127.0.0.1"
    return Addresses(controller, unshare and os.geteuid() == 0, spec.netns or own is None)


def _start_daemons(sandbox: Sandbox, say: Say) -> None:
    """Start all, each as soon as what it needs answers."""
    if sandbox.spec.netns:
        _start_network(sandbox, say)
    first = ["munged", *(["mariadbd"] if sandbox.spec.accounting else [])]
    for daemon in first:
        _start_daemon(sandbox, daemon)
    for daemon in first:
        daemons.wait_ready(sandbox, daemon, say)
    if sandbox.spec.accounting:
        _start_daemon(sandbox, "slurmdbd")
        daemons.wait_ready(sandbox, "slurmdbd", say)
        _create_accounts(sandbox, say)
    for daemon in ("slurmctld", *sandbox.slurmd_names):
        _start_daemon(sandbox, daemon)
    daemons.wait_ready(sandbox, "slurmctld", say)
    wait_idle(sandbox, say)


def _start_daemon(sandbox: Sandbox, daemon: str) -> None:
    daemons.start(sandbox, daemon)
    places.save(sandbox.spec.name, sandbox.to_record("starting"))


def _start_network(sandbox: Sandbox, say: Say) -> None:
    names = [f"net-{node}" for node in ("ctl", *sandbox.spec.node_names)]
    for name in names:
        _start_daemon(sandbox, name)
    pids = [sandbox.daemons[name].pid for name in names]
    own = os.readlink("/proc/self/ns/net")
    if not processes.wait_until(lambda: own not in [os.readlink(f"/proc/{pid}/ns/net") for pid in pids], 60):
        raise HpctoolsError("network namespaces could not be made")
    for words in namespaces.network_commands(pids[0], pids[1:]):
        process.run(words).check()
    say(f"{len(pids)} network namespaces are joined")


def _create_accounts(sandbox: Sandbox, say: Say) -> None:
    marker = sandbox.places.data / "accounts-made"
    if marker.exists():
        return
    user = pwd.getpwuid(os.geteuid()).pw_name
    accounts.create(
        lambda words: command(sandbox, ["sacctmgr", *words]), sandbox.spec.name, user, namespaces.USERS
    )
    marker.touch()
    say("accounts, users and QOS are made")


def node_states(sandbox: Sandbox) -> dict[str, str]:
    """Name -> state of every node, as sinfo says it; empty when slurmctld does not answer."""
    try:
        done = command(sandbox, ["sinfo", "--noheader", "--Node", "--format=%N %T"], timeout_s=20)
    except HpctoolsError:
        return {}
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines()) if done.status == 0 else {}


def wait_idle(sandbox: Sandbox, say: Say, timeout_s: float = 180) -> None:
    """Until no node is down, unknown or not responding. Raises HpctoolsError with states and logs, at
    once when a daemon has ended.
    """
    begun_s = time.monotonic()
    sick: dict[str, str] = {}

    def well() -> bool:
        states = node_states(sandbox)
        healthy = ("idle", "mixed", "allocated", "completing", "reserved")
        sick.clear()
        sick.update({node: states.get(node, "unknown") for node in sandbox.spec.node_names})
        for node in [node for node, state in sick.items() if state in healthy]:
            del sick[node]
        return not sick

    def dead() -> list[str]:
        return [daemon for daemon in sandbox.daemons if not sandbox.alive(daemon)]

    if processes.wait_until(lambda: dead() or well(), timeout_s) and not dead():
        say(f"{sandbox.spec.nodes} nodes are idle")
        return
    told = [f"{daemon} has ended:\n{daemons.tail(sandbox.places, daemon)}" for daemon in dead()[:3]]
    told += [
        f"{node} is {state}:\n{daemons.tail(sandbox.places, f'slurmd-{node}')}"
        for node, state in list(sick.items())[:3]
    ]
    after = f"after {time.monotonic() - begun_s:.0f} s"
    raise HpctoolsError("\n".join([f"the sandbox is not well {after}", *told]))


def clean(name: str, record: dict[str, object] | None) -> None:
    """End every process of a sandbox: jobs first, then daemons in the order that loses nothing."""
    here = Places(name)
    sandbox = Sandbox.from_record(record) if record else None
    nodes = sandbox.spec.node_names if sandbox else ()

    belongs = processes.of_sandbox(str(here.data), str(here.slurm_conf), str(here.log), nodes)

    known = dict(sandbox.daemons) if sandbox else {}
    # First slurmctld, which saves its state; it would wait long for nodes that went before it.
    if "slurmctld" in known:
        processes.end([known["slurmctld"]], grace_s=10)
    processes.kill([identity for daemon, identity in known.items() if daemon.startswith("slurmd-")])
    keep = {known[daemon].pid for daemon in ("munged", "mariadbd", "slurmdbd") if daemon in known}
    # A slurmstepd that dies may leave its task for a moment, so look until nothing is found.
    for _ in range(20):
        rest = [identity for identity in processes.scan(belongs) if identity.pid not in keep]
        if not rest:
            break
        processes.kill(rest)
    for daemon in ("slurmdbd", "mariadbd", "munged"):
        if daemon in known:
            processes.end([known[daemon]], grace_s=15)
    processes.kill(processes.scan(belongs))
    if sandbox and sandbox.spec.proctrack == "cgroup":
        cgroups.remove(nodes)
    shutil.rmtree(here.shared, ignore_errors=True)
    if record:
        places.save(name, {**record, "state": "down", "daemons": {}})


def remove(name: str) -> None:
    """Forget a sandbox that is down, its jobs and accounting included."""
    shutil.rmtree(Places(name).data, ignore_errors=True)


def down(name: str, *, purge: bool = False) -> bool:
    """End a sandbox: no process, socket, mount or cgroup folder stays. False when it was down.

    Accounting and slurmctld's state are kept for the next up, unless purge. Raises NotFound.
    """
    if not places.names() or name not in places.names():
        places.existing(name)
    with locked(name):
        record = places.existing(name)
        was_up = bool(record["state"] != "down")
        clean(name, record)
        if purge:
            remove(name)
    return was_up


def load(name: str) -> Sandbox:
    """A sandbox that has been started. Raises NotFound when it is down or not there."""
    record = places.existing(name)
    if record["state"] == "down":
        raise NotFound(f"the sandbox {name} is down: hpctools sandbox up --name {name}")
    return Sandbox.from_record(record)


def status(name: str) -> Status:
    """What stands of a sandbox. Raises NotFound."""
    record = places.existing(name)
    sandbox = Sandbox.from_record(record)
    living = {daemon: sandbox.answers(daemon) for daemon in daemons.expected(sandbox.spec)}
    state = "up" if all(living.values()) else "degraded" if any(living.values()) else "down"
    nodes = node_states(sandbox) if living["slurmctld"] and living["munged"] else {}
    return Status(name, state, sandbox.release, str(sandbox.places.slurm_conf), living, nodes, sandbox.spec)


def recorded_spec(name: str) -> Spec | None:
    """The spec a sandbox was last started with."""
    record = places.load(name)
    return Spec.from_dict(record["spec"]) if record else None


def with_changes(name: str, changes: dict[str, object]) -> Spec:
    """The recorded spec of a sandbox, or the defaults, with what the user names now."""
    return replace(recorded_spec(name) or Spec(name=name), **{**changes, "name": name})  # type: ignore[arg-type]
