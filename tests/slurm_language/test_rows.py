"""Rows and columns that no job name can break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import rows

BETWEEN = "~0123456789abcdef~"
# Every text that a job name may hold: anything but NUL. The delimiter cannot be guessed.
values = st.text(st.characters(exclude_characters="\0"), max_size=30)
# The first column is a number of Slurm's in all our commands.
tables = st.lists(st.tuples(st.integers(0, 10**6).map(str), values, values), max_size=8)


def printed(table: list[tuple[str, str, str]]) -> str:
    """As squeue --Format and sacct --parsable print it."""
    lines = [("ID", "NAME", "COMMENT"), *table]
    return "".join("".join(value + BETWEEN for value in line) + "\n" for line in lines)


@given(tables)
def test_every_value_comes_back_whatever_it_holds(table: list[tuple[str, str, str]]) -> None:
    names, found = rows.read(printed(table), "rows")
    assert names == ["ID", "NAME", "COMMENT"]
    assert [tuple(row) for row in found] == table


def test_a_value_that_looks_like_a_row_stays_a_value() -> None:
    fake = "x~fedcba9876543210~\n99~fedcba9876543210~y~fedcba9876543210~z\n~"
    assert rows.read(printed([("1", fake, "\n2|")]), "rows")[1] == [["1", fake, "\n2|"]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ID",
        "ID|NAME|\n",
        f"ID{BETWEEN}NAME{BETWEEN}",
        f"ID{BETWEEN}NAME{BETWEEN}\n1{BETWEEN}\n",
        f"ID{BETWEEN}NAME{BETWEEN}\n1{BETWEEN}a{BETWEEN}\n2{BETWEEN}",
        f"ID{BETWEEN}NAME{BETWEEN}\n1{BETWEEN}a{BETWEEN}\nslurm_load_jobs error",
        f"ID{BETWEEN}NAME{BETWEEN}\n1{BETWEEN}a{BETWEEN}2{BETWEEN}b{BETWEEN}\n",
    ],
)
def test_a_cut_or_foreign_answer_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        rows.read(text, "rows")


def test_no_two_commands_share_a_delimiter() -> None:
    assert len({rows.delimiter() for _ in range(1000)}) == 1000
