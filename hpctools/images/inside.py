"""Run inside an image, by its own python3: prints one JSON object of what a training job needs there.

The standard library only, for Python 3.6 and newer, without site-packages. Arguments: further folders
to look in, which the site binds. Whether a library is found is asked of the loader itself, as NCCL does.
"""

import glob
import json
import os
import site
import sys

LIBRARIES = (
    "libibverbs.so.1",
    "libefa.so.1",
    "libfabric.so.1",
    "libcxi.so.1",
    "libnccl.so.2",
    # aws-ofi-nccl under the names it was given over time; NCCL itself opens libnccl-net.so.
    "libnccl-net.so",
    "libnccl-net-ofi.so",
    "libnccl-net-aws-ofi.so",
)
FOLDERS = (
    "/usr/lib*",
    "/usr/lib/*-linux-gnu",
    "/usr/local/lib*",
    "/usr/local/*/lib*",
    "/opt/lib*",
    "/opt/*/lib*",
    "/opt/*/*/lib*",
    "/opt/*/*/*/lib*",
)
# Wheels bring NCCL as a package of its own, or inside torch.
BUNDLED = ("nvidia/nccl/lib/libnccl.so.2", "torch/lib/libtorch_cuda.so")


def loaded(library: "str") -> "tuple[str | None, str | None]":
    """(path, error): where the loader finds a library, or what it says; neither if it cannot be asked."""
    try:
        import ctypes
    except ImportError:
        return None, None
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return None, str(error)
    with open("/proc/self/maps") as maps:
        paths = [line.split()[-1] for line in maps if "/" in line]
    beginning = library.split(".so")[0]
    return next((path for path in paths if os.path.basename(path).startswith(beginning)), library), None


def look(further: "list[str]") -> "dict[str, object]":
    """What is here, as main prints it."""
    folders = list(FOLDERS)
    for one in further:
        folders += [one, one + "/lib*", one + "/*/lib*"]
    libraries = {}
    beside = set()
    for name in LIBRARIES:
        path, error = loaded(name)
        there = {os.path.realpath(one) for folder in folders for one in glob.glob(folder + "/" + name)}
        libraries[name] = {"path": path, "error": error, "there": sorted(there)}
        if name == "libibverbs.so.1":  # its providers lie beside it
            beside = {os.path.dirname(one) for one in [*there, path] if one}
    providers = {os.path.basename(one) for at in beside for one in glob.glob(at + "/libibverbs/*.so")}
    packages = [*site.getsitepackages(), *glob.glob("/opt/*/lib/python3*/site-packages")]
    bundled = [at + "/" + name for at in packages for name in BUNDLED if os.path.exists(at + "/" + name)]
    return {
        "python": list(sys.version_info[:3]),
        "libraries": libraries,
        "providers": sorted(providers),
        "bundled": bundled,
        "environment": dict(os.environ),
    }


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1:])))
