"""Starts Apptainer or Singularity on a node, in the environment that the ranks of a job shall have.

    contain.py --keep=A,B -- apptainer exec ... IMAGE python3 -I -S launch.py node ...

It becomes that command, so that Slurm's signals reach it. What of the environment describes this host's
own software stays outside; the variables of --keep win over the image's own. What is missing here, such as
the image, is said with this node's name, and left in the run folder for launch.py's finish or preflight.py.

Copied into the run folder beside launch.py; standard library, Python 3.8 and newer.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import socket
import sys
import time
from typing import Any, Dict, Mapping, Sequence

RUN = os.path.dirname(os.path.abspath(__file__))
Record = Dict[str, Any]

# Where this host has its Python, compilers, CUDA and MPI; an image has its own, in other places.
OUTSIDE = tuple(
    """
    PYTHON* CONDA_* _CE_* MAMBA_* VIRTUAL_ENV* LD_PRELOAD LD_AUDIT BASH_ENV ENV
    MODULE* LOADEDMODULES _LMFILES_* LMOD_* __LMOD_* _ModuleTable* __MODULES_* BASH_FUNC_* EB* SPACK_*
    CC CXX CPATH LIBRARY_PATH PKG_CONFIG_PATH MANPATH CUDA_HOME CUDA_PATH CUDA_ROOT CUDNN_*
    OPAL_PREFIX PMIX_INSTALL_PREFIX PRTE_PREFIX I_MPI_ROOT MPI_HOME MPI_ROOT
    """.split()
)
# Apptainer refuses another HOME: it is the user's.
NEVER = ("HOME",)
NO_PROGRAM, NOT_USABLE = 127, 126  # as a shell says it


def environment(environ: Mapping[str, str], keep: Sequence[str], runtime: str) -> dict[str, str]:
    """What the runtime is run in, which it passes on but for PATH, HOME and LD_LIBRARY_PATH."""
    name = runtime.upper()
    found = {
        key: value
        for key, value in environ.items()
        if key in keep or not any(fnmatch.fnmatchcase(key, one) for one in OUTSIDE)
    }
    # So prefixed they are set after the image's own, and reach it whatever they are called.
    found.update({f"{name}ENV_{key}": environ[key] for key in keep if key in environ and key not in NEVER})
    found[f"{name}_NO_EVAL"] = "1"  # else a shell in the image would look into those values
    found.setdefault("PYTHONNOUSERSITE", "1")  # ~/.local is of another Python
    return found


def wrong(words: Sequence[str], environ: Mapping[str, str]) -> tuple[str, int]:
    """What is missing here, and the status for it; "" and 0 if nothing is."""
    if shutil.which(words[0], path=environ.get("PATH")) is None:
        where = "a site's setup may have to load its module"
        return f"there is no {words[0]} in PATH; {where}", NO_PROGRAM
    for source in sources(words):
        try:
            os.stat(source)
        except OSError as error:
            return f"{source}, which the image is to see: {error.strerror}", NOT_USABLE
    image = words[interpreter(words) - 1]
    try:
        with open(image, "rb") as file:
            file.read(1)
    except OSError as error:
        return f"the image {image} cannot be read: {error.strerror}", NOT_USABLE
    return "", 0


def sources(words: Sequence[str]) -> list[str]:
    """The folders of this host that are bound as --bind HOST[:IMAGE[:ro]]."""
    pairs = zip(words, words[1:])
    return [value.partition(":")[0] for option, value in pairs if option == "--bind"]


def interpreter(words: Sequence[str]) -> int:
    """Where the image's interpreter stands, which runs with -I -S."""
    for index in range(1, len(words) - 1):
        if list(words[index : index + 2]) == ["-I", "-S"]:
            return index - 1
    return len(words) - 1


def node_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


def attempt() -> str:
    """The folder of this attempt, as launch.py has it."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    home = os.path.join(RUN, "task-" + task) if task else RUN
    count = os.environ.get("HPCTOOLS_ATTEMPT") or os.environ.get("SLURM_RESTART_COUNT") or "0"
    folder = os.path.join(home, f"attempt-{count}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def write_json(path: str, value: Record) -> None:
    beside = f"{path}.{os.getpid()}.tmp"
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    os.replace(beside, path)


def leave_record(reason: str, status: int, is_preflight: bool) -> None:
    """The failure, where those look for it who put the nodes together."""
    node, now = number("SLURM_NODEID"), time.time()
    record: Record = {"node": node, "host": node_name(), "hostname": socket.gethostname()}
    record.update(started_s=now, ended_s=now)
    if is_preflight:
        record["checks"] = [{"name": "image", "verdict": "bad", "found": reason, "expected": "readable"}]
        write_json(os.path.join(attempt(), f"preflight-{node:03d}.json"), record)
        return
    path = os.path.join(attempt(), f"node-{node:03d}")
    record.update(rank=None, local_rank=None, pid=None, status=status, signal=None, asked=False)
    record.update(last_lines=[reason], container=True)
    with open(os.open(path + ".log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
        file.write(reason + "\n")
    write_json(path + ".json", record)


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="contain.py", allow_abbrev=False)
    parser.add_argument("--keep", default="")
    parser.add_argument("words", nargs="+")
    options = parser.parse_args(given)
    words = options.words
    environ = environment(os.environ, options.keep.split(","), words[0])
    reason, status = wrong(words, environ)
    if not reason:
        try:
            os.execvpe(words[0], words, environ)  # noqa: S606 - no shell is wanted
        except OSError as error:
            reason, status = f"{words[0]} cannot be run: {error.strerror}", NOT_USABLE
    print(f"hpctools: {node_name()}: {reason}", file=sys.stderr, flush=True)
    is_preflight = any(os.path.basename(word) == "preflight.py" for word in words)
    leave_record(reason, status, is_preflight)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
