"""The daemons of a sandbox: how each is started, and when it is ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctools import process
from hpctools.errors import HpctoolsError
from hpctools.sandbox import namespaces, ports, processes, programs, roots
from hpctools.sandbox.namespaces import View
from hpctools.sandbox.places import Places
from hpctools.sandbox.processes import DAEMON, MARK, Identity
from hpctools.sandbox.roots import Root
from hpctools.sandbox.spec import Spec

# What a command or daemon must not inherit from a job or another cluster.
_SCRUBBED = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SQUEUE_", "SACCT_", "SINFO_", "PMI")


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that has been laid out: its spec, folders, addresses and ports.

    private_users: whether its processes see users of the sandbox's own. hosts: whether they see a
    private /etc/hosts. daemons: name -> Identity of what was started, holders of namespaces included.
    """

    spec: Spec
    places: Places
    address: str
    ports: Mapping[str, int]
    release: str
    private_users: bool
    private_hosts: bool
    daemons: dict[str, Identity]

    @property
    def slurmd_names(self) -> list[str]:
        return [f"slurmd-{node}" for node in self.spec.node_names]

    @property
    def root(self) -> Root | None:
        """The root folder its Slurm is in; None for the native one, as it is inside that root."""
        inside = self.spec.slurm is None or self.spec.slurm == os.environ.get(roots.INSIDE)
        return None if inside else roots.existing(str(self.spec.slurm))

    def program(self, name: str) -> str:
        """What to call a program of Slurm's or munge's in view."""
        return programs.path(name) if self.root is None else name

    def view(self, node: str | None = None) -> View:
        """How processes of node see the system; None is the controller's host."""
        base = roots.view(self.root) if self.root else View()
        binds = dict(base.binds)
        if self.private_users:
            binds |= {f"/etc/{name}": str(self.places.shared / "sys" / name) for name in ("passwd", "group")}
        if self.private_hosts:
            binds["/etc/hosts"] = str(self.places.shared / "sys" / "hosts")
        holder = self.daemons.get(f"net-{node or 'ctl'}")
        return View(binds, holder.pid if holder else None, base.root)

    def command_env(self, base: Mapping[str, str]) -> dict[str, str]:
        """base as a command of Slurm's needs it to reach this cluster and no other."""
        kept = {key: value for key, value in base.items() if not key.startswith(_SCRUBBED)}
        kept |= {"SLURM_CONF": str(self.places.slurm_conf)}
        kept = roots.env(self.root, kept) if self.root else kept
        return kept | ({"TZ": self.spec.timezone} if self.spec.timezone else {})

    def to_record(self, state: str) -> dict[str, Any]:
        return {
            "name": self.spec.name,
            "state": state,
            "release": self.release,
            "slurm_conf": str(self.places.slurm_conf),
            "boot_id": processes.boot_id(),
            "address": self.address,
            "ports": dict(self.ports),
            "private_users": self.private_users,
            "private_hosts": self.private_hosts,
            "daemons": {name: [found.pid, found.started] for name, found in self.daemons.items()},
            "spec": self.spec.to_dict(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Sandbox:
        same_boot = record.get("boot_id") == processes.boot_id()
        known = record.get("daemons", {}) if same_boot else {}
        return cls(
            Spec.from_dict(record["spec"]),
            Places(record["name"]),
            record["address"],
            record["ports"],
            record["release"],
            record["private_users"],
            record["private_hosts"],
            {name: Identity(*pair) for name, pair in known.items()},
        )

    def alive(self, daemon: str) -> bool:
        return daemon in self.daemons and self.daemons[daemon].alive()

    def answers(self, daemon: str) -> bool:
        return self.alive(daemon) and not self.daemons[daemon].frozen()


def expected(spec: Spec) -> list[str]:
    """Every daemon of a sandbox in the order of their start."""
    holders = [f"net-{node}" for node in ("ctl", *spec.node_names)] if spec.netns else []
    database = ["mariadbd", "slurmdbd"] if spec.accounting else []
    return [*holders, "munged", *database, "slurmctld", *(f"slurmd-{node}" for node in spec.node_names)]


# A daemon started so is killed by the kernel when its parent ends, however that ends (prctl(2)).
_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def start(sandbox: Sandbox, daemon: str, *, with_us: bool = False) -> None:
    """Start a daemon (in the foreground of a session of its own) and note what it is.

    with_us: it shall not outlive this process, which asks how it ended, even if that was at once.
    """
    places, node = sandbox.places, daemon.partition("-")[2] or None
    folder = places.log_of(daemon).parent
    folder.mkdir(parents=True, exist_ok=True)
    env = sandbox.command_env(os.environ) | {
        MARK: str(places.data),
        DAEMON: daemon,
        "MYSQL_UNIX_PORT": str(places.database_socket),
    }
    env["PATH"] = os.pathsep.join([env.get("PATH", os.defpath), *programs.SYSTEM_FOLDERS])
    # Namespaces are made, and MariaDB runs, on the machine as it is.
    plain = daemon.startswith("net-") or daemon == "mariadbd"
    view = View() if plain else sandbox.view(node if daemon.startswith("slurmd-") else None)
    with open(folder / "out", "ab") as output:
        words = [*(_WITH_US if with_us else ()), *_words(sandbox, daemon)]
        pid = process.start(view.words(words), env=env, cwd=folder, output=output)
    identity = processes.identify(pid, ended_too=with_us)
    if identity is None:
        raise HpctoolsError(f"{daemon} ended at once:\n{tail(places, daemon)}")
    sandbox.daemons[daemon] = identity


def _words(sandbox: Sandbox, daemon: str) -> list[str]:
    data, kind = sandbox.places.data, daemon.partition("-")[0]
    node = daemon.partition("-")[2]
    if kind == "net":
        return namespaces.hold_words("ctl" if node == "ctl" else node)
    if kind == "munged":
        key = [f"--key-file={data / 'munge' / 'key'}", f"--seed-file={data / 'munge' / 'seed'}"]
        run = [f"--pid-file={data / 'run' / 'munged.pid'}", f"--log-file={sandbox.places.log_of(daemon)}"]
        # --force: a folder above that the user's group may write to is none of its business here.
        return [
            sandbox.program("munged"),
            "--foreground",
            "--force",
            f"--socket={sandbox.places.munge_socket}",
            *key,
            *run,
        ]
    if kind == "mariadbd":
        return _mariadbd_words(sandbox)
    options = {"slurmdbd": ["-D"], "slurmctld": ["-D"], "slurmd": ["-D", "-N", node]}[kind]
    return [sandbox.program(kind), *options]


def _mariadbd_words(sandbox: Sandbox) -> list[str]:
    data = sandbox.places.data
    return [
        programs.path("mariadbd"),
        "--no-defaults",
        f"--datadir={data / 'db'}",
        f"--socket={sandbox.places.database_socket}",
        f"--pid-file={data / 'run' / 'mariadbd.pid'}",
        f"--log-error={sandbox.places.log_of('mariadbd')}",
        # It deletes what it takes for its temporary tables there, when it starts.
        f"--tmpdir={data / 'run'}",
        "--skip-networking",
        # Names of jobs in any script; without it those beyond latin1 become question marks.
        "--character-set-server=utf8mb4",
        # As accounting.html of Slurm asks for.
        "--innodb-buffer-pool-size=128M",
        "--innodb-lock-wait-timeout=900",
        *(["--user=root"] if os.geteuid() == 0 else []),
    ]


def ready(sandbox: Sandbox, daemon: str) -> bool:
    """Whether daemon answers on its socket. Raises HpctoolsError, with its log, when it has ended."""
    if not sandbox.alive(daemon):
        raise HpctoolsError(f"{daemon} ended while it started:\n{tail(sandbox.places, daemon)}")
    sockets = {"munged": sandbox.places.munge_socket, "mariadbd": sandbox.places.database_socket}
    if daemon in sockets:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(sockets[daemon])) == 0
    # Its port being taken is enough: a connection without a message is an error in Slurm's logs.
    return sandbox.spec.netns or not ports.free(sandbox.address, sandbox.ports[daemon])


def wait_ready(sandbox: Sandbox, daemon: str, say: Callable[[str], None], timeout_s: float = 120) -> None:
    if not processes.wait_until(lambda: ready(sandbox, daemon), timeout_s):
        raise HpctoolsError(
            f"{daemon} did not answer within {timeout_s:.0f} s:\n{tail(sandbox.places, daemon)}"
        )
    say(f"{daemon} is up")


def tail(places: Places, daemon: str, lines: int = 12) -> str:
    """The last lines of a daemon's log, what it said on its way included."""
    texts = []
    for path in (places.log_of(daemon), places.log_of(daemon).with_name("out")):
        texts += _last_lines(path, lines)
        if texts:
            break
    return "\n".join(f"    {line}" for line in texts) or "    (its log is empty)"


def _last_lines(path: Path, lines: int) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65536))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []
