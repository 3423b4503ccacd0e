"""Any bytes give problems or a parse, never a crash or a hang."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpctools.conf.judge import lint
from hpctools.conf.load import CONFS, YAMLS
from hpctools.conf.mending import fix
from hpctools.slurm.releases import RECORDS, RELEASES, known

# Values at which readers of numbers, lists and sizes stumble.
NASTY = st.sampled_from(
    """ALL DEFAULT none "" " " 0 -1 08 0x 99999999999999999999 1e999 nan k 10k UNLIMITED , ,, = : :: [ ] [] a[
    a] a[1 a[1-] a[3-1] a[1-3] a[[1]] a[1-999999999] [1-3] gpu gpu: gpu:: gpu:a:b:c:d gpu:0 gpu:-1 gpu:x:8
    gres/gpu=1 gres/gpu: cpu=,mem=1.5 cpu=x /dev/nvidia[0- /dev/nvidia[0-7] 1-02:03:04 --:: % %c \\ # é
    yes no FORCE:x EXCLUSIVE 3-1 0-3,5 0-999999999 select/ /cons_tres cons_tres user@host 1.5 -""".split()
)
KEYS = sorted({key.name for kind in CONFS for key in known(kind, "26.05").values()})
RECORD_KEYS = {
    name: sorted(key.name for key in known(scope, "26.05").values())
    for records in RECORDS.values()
    for name, scope in records.items()
}


@st.composite
def lines(draw: st.DrawFn) -> str:
    record = draw(st.sampled_from(["", *sorted(RECORD_KEYS)]))
    if not record:
        return f"{draw(st.sampled_from(KEYS))}={draw(NASTY)}"
    inner = draw(st.lists(st.sampled_from(RECORD_KEYS[record] or ["X"]), max_size=4))
    return " ".join([f"{record}={draw(NASTY)}", *(f"{key}={draw(NASTY)}" for key in inner)])


YAML = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "topology cluster_default tree block flat switches switch children nodes blocks base"
                " block_sizes block_size".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TREE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def judged(folder: Path, files: Mapping[str, bytes], release: str) -> None:
    for name in (*CONFS, *YAMLS):
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for finding in lint([str(folder)], release=release):
        assert finding.line >= 1
        assert finding.message
    fixed = fix([str(folder)], release=release)
    assert set(fixed.changed) <= set(fixed.files)


@TREE
@given(st.dictionaries(st.sampled_from((*CONFS, *YAMLS)), st.binary(max_size=300), min_size=1))
def test_any_bytes(tmp_path: Path, files: dict[str, bytes]) -> None:
    judged(tmp_path, files, "26.05")


@TREE
@given(
    st.dictionaries(st.sampled_from(CONFS), st.lists(lines(), max_size=8), min_size=1),
    st.sampled_from(RELEASES),
)
def test_known_keys_with_nasty_values(tmp_path: Path, files: dict[str, list[str]], release: str) -> None:
    judged(tmp_path, {name: "\n".join(text).encode() for name, text in files.items()}, release)


@TREE
@given(YAML, st.sampled_from(YAMLS))
def test_any_yaml(tmp_path: Path, value: object, name: str) -> None:
    import yaml

    main = b"ClusterName=a\nSlurmctldHost=a\nNodeName=a,switches\nPartitionName=p Nodes=ALL Topology=tree\n"
    judged(tmp_path, {"slurm.conf": main, name: yaml.safe_dump(value).encode()}, "26.05")


def test_real_files_with_bytes_changed(corpus: Path, tmp_path: Path) -> None:
    # A fixed seed: what fails today fails tomorrow.
    dice = random.Random(20261121)  # noqa: S311 - no secret
    for path in sorted((corpus / "slurm_conf").glob("*.conf"))[::4]:
        data = bytearray(path.read_bytes())
        for _ in range(max(1, len(data) // 100)):
            data[dice.randrange(len(data))] = dice.choice(b' \t\n\r\\#="[],:-0aZ\x00\xff')
        kind = next((kind for kind in CONFS if kind in path.name), "slurm.conf")
        judged(tmp_path, {kind: bytes(data)}, "26.05")


@pytest.mark.parametrize(
    "data",
    [
        b"NodeName=n[1-65536],m[1-65536],o[1-65536]\n" * 40,
        b"NodeName=n[1-65536] Nodes=m[1-65536]\nPartitionName=p Nodes=n[1-65536]\n" * 1000,
        b"NodeName=" + b"a[1-9]" * 500 + b"\n",
        b"A=" + b"\\\n" * 100_000,
        b"#" * 1_000_000,
        b"\\" * 1_000_000,
        b'A="' * 100_000,
        b"include slurm.conf\n" * 50,
        b" " * 1_000_000 + b"=",
        b"a" * 200_000 + b" " * 200_000,
    ],
    ids=[
        "nodes",
        "more nodes",
        "brackets",
        "continued",
        "comment",
        "backslashes",
        "quotes",
        "itself",
        "spaces",
        "word",
    ],
)
def test_what_takes_long_in_a_careless_parser(data: bytes, tmp_path: Path) -> None:
    judged(tmp_path, {"slurm.conf": data}, "26.05")
