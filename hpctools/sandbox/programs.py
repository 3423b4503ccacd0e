"""The programs a sandbox needs: where they are, and the packages that bring them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hpctools.errors import HpctoolsError, NotFound
from hpctools.process import Run, foreground

SLURM = ("munged", "slurmctld", "slurmd", "scontrol", "sinfo", "sbatch", "srun")
DATABASE = ("mariadbd", "mariadb-install-db")
ACCOUNTING = ("slurmdbd", "sacctmgr")
# Debian puts daemons where an ordinary user's PATH does not look.
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def packages() -> list[str]:
    """The Debian packages that bring all programs."""
    return Path(__file__).with_name("packages.txt").read_text().split()


def find(name: str) -> str | None:
    """The path of a program, in PATH or a system folder."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
    return shutil.which(name, path=path)


def missing(names: Iterable[str]) -> list[str]:
    return [name for name in names if find(name) is None]


def needed(*, slurm: bool = True, accounting: bool) -> tuple[str, ...]:
    """The programs of a sandbox whose Slurm is the native one, or comes from a root."""
    of_slurm = SLURM + (ACCOUNTING if accounting else ()) if slurm else ()
    return of_slurm + (DATABASE if accounting else ())


def install_command() -> list[str]:
    """The one command that installs what is missing."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return [*sudo, "apt-get", "install", "-y", *packages()]


def require(*, slurm: bool, accounting: bool) -> None:
    """Raises NotFound, naming what is missing and the command that installs it."""
    absent = missing(needed(slurm=slurm, accounting=accounting))
    if absent:
        raise NotFound(
            f"missing: {', '.join(absent)}\n  install: {' '.join(install_command())}\n"
            "  or let hpctools run that: hpctools sandbox up --install"
        )


def install() -> None:
    """Run install_command on the terminal. Raises HpctoolsError when it fails."""
    if find("apt-get") is None:
        raise NotFound("there is no apt-get: install Slurm, munge and MariaDB with your system's own tool")
    command = install_command()
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    prefix = command[: command.index("apt-get")]
    foreground([*prefix, "apt-get", "update", "-qq"], env=env)
    if foreground(command, env=env):
        raise HpctoolsError(f"{' '.join(command)} failed")


def release(run: Run) -> str:
    """The exact release of the slurmctld there is, such as 22.05.8."""
    return run([path("slurmctld"), "-V"]).check().split()[-1]


def path(name: str) -> str:
    """The path of a program. Raises NotFound."""
    where = find(name)
    if where is None:
        raise NotFound(f"{name} is not installed: hpctools sandbox up --install")
    return where
