"""The number by which slurmctld tells whether a node has the same slurm.conf, beside Slurm's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpctools import process
from hpctools.slurm.conf_text import conf_hash

CHANGES = {
    "a comment": b"# one more\n",
    "no ASCII": "# häß 日本\n".encode() + b"# \xff\xfe\n",
    "continued": b"SlurmctldDebug=\\\ninfo # said\n",
    "spaces and CRLF": b"SlurmdDebug = info \t\r\n",
    "no last newline": b"# ends here",
}


@pytest.mark.needs_slurm
@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_is_the_one_that_slurm_computes(
    change: str, slurm_env: Mapping[str, str], tmp_path: Path
) -> None:
    live = Path(slurm_env["SLURM_CONF"])
    # What it includes is found beside it.
    included = tmp_path / "more.conf"
    included.write_bytes(b"# of the include\n")
    data = live.read_bytes() + b"Include more.conf\n" + CHANGES[change]
    copy = tmp_path / "slurm.conf"
    copy.write_bytes(data)
    shown = process.run(
        ["scontrol", "show", "config"], env={**slurm_env, "SLURM_CONF": str(copy)}, timeout_s=60
    ).check()
    found = re.search(r"^HASH_VAL\s*=\s*Different Ours=(0x\w+) Slurmctld=(0x\w+)", shown, re.MULTILINE)
    assert found, shown[:2000]
    assert conf_hash(data, "slurm.conf", lambda _: included.read_bytes()) == int(found[1], 16)
    assert conf_hash(live.read_bytes(), "slurm.conf") == int(found[2], 16)
