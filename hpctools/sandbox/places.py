"""Where a sandbox keeps what: data in the user's state folder, what other users and short socket
paths need in a folder of our own under /tmp."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctools import files
from hpctools.errors import HpctoolsError, NotFound


def state_home() -> Path:
    """$XDG_STATE_HOME/hpctools, where a relative or missing value means ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "hpctools"


def shared_home() -> Path:
    """The folder of our own under /tmp: short enough for sockets (108 bytes), and searchable by
    the users whose jobs the superuser's sandbox runs, as a home folder is not."""
    return Path(f"/tmp/hpctools-{os.getuid()}")  # noqa: S108 - ownership is checked in make_shared_home


def make_shared_home() -> Path:
    """Make shared_home, mode 0755. Raises HpctoolsError where somebody else was there first."""
    home = shared_home()
    home.mkdir(mode=0o755, exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise HpctoolsError(f"{home} is not a folder of ours alone: remove it, then try again")
    home.chmod(0o755)
    return home


@dataclass(frozen=True)
class Places:
    """The folders of the sandbox called name."""

    name: str

    @property
    def data(self) -> Path:
        """Key, database, slurmctld's state, logs and the record; mode 0700."""
        return state_home() / "sandbox" / self.name

    @property
    def shared(self) -> Path:
        """etc, sockets, spool, device files, homes."""
        return shared_home() / self.name

    @property
    def record(self) -> Path:
        return self.data / "sandbox.json"

    @property
    def lock(self) -> Path:
        return self.data.parent / f".{self.name}.lock"

    @property
    def etc(self) -> Path:
        return self.shared / "etc"

    @property
    def ports(self) -> Path:
        """The ports of its daemons, for other sandboxes to leave alone, also while a daemon is dead."""
        return self.shared / "ports"

    @property
    def slurm_conf(self) -> Path:
        return self.etc / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.shared / "munge" / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.shared / "db" / "mariadb.socket"

    @property
    def log(self) -> Path:
        return self.data / "log"

    def log_of(self, daemon: str) -> Path:
        """The file a daemon (`slurmctld`, `slurmd-n1`, ...) logs to.

        Each has a folder of its own: slurmd and its slurmstepds work in the log's folder, which
        tells a slurmstepd's node.
        """
        return self.log / daemon / "log"


def load(name: str) -> dict[str, Any] | None:
    """The record of a sandbox, None where there is none."""
    try:
        found = json.loads(Places(name).record.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HpctoolsError(f"{Places(name).record}: cannot be read: {error}") from error
    return found if isinstance(found, dict) else None


def save(name: str, record: dict[str, Any]) -> None:
    files.write(Places(name).record, json.dumps(record, indent=1) + "\n", 0o600)


def ports_of_others(name: str) -> set[int]:
    """The ports of all other sandboxes that are up on this machine, of any user and state folder."""
    found: set[int] = set()
    for path in Path("/tmp").glob("hpctools-*/*/ports"):  # noqa: S108 - read only, and only numbers
        if path != Places(name).ports:
            with contextlib.suppress(OSError, ValueError):
                found.update(map(int, path.read_text().split()))
    return found


def names() -> list[str]:
    """All sandboxes of this user that have a record, up or not."""
    home = state_home() / "sandbox"
    return sorted(path.parent.name for path in home.glob("*/sandbox.json"))


def existing(name: str) -> dict[str, Any]:
    """The record of a sandbox. Raises NotFound with the names there are."""
    record = load(name) if re.fullmatch(r"[a-z0-9-]+", name) else None
    if record is None:
        others = f"there are: {', '.join(names())}" if names() else "start one: hpctools sandbox up"
        raise NotFound(f"there is no sandbox named {name!r}; {others}")
    return record
