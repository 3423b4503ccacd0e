"""A site's first files: an inventory and a policy to change, from those that are ready in slurm_conf/."""

from __future__ import annotations

from pathlib import Path

from hpctools import files
from hpctools.errors import InvalidInput, Problem

POLICIES = Path(__file__).parent.parent / "data" / "slurm_conf" / "policies"
_INVENTORY = "inventory"


def policies() -> dict[str, str]:
    """The ready policies by name, each with what it is for: the sentence that its file begins with."""
    found = {}
    for path in sorted(POLICIES.glob("*.yaml")):
        if path.stem != _INVENTORY:
            lines = [line.removeprefix("#").strip() for line in path.read_text().split("\n\n")[0].split("\n")]
            found[path.stem] = " ".join(lines).split(": ")[0].split(". ")[0].rstrip(".")
    return found


def new(policy: str, folder: str) -> list[str]:
    """Write inventory.yaml and policy.yaml, the ready one called policy, into folder; returns their paths.

    Nothing is overwritten. Raises InvalidInput.
    """
    if policy not in policies():
        raise InvalidInput([Problem("--policy", f"no policy {policy}", f"known are {', '.join(policies())}")])
    texts = {
        Path(folder, "inventory.yaml"): (POLICIES / f"{_INVENTORY}.yaml").read_text(),
        Path(folder, "policy.yaml"): (POLICIES / f"{policy}.yaml").read_text(),
    }
    there = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if there:
        raise InvalidInput(
            Problem(path, "exists; nothing was written", "name a new folder") for path in there
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        files.write(path, text)
    return [str(path) for path in texts]
