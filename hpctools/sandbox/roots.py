"""Other releases of Slurm: root folders of the Debian suites that have them.

A root is made whole beside its place and renamed into it, in mount and process namespaces of its
own, so that an interruption leaves neither a mount nor a half root that is taken for a whole one.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hpctools import files, process
from hpctools.errors import HpctoolsError, InvalidInput, NotFound, Problem
from hpctools.sandbox import processes
from hpctools.sandbox.namespaces import View

# Release -> the suite that has it. What is native here comes from the machine's own packages.
SUITES = {"24.11": "trixie", "26.05": "forky"}
PACKAGES = "slurm-wlm,slurmdbd,munge,python3,python3-venv,tzdata,ca-certificates"
# What a release's root has beside, from a newer suite that ranks below its own: Apptainer is in no
# release of Debian. debootstrap and fakeroot are for `apptainer build`.
ADDED = {"26.05": ("sid", ("apptainer", "debootstrap", "fakeroot"))}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SCRIPTS = Path("/usr/share/debootstrap")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Set in a root, to its release: there its Slurm is the native one.
INSIDE = "HPCTOOLS_SLURM_ROOT"
# The folders of / that a root has of its own; all others are the machine's.
_OWN = frozenset("bin boot etc lib lib32 lib64 libx32 lost+found run sbin usr var".split())
# What the network needs to be reached as from the machine itself.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf")

# Mounts and processes end with the program that is run in these, however it ends.
_OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# As debootstrap: signatures are checked, the age of a suite's list is not.
_APT = ("apt-get", "-q", "-y", "-o", "Acquire::Check-Valid-Until=false", "-o", "Acquire::Check-Date=false")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Root:
    """A root folder: release (24.11), the exact one found (24.11.5), Debian's suite, its Python."""

    release: str
    exact: str
    suite: str
    python: str

    @property
    def folder(self) -> Path:
        return home() / self.release / "root"

    @property
    def venv(self) -> Path:
        """hpctools and what it needs, on the root's own Python."""
        return home() / self.release / "venv"


def home() -> Path:
    """$XDG_CACHE_HOME/hpctools/slurm, where a relative or missing value means ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "hpctools" / "slurm"


def installed() -> list[Root]:
    """The roots that are whole, by release."""
    return [root for release in SUITES if (root := find(release))]


def find(release: str) -> Root | None:
    try:
        return Root(**json.loads((home() / release / "root.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def existing(release: str) -> Root:
    """Raises InvalidInput for a release there is none of, NotFound where it is not installed."""
    if release not in SUITES:
        raise InvalidInput([Problem("--slurm", f"no suite here has {release}", " or ".join(SUITES))])
    root = find(release)
    if root is None:
        raise NotFound(f"Slurm {release} is not installed: hpctools sandbox install --slurm {release}")
    return root


def view(root: Root) -> View:
    """How processes in a root see the system: its programs, this machine's data."""
    tops = [f"/{name}" for name in sorted(os.listdir("/")) if name not in _OWN and name[0] != "."]
    seen = [path for path in tops if os.path.isdir(path) and not os.path.islink(path)]
    # A home or checkout below a folder that the root has of its own, such as /var/lib/ci.
    for path in (os.path.expanduser("~"), os.getcwd(), str(_package()), sys.prefix, str(home())):
        if not any(path == top or path.startswith(f"{top}/") for top in (*seen, "/usr")):
            seen.append(path)
    seen += [path for path in (*_NETWORK_FILES, *_python()) if os.path.exists(path)]
    return View({path: path for path in seen}, root=str(root.folder))


def _python() -> list[str]:
    """This interpreter where it is the system's, for jobs that name it: an old program on a newer libc."""
    if sys.base_prefix != "/usr":
        return []
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [f"/usr/bin/{version}", f"/usr/lib/{version}"]


def env(root: Root, base: dict[str, str]) -> dict[str, str]:
    """base for a process in root: its own programs, and nothing that leads to the machine's."""
    dropped = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV")
    kept = {key: value for key, value in base.items() if key not in dropped}
    cache = {"PYTHONPYCACHEPREFIX": str(home() / root.release / "pycache")}
    return {**kept, **cache, "PATH": f"{root.venv}/bin:{PATH}", INSIDE: root.release}


def install(release: str, say: Say) -> Root:
    """Make the root of a release, or finish what was interrupted; an installed one stays.

    Raises InvalidInput, NotFound (debootstrap is missing), HpctoolsError (it failed, with its log).
    """
    if release not in SUITES:
        existing(release)
    if os.geteuid() != 0:
        hint = f"sudo hpctools sandbox install --slurm {release}"
        raise InvalidInput([Problem("install", "only root can make a root folder", hint)])
    if shutil.which("debootstrap") is None:
        raise NotFound("debootstrap is missing: apt-get install -y debootstrap")
    folder = home() / release
    folder.mkdir(parents=True, exist_ok=True)
    with files.locked(folder / ".lock"):
        _clean(folder)
        root = find(release) or _make(release, folder, say)
        _add(root, folder, say)
        _make_venv(root, say)
    return root


def _clean(folder: Path) -> None:
    """End what an install that was killed left running, and take its half root away."""
    processes.kill(processes.scan(lambda seen: seen.environ.get(processes.MARK) == str(folder)))
    shutil.rmtree(folder / "partial", ignore_errors=True)


