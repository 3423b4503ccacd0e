"""slurmd -C, read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import slurmd
from hpctools.slurm.tres import Gres

LINE = (
    "NodeName=gpu01 CPUs=224 Boards=1 SocketsPerBoard=2 CoresPerSocket=56 ThreadsPerCore=2 RealMemory=2063204"
)
FOUND = "Found gpu:nvidia_h100_80gb_hbm3:8 with Autodetect=nvidia (Substring of gpu name may be used instead)"


def test_an_answer_of_22_05_is_read() -> None:
    assert slurmd.parse(f"{LINE}\nUpTime=12-03:44:51\n") == (
        slurmd.Hardware("gpu01", 224, 1, 2, 56, 2, 2063204, (), ((12 * 24 + 3) * 60 + 44) * 60 + 51),
    )


def test_since_24_11_it_names_gpus() -> None:
    (found,) = slurmd.parse(f"{LINE} Gres=gpu:nvidia_h100_80gb_hbm3:8\n{FOUND}\nUpTime=0-00:10:00\n")
    assert found.gres == (Gres("gpu", "nvidia_h100_80gb_hbm3", 8),)
    assert found.uptime_s == 600


def test_since_26_05_it_may_end_with_parameters() -> None:
    (found,) = slurmd.parse(f"{LINE} Parameters=l3cache_as_socket\nUpTime=0-00:10:00\n")
    assert found.memory_mb == 2063204


def test_many_answers_with_the_hosts_in_front_are_many_nodes() -> None:
    text = "".join(
        f"{host}: {LINE.replace('gpu01', host)}\n{host}: UpTime=0-00:0{minute}:00\n"
        for minute, host in enumerate(("gpu01", "gpu02", "gpu03"), 1)
    )
    assert [(one.host, one.uptime_s) for one in slurmd.parse(text)] == [
        ("gpu01", 60),
        ("gpu02", 120),
        ("gpu03", 180),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slurmd: error: no",
        "NodeName=n1 CPUs=4\n",
        LINE.replace("CPUs=224", "CPUs=-1"),
        LINE.replace("CPUs=224", "CPUs="),
        LINE.replace("SocketsPerBoard=2", "SocketsPerBoard=0"),
        LINE.replace("gpu01", ""),
        f"{LINE} Gres=gpu:(x",
    ],
)
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="slurmd -C"):
        slurmd.parse(text)


numbers = st.integers(1, 2**31)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=4))
def test_numbers_are_read_as_they_are_printed(rows: list[tuple[int, ...]]) -> None:
    keys = ("CPUs", "Boards", "SocketsPerBoard", "CoresPerSocket", "ThreadsPerCore", "RealMemory")
    lines = (" ".join(f"{key}={value}" for key, value in zip(keys, row, strict=True)) for row in rows)
    found = slurmd.parse("".join(f"NodeName=n{index} {line}\n" for index, line in enumerate(lines)))
    assert [
        (
            one.cpus,
            one.boards,
            one.sockets_per_board,
            one.cores_per_socket,
            one.threads_per_core,
            one.memory_mb,
        )
        for one in found
    ] == rows


@given(st.text() | st.text(alphabet="NodeName=CPU1 \nGresgpu:,()").map(LINE.__add__))
def test_any_text_is_an_answer_or_none(text: str) -> None:
    try:
        found = slurmd.parse(text)
    except ParseError:
        return
    assert all(one.host for one in found)
