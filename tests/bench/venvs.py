"""Virtual environments as users have them: from wheels, with bytecode, all of one Python."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from tests.bench.timing import ask, plain_environment

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
INSTALL_S = 300


def pip(*words: str | Path) -> None:
    """Run pip, quietly. Raises CannotRun."""
    ask([sys.executable, "-m", "pip", *words, "--quiet"], plain_environment(), INSTALL_S)


def make(folder: Path, *what: str | Path) -> Path:
    """A new environment with what pip calls so; returns its folder of programs.

    --without-pip: nothing is in it but what is measured, and Debian's own Python can make it.
    """
    ask([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], plain_environment())
    pip("--python", folder / "bin" / "python", "install", "--compile", *what)
    return folder / "bin"


def hpctools(folder: Path) -> Path:
    """hpctools from a wheel of this checkout; built from a copy, because building writes beside it."""
    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=NOT_COPIED)
    pip("wheel", "--no-deps", "--wheel-dir", folder / "dist", folder / "checkout")
    return make(folder / "hpctools", *(folder / "dist").glob("*.whl"))


def cached(name: str, fresh: bool) -> Path:
    """A tool of the package index, made once for each Python; again when fresh."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = (Path(base) if base.startswith("/") else Path.home() / ".cache") / "hpctools" / "bench"
    folder = home / f"{name}-{platform.python_version()}"
    whole = folder / "whole"
    if fresh or not whole.exists():
        home.mkdir(parents=True, exist_ok=True)
        make(folder, name)
        whole.touch()
    return folder / "bin"


def version(bin_folder: Path, name: str) -> str:
    """The version of a distribution that is installed there."""
    code = f"import importlib.metadata as metadata; print(metadata.version({name!r}))"
    return ask([bin_folder / "python", "-c", code], plain_environment())
