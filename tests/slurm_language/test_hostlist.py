"""Short forms of lists of nodes."""

from __future__ import annotations

import pytest
from ClusterShell.NodeSet import NodeSet
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import hostlist

plain_name = st.from_regex(r"[a-z][a-z0-9._-]{0,8}", fullmatch=True)
numbered = st.builds(
    lambda prefix, number, width: f"{prefix}{number:0{width}}",
    st.sampled_from(["n", "gpu", "rack1-node", "a-", "x.y"]),
    st.integers(0, 1200),
    st.integers(1, 5),
)
names = st.lists(plain_name | numbered, max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("gpu[001-003,007]", ["gpu001", "gpu002", "gpu003", "gpu007"]),
        ("gpu[9-11]", ["gpu9", "gpu10", "gpu11"]),
        ("gpu[099-101]", ["gpu099", "gpu100", "gpu101"]),
        ("n[1-2],login,b[07-8]", ["n1", "n2", "login", "b07", "b08"]),
        ("a[1-2]b[3-4]", ["a1b3", "a1b4", "a2b3", "a2b4"]),
        ("a[1-2][3-4]", ["a13", "a14", "a23", "a24"]),
        ("[1-3]", ["1", "2", "3"]),
        ("n[1-2]-ib,n3-ib", ["n1-ib", "n2-ib", "n3-ib"]),
        ("n[1-2]b[3-4]c", ["n1b3c", "n1b4c", "n2b3c", "n2b4c"]),
        (
            "a[1-2]b[1-2]c[1-2]",
            ["a1b1c1", "a1b1c2", "a2b1c1", "a2b1c2", "a1b2c1", "a1b2c2", "a2b2c1", "a2b2c2"],
        ),
        ("n[3,1,1]", ["n3", "n1", "n1"]),
        ("a,,b", ["a", "b"]),
    ],
)
def test_a_short_form_is_expanded_in_its_order(text: str, expected: list[str]) -> None:
    assert hostlist.expand(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "n[1-3]]",
        "n[1-3]b[",
        "n[",
        "n]",
        "n[]",
        "n[1,]",
        "n[x]",
        "n[3-1]",
        "n[1-2-3]",
        "n[1 - 2]",
        "n 1",
        "n[1-70000]",
        "n[-2]",
    ],
)
def test_what_slurm_would_not_read_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        hostlist.expand(text)


def test_a_short_text_that_stands_for_millions_of_names_is_refused() -> None:
    with pytest.raises(ParseError, match="too many"):
        hostlist.expand("a[1-60000]b[1-60000]c[1-60000]")
    with pytest.raises(ParseError, match="too many"):
        hostlist.expand(",".join(["a[1-65000]"] * 20))


@pytest.mark.parametrize(
    ("folded", "expected"),
    [
        (["a3", "a1", "a2"], "a[3,1-2]"),
        (["a1", "b1", "a2"], "a1,b1,a2"),
        (["n09", "n10"], "n[09-10]"),
        (["n9", "n10"], "n[9-10]"),
        (["n09", "n9", "n10"], "n[09,9-10]"),
        (["a1b2", "a1b3", "a2b2", "a2b3"], "a1b[2-3],a2b[2-3]"),
        (["a1-ib", "a2-ib"], "a1-ib,a2-ib"),
        (["a1", "a1", "a2"], "a[1,1-2]"),
        (["10", "11", "12"], "[10-12]"),
        (["a099", "a100"], "a[099-100]"),
        (["a9", "a010"], "a[9,010]"),
        ([], ""),
    ],
)
def test_neighbours_are_put_together_as_slurm_does(folded: list[str], expected: str) -> None:
    # Each expected text is what `scontrol show hostlist` of 22.05 printed.
    assert hostlist.fold(folded) == expected


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a[1]", "a\n"])
def test_what_cannot_be_a_nodes_name_is_refused(name: str) -> None:
    with pytest.raises(ParseError):
        hostlist.fold(["n1", name])


@given(names)
def test_folding_and_expanding_gives_the_same_names_in_the_same_order(given_names: list[str]) -> None:
    assert hostlist.expand(hostlist.fold(given_names)) == given_names


@given(names)
def test_clustershell_reads_the_same_nodes_from_our_short_form(given_names: list[str]) -> None:
    assert set(NodeSet(hostlist.fold(given_names))) == set(given_names)


@given(st.sets(numbered, min_size=1, max_size=60))
def test_the_short_form_of_clustershell_expands_to_the_same_nodes(given_names: set[str]) -> None:
    assert set(hostlist.expand(str(NodeSet.fromlist(sorted(given_names))))) == given_names


def test_ten_thousand_nodes_fold_to_one_word() -> None:
    assert hostlist.fold(f"gpu{number:05}" for number in range(1, 10001)) == "gpu[00001-10000]"


def test_a_range_is_never_longer_than_slurm_reads() -> None:
    many = [f"n{number}" for number in range(hostlist.MAX_RANGE + 2)]
    assert hostlist.fold(many) == "n[0-65535,65536-65537]"
    assert hostlist.expand(hostlist.fold(many)) == many
