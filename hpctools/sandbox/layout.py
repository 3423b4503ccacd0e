"""What a sandbox's daemons find when they start: folders, keys, a database, devices, configuration."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
from pathlib import Path

from hpctools import files, process
from hpctools.errors import HpctoolsError
from hpctools.sandbox import config, namespaces, places, processes, programs
from hpctools.sandbox.config import Node
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.places import Places
from hpctools.sandbox.spec import Spec


def lay_out(sandbox: Sandbox) -> None:
    """Make folders, key, database, device files and configuration: all that daemons find."""
    here, spec = sandbox.places, sandbox.spec
    make_folders(sandbox)
    for node in spec.node_names:
        (here.shared / "spool" / node).mkdir(exist_ok=True)
        (here.shared / "tmp" / node).mkdir(exist_ok=True)
        (here.shared / "tmp" / node).chmod(0o1777)
    if spec.accounting and not (here.data / "db" / "mysql").exists():
        make_database(here)
    _make_devices(here.shared / "dev", spec)
    write_system_files(sandbox)
    files.write(here.ports, " ".join(map(str, sandbox.ports.values())))
    for name, text in _configuration(sandbox).items():
        files.write(here.etc / name, text, config.FILES.get(name, 0o644))


def make_folders(sandbox: Sandbox) -> None:
    """The folders of a sandbox and munge's key."""
    here = sandbox.places
    places.make_shared_home()
    for folder in (
        here.data / "munge",
        here.data / "run",
        here.data / "slurmctld",
        here.log,
        here.database_socket.parent,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    for folder in (
        here.shared,
        here.etc,
        here.munge_socket.parent,
        here.shared / "dev",
        here.shared / "spool",
        here.shared / "tmp",
        here.shared / "sys",
    ):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    key = here.data / "munge" / "key"
    if not key.exists():
        files.write(key, secrets.token_bytes(1024), 0o400)


def _configuration(sandbox: Sandbox) -> dict[str, str]:
    spec = sandbox.spec
    own = socket.gethostname().partition(".")[0]
    nodes = [
        Node(
            name,
            name if spec.netns else own,
            namespaces.network_address(number) if spec.netns else sandbox.address,
            sandbox.ports[f"slurmd-{name}"],
        )
        for number, name in enumerate(spec.node_names, 1)
    ]
    return config.render(sandbox, nodes, "ctl" if spec.netns else own)


def make_database(here: Places) -> None:
    """A fresh MariaDB; made beside and renamed, so that a half-made one is never used."""
    fresh = here.data / "db.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(here.data / "db", ignore_errors=True)
    user = pwd.getpwuid(os.geteuid()).pw_name
    words = [
        "--no-defaults",
        f"--datadir={fresh}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]
    # Marked as ours: what an interruption leaves running is found by it.
    # A starting MariaDB deletes the temporary tables in its TMPDIR, another's too (mysql_rm_tmp_tables).
    env = {**os.environ, processes.MARK: str(here.data), "TMPDIR": str(here.data / "run")}
    done = process.run([programs.path("mariadb-install-db"), *words, f"--user={user}"], env=env)
    if done.status:
        raise HpctoolsError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
    # slurmdbd's own, by the name that it has unless told otherwise. Where it is missing, 26.05 makes it,
    # fails to connect again and waits for 5 s (as_mysql, mysql_common.c). A folder is an empty database.
    (fresh / "slurm_acct_db").mkdir(mode=0o700)
    fresh.rename(here.data / "db")


def _make_devices(folder: Path, spec: Spec) -> None:
    """Files that stand for GPUs.

    Links to /dev/null serve where devices are not constrained (plain files would leave
    CUDA_VISIBLE_DEVICES empty). With cgroups each needs a device number of its own: NVIDIA's.
    """
    for path in folder.iterdir():
        path.unlink()
    for number in range(spec.gpus_per_node):
        path = folder / f"nvidia{number}"
        if spec.proctrack == "cgroup":
            os.mknod(path, 0o666 | 0o020000, os.makedev(195, number))
            path.chmod(0o666)
        else:
            path.symlink_to("/dev/null")


def write_system_files(sandbox: Sandbox) -> None:
    """The users and hosts that its processes see, where they are not the machine's own."""
    folder, spec = sandbox.places.shared / "sys", sandbox.spec
    homes = {user: str(sandbox.places.shared / "home" / user) for user in namespaces.USERS}
    if sandbox.private_users:
        texts = namespaces.users_text(Path("/etc/passwd").read_text(), Path("/etc/group").read_text(), homes)
        for name, text in zip(("passwd", "group"), texts, strict=True):
            files.write(folder / name, text)
        for line in texts[0].splitlines():
            user, _, uid, gid, *_ = line.split(":")
            if user in homes:
                home = Path(homes[user])
                home.mkdir(parents=True, exist_ok=True)
                os.chown(home, int(uid), int(gid))
                home.chmod(0o700)
    if sandbox.private_hosts:
        own = socket.gethostname()
        entries = {own: "127.0.0.1"}
        if spec.netns:
            named = enumerate(("ctl", *spec.node_names))
            entries |= {name: namespaces.network_address(number) for number, name in named}
        files.write(folder / "hosts", namespaces.hosts_text(entries, Path("/etc/hosts").read_text()))