def _make(release: str, folder: Path, say: Say) -> Root:
    suite, partial, cache = SUITES[release], folder / "partial", folder / "packages"
    cache.mkdir(exist_ok=True)
    shutil.rmtree(folder / "root", ignore_errors=True)
    options = [f"--keyring={KEYRING}", f"--cache-dir={cache}", "--variant=minbase", f"--include={PACKAGES}"]
    words = [*_OWN_NAMESPACES, "debootstrap", *options, suite, str(partial)]
    environ = {**os.environ, "DEBOOTSTRAP_DIR": str(_scripts(folder, suite)), processes.MARK: str(folder)}
    with (folder / "log").open("w") as log:
        for line in process.lines(words, env=environ):
            log.write(line + "\n")
            _progress(line, say)
    asked = (["slurmctld", "-V"], ["python3", "-V"])
    done = [process.run(["chroot", str(partial), *each], env={"PATH": PATH}).check() for each in asked]
    root = Root(release, done[0].split()[-1], suite, done[1].split()[-1])
    partial.rename(folder / "root")
    files.write(folder / "root.json", json.dumps(asdict(root), indent=1) + "\n")
    shutil.rmtree(cache)
    say(f"Slurm {root.exact} of {suite} is installed: signed by Debian, whatever the age of its list")
    return root


def _add(root: Root, folder: Path, say: Say) -> None:
    """Install what the root's release has beside its suite, or finish that; done once for a list."""
    if root.release not in ADDED:
        return
    suite, names = ADDED[root.release]
    wanted, stamp, apt = f"{suite} {' '.join(names)}\n", folder / "added", root.folder / "etc" / "apt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing {names[0]} of {suite}")
    # debootstrap has written where it found the root's own suite.
    lines = (apt / "sources.list").read_text().splitlines()
    sources = [line.replace(f" {root.suite} ", f" {suite} ") for line in lines if line.startswith("deb ")]
    files.write(apt / "sources.list.d" / f"{suite}.list", "\n".join(sources) + "\n")
    pin = f"Package: *\nPin: release n={suite}\nPin-Priority: 100\n"
    files.write(apt / "preferences.d" / suite, pin)
    install = [*_APT, "install", "--no-install-recommends", *names]
    # First what an interrupted one has left half done.
    commands = [["dpkg", "--configure", "-a"], [*_APT, "update"], install, ["apt-get", "clean"]]
    environ = env(root, {**os.environ, "DEBIAN_FRONTEND": "noninteractive", processes.MARK: str(folder)})
    with (folder / "log").open("a") as log:
        for words in commands:
            for line in process.lines([*_OWN_NAMESPACES, *view(root).words(words)], env=environ):
                log.write(line + "\n")
    files.write(stamp, wanted)


_TOLD = ("Retrieving InRelease", "Checking Release", "Valid Release", "Base system")


def _progress(line: str, say: Say) -> None:
    """Say the steps among debootstrap's lines, and all of its warnings."""
    kind, _, text = line.partition(": ")
    if kind == "W":
        say(f"debootstrap warns: {text}")
    if kind == "I" and text.startswith(_TOLD):
        say(text)
    if kind == "I" and text.endswith(("packages...", "system...")):
        say(text)


def _scripts(folder: Path, suite: str) -> Path:
    """debootstrap's own scripts, and sid's for a suite that this debootstrap does not know yet."""
    private = folder / "debootstrap"
    shutil.rmtree(private, ignore_errors=True)
    (private / "scripts").mkdir(parents=True)
    for path in [*SCRIPTS.iterdir(), *(SCRIPTS / "scripts").iterdir()]:
        if path.name != "scripts":
            (private / path.relative_to(SCRIPTS)).symlink_to(path)
    if not (private / "scripts" / suite).exists():
        (private / "scripts" / suite).symlink_to(SCRIPTS / "scripts" / "sid")
    return private


def _make_venv(root: Root, say: Say) -> None:
    """hpctools in the root: what it requires from the package index, itself from where it is here."""
    wanted = "\n".join([root.exact, *requirements(), str(_package())])
    stamp = root.venv / ".hpctools"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installing hpctools on Python {root.python}")
    pip(root, requirements(), fresh=True)
    (packages,) = (root.venv / "lib").glob("python*/site-packages")
    (packages / "hpctools").symlink_to(_package())
    command = root.venv / "bin" / "hpctools"
    lines = [f"#!{root.venv}/bin/python", "import sys", "from hpctools.cli import main", "sys.exit(main())"]
    command.write_text("\n".join(lines) + "\n")
    command.chmod(0o755)
    stamp.write_text(wanted)


def pip(root: Root, packages: list[str], *, fresh: bool = False) -> None:
    """Install packages in the root's virtual environment, made anew where fresh. Raises HpctoolsError."""
    inside = env(root, dict(os.environ))
    install = [f"{root.venv}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    commands = [["/usr/bin/python3", "-m", "venv", "--clear", str(root.venv)]] if fresh else []
    for words in [*commands, [*install, *packages]]:
        done = process.run(view(root).words(words), env=inside)
        if done.status:
            what = " ".join(words[:4])
            raise HpctoolsError(f"{what} failed in the root of {root.release}:\n{done.stderr}{done.stdout}")


def requirements(extra: str = "") -> list[str]:
    """What hpctools requires, or what its extra adds, as pip words it."""
    found = [text.partition(";") for text in importlib.metadata.requires("hpctools") or []]
    wanted = f'extra == "{extra}"' if extra else ""
    return [name.strip() for name, _, marker in found if marker.strip() == wanted]


def _package() -> Path:
    """The folder of hpctools itself, in a checkout or where it is installed."""
    return Path(__file__).resolve().parents[1]


def remove(release: str) -> bool:
    """Take a root away; False where there was none."""
    folder = home() / release
    if release not in SUITES or not folder.exists():
        return False
    with files.locked(folder / ".lock"):
        _clean(folder)
        shutil.rmtree(folder)
    return True
