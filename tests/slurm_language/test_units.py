"""Durations, memory and points in time."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("0:00", 0),
        ("01:02:03", 3723),
        ("100:00:00", 360000),
        ("2-0", 172800),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-02:03:04", 93784),
        (" 5 ", 300),
        ("UNLIMITED", None),
        ("infinite", None),
        ("INFINITE", None),
        ("-1", None),
    ],
)
def test_every_form_of_sbatchs_time_is_understood(text: str, seconds: int | None) -> None:
    assert units.parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1h", "1:", ":30", "1-", "-5", "1:2:3:4", "1-2-3", "1.5", "٣", "5\n6", "N/A", "NOT_SET"]
)
def test_what_is_no_duration_is_refused_whole(text: str) -> None:
    with pytest.raises(ParseError):
        units.parse_duration_s(text)


@given(st.none() | st.integers(0, 10**9))
def test_a_duration_survives_being_written_and_read(seconds: int | None) -> None:
    assert units.parse_duration_s(units.format_duration(seconds)) == seconds


@given(st.integers(0, 10**7))
def test_a_duration_is_written_as_slurm_writes_it(seconds: int) -> None:
    text = units.format_duration(seconds)
    days, _, clock = text.rpartition("-")
    assert days != "0"
    hours, minutes, rest = clock.split(":")
    assert [len(hours), len(minutes), len(rest)] == [2, 2, 2]
    assert int(hours) < 24
    assert int(minutes) < 60
    assert int(rest) < 60


def test_a_negative_duration_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="not negative"):
        units.format_duration(-1)


@pytest.mark.parametrize(
    ("text", "mb"),
    [
        ("64G", 65536),
        ("62.50G", 64000),
        ("1000M", 1000),
        ("1000", 1000),
        ("1K", 1),
        ("1025K", 2),
        ("0", 0),
        ("1.5T", 1572864),
        ("1800T", 1887436800),
        ("2P", 2147483648),
        ("4gb", 4096),
        ("0.1M", 1),
        ("4.10G", 4199),
    ],
)
def test_memory_is_read_in_megabytes_and_rounded_up(text: str, mb: int) -> None:
    assert units.parse_memory_mb(text) == mb


@pytest.mark.parametrize(
    "text", ["", "G", "1X", "1 G 2", "-1G", "64G;rm", "12B", "1.G", ".5G", "1e3", "64Gn", "٣G"]
)
def test_what_is_no_memory_is_refused_whole(text: str) -> None:
    with pytest.raises(ParseError):
        units.parse_memory_mb(text)


def test_a_number_without_unit_takes_the_default() -> None:
    assert units.parse_memory_mb("3", default_unit="G") == 3072


@given(st.integers(0, 10**12))
def test_memory_survives_being_written_and_read(mb: int) -> None:
    assert units.parse_memory_mb(units.format_memory(mb)) == mb


@given(st.integers(0, 10**9), st.sampled_from("KMGTP"))
def test_memory_is_never_rounded_down(amount: int, unit: str) -> None:
    bytes_asked = amount * 1024 ** ("KMGTP".index(unit) + 1)
    assert units.parse_memory_mb(f"{amount}{unit}") * 1024**2 >= bytes_asked
    assert (units.parse_memory_mb(f"{amount}{unit}") - 1) * 1024**2 < max(bytes_asked, 1)


@pytest.mark.parametrize("text", ["Unknown", "N/A", "None", "", "(null)", "0", "INVALID"])
def test_a_time_that_slurm_does_not_know_is_none(text: str) -> None:
    assert units.parse_time_s(text) is None


@given(st.integers(1, 2**40))
def test_seconds_since_1970_are_read_as_they_are(seconds: int) -> None:
    assert units.parse_time_s(str(seconds)) == seconds


@given(st.integers(10**9, 4 * 10**9))
def test_a_printed_time_is_of_the_processes_own_zone(seconds: int) -> None:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Kathmandu"  # no summer time, so that each printed time is one point
    time.tzset()
    try:
        assert units.parse_time_s(time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))) == seconds
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def test_a_printed_time_with_a_zone_is_read_in_it() -> None:
    assert units.parse_time_s("2022-02-21T14:37:02+0100") == 1645450622
    assert units.parse_time_s("2022-02-21T08:37:02-05:00") == 1645450622


@pytest.mark.parametrize("text", ["yesterday", "2022-02-21", "14:37:02", "2022-02-21T14:37", "-5", "1.5"])
def test_what_is_no_time_is_refused_whole(text: str) -> None:
    with pytest.raises(ParseError):
        units.parse_time_s(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1 ", "٣", "1.0", "0x1"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        units.parse_count(text)
