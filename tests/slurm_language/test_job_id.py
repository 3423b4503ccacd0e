"""Job ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import job_id
from hpctools.slurm.job_id import JobId

numbers = st.integers(0, 2**32).map(str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", JobId("12")),
        ("15_3", JobId("15", "3")),
        ("15_[4-7%2]", JobId("15", "4-7%2")),
        ("12+1", JobId("12", None, 1)),
    ],
)
def test_each_way_of_writing_a_job_is_read(text: str, expected: JobId) -> None:
    assert job_id.parse(text) == expected


@given(
    st.builds(JobId, numbers, st.none() | numbers | st.sampled_from(["1-3", "1,5-7%2"]))
    | st.builds(JobId, numbers, st.none(), st.integers(0, 99))
)
def test_a_job_id_survives_being_written_and_read(one: JobId) -> None:
    assert job_id.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "x", "12 ", "-1", "12_", "12.batch", "12;hand", "١٢", "12\n"])
def test_what_is_no_job_id_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        job_id.parse(text)
