"""A sandbox for one candidate: made, used, and gone, whatever happens to us."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hpctools import files, process
from hpctools.process import Completed
from hpctools.sandbox import cluster, daemons, layout, places, ports, processes, programs, roots
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.spec import Spec

# Without a record such a sandbox is in no list, and nobody takes it for his cluster.
_PREFIX = "verify-"


class Throwaway:
    """The sandbox of one verification. Daemons are children of this process, and end with it."""

    def __init__(self, sandbox: Sandbox, held: contextlib.ExitStack) -> None:
        self.sandbox = sandbox
        self._held = held
        self._statuses: dict[int, int] = {}

    @property
    def places(self) -> Places:
        return self.sandbox.places

    def start(self, daemon: str) -> None:
        daemons.start(self.sandbox, daemon, with_us=True)

    def stop(self, names: Iterable[str]) -> None:
        """KILL: nothing of theirs is kept."""
        processes.kill([self.sandbox.daemons[name] for name in names if name in self.sandbox.daemons])

    def ended(self, daemon: str) -> int | None:
        """How a daemon ended: its status, or minus the signal; None while it runs."""
        pid = self.sandbox.daemons[daemon].pid
        if pid not in self._statuses:
            try:
                found, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                found, status = pid, 0
            if found == 0:
                return None
            self._statuses[pid] = os.waitstatus_to_exitcode(status)
        return self._statuses[pid]

    def said(self, daemon: str) -> str:
        """All that a daemon wrote on its outputs so far."""
        try:
            return self.places.log_of(daemon).with_name("out").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def forget_said(self, daemon: str) -> None:
        """Begin a log anew."""
        shutil.rmtree(self.places.log_of(daemon).parent, ignore_errors=True)

    def command(self, words: Sequence[str], *, timeout_s: float = 30) -> Completed:
        return cluster.command(self.sandbox, words, timeout_s=timeout_s)

    def reserve(self, count: int) -> list[int]:
        """Free ports, kept from other sandboxes until the end."""
        taken = places.ports_of_others(self.places.name) | set(self.sandbox.ports.values())
        return self._held.enter_context(ports.reserved("127.0.0.1", count, taken=taken))

    def write(self, texts: Mapping[str, bytes]) -> None:
        """Configuration files, by name below etc."""
        for name, data in texts.items():
            path = self.places.etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, data, 0o600 if name == "slurmdbd.conf" else 0o644)

    def make_devices(self, paths: Iterable[str]) -> None:
        """Links to /dev/null: a plain file would leave CUDA_VISIBLE_DEVICES empty."""
        top = f"{self.places.shared}{os.sep}"
        for path in paths:
            # A name such as /dev/../../x stays where it is.
            if os.path.normpath(path).startswith(top) and not os.path.lexists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.symlink(os.devnull, path)


@contextlib.contextmanager
def throwaway(release: str | None, *, accounting: bool) -> Iterator[Throwaway]:
    """A sandbox without configuration; release: of a root (24.11), None for the installed one.

    What a verification that was killed left is cleared first. Raises NotFound for what is missing.
    """
    _sweep()
    spec = cluster.native_or_root(
        Spec(name=f"{_PREFIX}{secrets.token_hex(4)}", slurm=release, accounting=accounting)
    )
    here = Places(spec.name)
    here.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    addresses = cluster.find_addresses(spec)
    exact = roots.existing(spec.slurm).exact if spec.slurm else programs.release(process.run)
    with contextlib.ExitStack() as held:
        held.enter_context(files.locked(here.lock))
        held.callback(_remove, here)
        taken = places.ports_of_others(spec.name)
        found = held.enter_context(ports.reserved("127.0.0.1", 2, taken=taken))
        known = dict(zip(("slurmctld", "slurmdbd"), found, strict=True))
        sandbox = Sandbox(spec, here, addresses.controller, known, exact, False, addresses.private_hosts, {})
        layout.make_folders(sandbox)
        layout.write_system_files(sandbox)
        files.write(here.ports, " ".join(map(str, found)))
        made = Throwaway(sandbox, held)
        try:
            yield made
        finally:
            # Ctrl-C once more shall not stop this.
            with _undisturbed():
                _end(sandbox)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = {}
    # Only the main thread may set handlers; others get no signals.
    with contextlib.suppress(ValueError):
        kept = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _end(sandbox: Sandbox) -> None:
    processes.kill(sandbox.daemons.values())
    _kill_rest(sandbox.places)


def _kill_rest(here: Places) -> None:
    """What daemons have forked: slurmstepds and their tasks, and what a killed verification left."""
    belongs = processes.of_sandbox(str(here.data), str(here.slurm_conf), str(here.log), ())
    for _ in range(20):
        found = processes.scan(belongs)
        if not found:
            return
        processes.kill(found)


def _remove(here: Places) -> None:
    for folder in (here.shared, here.data):
        shutil.rmtree(folder, ignore_errors=True)
    here.lock.unlink(missing_ok=True)


def _sweep() -> None:
    """Clear what verifications left that were killed: their locks are free."""
    home = places.state_home() / "sandbox"
    for lock in home.glob(f".{_PREFIX}*.lock"):
        here = Places(lock.name.removeprefix(".").removesuffix(".lock"))
        with contextlib.suppress(BlockingIOError), files.locked(lock, wait=False):
            _kill_rest(here)
            _remove(here)


def host() -> str:
    """The name under which the controller is known."""
    import socket

    return socket.gethostname().partition(".")[0]
