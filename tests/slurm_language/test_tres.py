"""TRES of jobs and limits, GRES of nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import tres
from hpctools.slurm.tres import Gres
from tests.slurm_language.recordings import corpus

amounts = st.dictionaries(
    st.sampled_from(
        ["cpu", "mem", "node", "billing", "gres/gpu", "gres/gpu:h200", "license/x", "vmem", "bb/cray"]
    ),
    st.integers(0, 10**9),
)


def test_amounts_are_read_by_name_and_memory_in_megabytes() -> None:
    assert tres.parse("cpu=8,mem=62.50G,node=1,billing=8,gres/gpu=4,gres/gpu:h200=4") == {
        "cpu": 8,
        "mem": 64000,
        "node": 1,
        "billing": 8,
        "gres/gpu": 4,
        "gres/gpu:h200": 4,
    }


@pytest.mark.parametrize("text", ["", "(null)", "N/A"])
def test_nothing_is_an_empty_mapping(text: str) -> None:
    assert tres.parse(text) == {}


@pytest.mark.parametrize(
    "text", ["cpu", "=8", "cpu=", "cpu=eight", "cpu=8,,mem=1G", "cpu=-1", "mem=1X", "cpu=1.5"]
)
def test_what_is_no_list_of_tres_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        tres.parse(text)


@given(amounts)
def test_amounts_survive_being_written_and_read(given_amounts: dict[str, int]) -> None:
    assert tres.parse(tres.format(given_amounts)) == given_amounts


def test_gpus_are_counted_once_whether_typed_or_not() -> None:
    assert tres.gpu_count({"gres/gpu": 4, "gres/gpu:h200": 4}) == 4
    assert tres.gpu_count({"gres/gpu": 6, "gres/gpu:h200": 4}) == 6
    assert tres.gpu_count({"gres/gpu:h200": 4, "gres/gpu:a100": 2}) == 6
    assert tres.gpu_count({"cpu": 4, "gres/gpumem": 80}) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu:h200:8", (Gres("gpu", "h200", 8),)),
        ("gpu:h200:8(S:0-1),shard:16", (Gres("gpu", "h200", 8), Gres("shard", "", 16))),
        ("gpu:8", (Gres("gpu", "", 8),)),
        ("gpu", (Gres("gpu", "", 1),)),
        ("gpu:h200", (Gres("gpu", "h200", 1),)),
        ("gpu:a100:2(IDX:0,3)", (Gres("gpu", "a100", 2),)),
        ("gpu:model_a:0(IDX:N/A)", (Gres("gpu", "model_a", 0),)),
        ("gpu:nvidia_a100_1g.5gb:21(S:0-1)", (Gres("gpu", "nvidia_a100_1g.5gb", 21),)),
        ("gres:gpu:8", (Gres("gpu", "", 8),)),
        ("gres/gpu:h200:8", (Gres("gpu", "h200", 8),)),
        ("craynetwork:no_consume:4K", (Gres("craynetwork", "", 4096),)),
        ("gpu:(null):0(IDX:N/A)", (Gres("gpu", "", 0),)),
        ("(null)", ()),
        ("", ()),
    ],
)
def test_gres_of_nodes_and_requests_are_read(text: str, expected: tuple[Gres, ...]) -> None:
    assert tres.parse_gres(text) == expected


@pytest.mark.parametrize("text", ["gpu:", ":8", "gpu:a:b:8", "gpu:8,", "gpu:h200:8(S:0"])
def test_what_is_no_list_of_gres_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        tres.parse_gres(text)


def test_gres_of_real_sites_of_20_11_to_26_05_are_read() -> None:
    seen = set()
    for path in corpus("exporters", "test_data").rglob("*gpus*.txt"):
        for line in path.read_text().splitlines():
            for word in line.split()[1:]:
                if word.startswith(("gpu", "(null)")):
                    seen |= {one.name for one in tres.parse_gres(word)}
    assert {"gpu", "mig", "shard"} <= seen
