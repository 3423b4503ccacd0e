"""The scripts of sites whose hardware is not here (InfiniBand, RoCE, EFA, Pyxis), as people have read them.

`python -m tests.jobs.golden_scripts` writes them anew; git diff shows what changed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from hpctools.jobs import render, resources, run_files
from hpctools.jobs.facts import Facts
from tests.jobs.jobs_of import ask, facts

GOLDEN = Path(__file__).parent / "golden_sites"
# The nodes of each site, as sinfo would show them.
SITES = {
    "h100-infiniband": "gpu*|up|32|224|2063204|gpu:h100:8|2-00:00:00|1:00:00|idle|(null)|dgx[01-32]",
    "a100-roce": "a100*|up|16|256|1031904|gpu:a100:8|infinite|n/a|idle|(null)|a[01-16]",
    "aws-p5-efa": "p5*|up|8|192|2000000|gpu:h100:8|infinite|n/a|idle~|(null)|p5-st-p5-[1-8]",
    "tcp": "gpu*|up|6|192|1547520|gpu:l40s:4|infinite|n/a|idle|(null)|l[1-6]",
    "cpu": "cpu*|up|40|64|256000|(null)|infinite|n/a|idle|(null)|c[01-40]",
}
LAUNCHERS = ("torchrun", "none")
# Site, launcher, image: "" for none, else one of a registry, which Enroot fetches on the nodes.
CASES = [(site, launcher, "") for site in SITES for launcher in LAUNCHERS]
CASES += [(site, launcher, "ngc") for site in ("a100-roce", "aws-p5-efa") for launcher in LAUNCHERS]
# The user, whose folder a site's runs_dir names.
ENVIRON = {"USER": "ada", "HOME": "/home/ada"}


def cluster(site: str) -> Facts:
    """The cluster of a site: one partition."""
    name = SITES[site].split("*")[0]
    line = f"PartitionName={name} Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED State=UP TRES=(null)"
    return facts(SITES[site], line)


def name(site: str, launcher: str, image: str) -> str:
    """The golden file of a case."""
    return ".".join(filter(None, (site, launcher, image, "sbatch")))


def script(site: str, launcher: str, image: str, folder: Path) -> str:
    """The script of train.py on two nodes; folder: an empty one to be in."""
    values = {"site": site, "launcher": launcher, "nodes": 2}
    values |= {"image": image} if image else {"python": "/opt/venv/bin/python"}
    asked = ask(folder, values)
    asked.check()
    taken = resources.resolve(asked.spec, asked.site, cluster(site))
    text = render.render(asked.spec, taken, asked.site, run_files.example(asked.spec))[0]
    # What differs from machine to machine.
    text = text.replace(str(folder), "/home/ada/project")
    return text.replace(f"for _python in {sys.executable} ", "for _python in /opt/hpctools/bin/python ")


def main() -> None:
    os.environ.update(ENVIRON)
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / name(*case)).write_text(script(*case, Path(folder)))


if __name__ == "__main__":
    main()
