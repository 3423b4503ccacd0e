"""Logs, while they grow: every byte once, in order, whatever happens to the file."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpctools.errors import NotFound
from hpctools.jobs import logs
from hpctools.jobs.logs import RankTail, Tail


class Out(io.BytesIO):
    """What was written since the last look."""

    def new(self) -> bytes:
        written = self.getvalue()
        self.seek(0)
        self.truncate()
        return written


@pytest.fixture
def closed() -> Iterator[ExitStack]:
    """Closes at the end what is entered into it."""
    with ExitStack() as stack:
        yield stack


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def test_a_tail_gives_each_byte_once_and_unchanged(tmp_path: Path, closed: ExitStack) -> None:
    path, out = tmp_path / "log", Out()
    tail = closed.enter_context(closing(Tail(path)))
    every = bytes(range(256)) + b"\xff\xfe no utf-8, no newline"
    for part in (every[:100], every[100:101], every[101:]):
        append(path, part)
        assert tail.copy(out) == len(part)
        assert out.new() == part
    assert tail.copy(out) == 0


def test_a_tail_waits_for_a_file_that_is_not_there_yet(tmp_path: Path, closed: ExitStack) -> None:
    path, out = tmp_path / "later" / "log", Out()
    tail = closed.enter_context(closing(Tail(path)))
    assert tail.copy(out) == 0
    path.parent.mkdir()
    assert tail.copy(out) == 0
    append(path, b"first\n")
    tail.copy(out)
    assert out.new() == b"first\n"


def test_a_tail_begins_anew_when_the_file_was_cut_short_and_says_so(
    tmp_path: Path, closed: ExitStack
) -> None:
    path, out, said = tmp_path / "log", Out(), list[str]()
    append(path, b"the first attempt\n")
    tail = closed.enter_context(closing(Tail(path, say=said.append)))
    tail.copy(out)
    out.new()
    path.write_bytes(b"second\n")
    tail.copy(out)
    assert out.new() == b"second\n"
    assert len(said) == 1
    assert "cut short" in said[0]


def test_a_tail_reads_a_file_that_is_moved_away_to_its_end_and_goes_on_with_the_new_one(
    tmp_path: Path, closed: ExitStack
) -> None:
    path, out, said = tmp_path / "log", Out(), list[str]()
    append(path, b"old\n")
    tail = closed.enter_context(closing(Tail(path, say=said.append)))
    tail.copy(out)
    append(path, b"the rest\n")
    path.rename(tmp_path / "log.1")
    append(path, b"new\n")
    while tail.copy(out):
        pass
    assert out.new() == b"old\nthe rest\nnew\n"
    assert "replaced" in said[0]


def test_a_tail_survives_a_moment_without_the_file(tmp_path: Path, closed: ExitStack) -> None:
    path, out = tmp_path / "log", Out()
    append(path, b"old\n")
    tail = closed.enter_context(closing(Tail(path)))
    tail.copy(out)
    path.unlink()
    assert tail.copy(out) == 0
    append(path, b"new\n")
    tail.copy(out)
    assert out.new() == b"old\nnew\n"


def test_a_tail_opens_the_file_again_when_it_was_idle_because_nfs_shows_growth_only_then(
    tmp_path: Path, closed: ExitStack
) -> None:
    path, out, now = tmp_path / "log", Out(), [0.0]
    append(path, b"one\n")
    tail = closed.enter_context(closing(Tail(path, clock=lambda: now[0])))
    tail.copy(out)
    first = tail._file
    tail.copy(out)
    assert tail._file is first
    now[0] = logs.REOPEN_S
    tail.copy(out)
    assert tail._file is not first
    append(path, b"two\n")
    tail.copy(out)
    assert out.new() == b"one\ntwo\n"


def test_a_tail_hands_over_a_huge_log_in_portions_so_that_the_job_is_looked_at_in_between(
    tmp_path: Path, closed: ExitStack
) -> None:
    path, out = tmp_path / "log", Out()
    path.write_bytes(b"x" * (logs.PORTION + 10))
    tail = closed.enter_context(closing(Tail(path)))
    assert tail.copy(out) == logs.PORTION
    assert tail.drain(out) == 10


def test_a_file_that_replaces_another_is_wanted_whole_even_after_the_last_lines_of_the_first(
    tmp_path: Path, closed: ExitStack
) -> None:
    path, out = tmp_path / "log", Out()
    append(path, b"1\n2\n")
    tail = closed.enter_context(closing(Tail(path, last_lines=1)))
    tail.copy(out)
    path.rename(tmp_path / "log.1")
    append(path, b"3\n4\n")
    tail.copy(out)
    assert out.new() == b"2\n3\n4\n"


def test_following_from_the_last_lines_skips_what_was_before(tmp_path: Path, closed: ExitStack) -> None:
    path, out = tmp_path / "log", Out()
    append(path, b"1\n2\n3\n")
    tail = closed.enter_context(closing(Tail(path, last_lines=2)))
    tail.copy(out)
    append(path, b"4\n")
    tail.copy(out)
    assert out.new() == b"2\n3\n4\n"


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(st.sampled_from([b"", b"a", b"bb", b"\r", b"\xff", b"c" * 30]), max_size=12),
    ends=st.booleans(),
    count=st.integers(0, 14),
    block=st.integers(1, 9),
)
def test_the_last_lines_are_those_that_splitting_at_newlines_gives(
    tmp_path_factory: pytest.TempPathFactory, text: list[bytes], ends: bool, count: int, block: int
) -> None:
    data = b"\n".join(text) + (b"\n" if ends and text else b"")
    whole = data.split(b"\n")
    lines = [line + b"\n" for line in whole[:-1]] + ([whole[-1]] if whole[-1] else [])
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data)
    size, logs.BLOCK = logs.BLOCK, block
    try:
        with open(path, "rb") as file:
            offset = logs.last_lines_offset(file, count)
    finally:
        logs.BLOCK = size
    assert data[offset:] == b"".join(lines[len(lines) - min(count, len(lines)) :])


def test_the_last_lines_of_a_huge_log_are_found_without_reading_all_of_it(tmp_path: Path) -> None:
    path, out = tmp_path / "log", Out()
    with open(path, "wb") as file:
        file.truncate(50 * 1024**3)  # sparse: 50 GiB of NUL
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert logs.last_lines(path, 1) == ("the end",)
    assert logs.copy_whole(path, out, 1)
    assert out.new() == b"the end\n"


def test_one_endless_line_gives_only_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000)
    (line,) = logs.last_lines(path, 3, longest=100)
    assert line == "x" * 300


def test_a_progress_bar_counts_with_its_last_state(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"start\n 1%\r 2%\r 3%")
    assert logs.last_lines(path, 1) == (" 3%",)


def test_copying_a_log_ends_although_it_grows_faster_than_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10)

    class Growing(Out):
        def write(self, data: object, /) -> int:
            append(path, b"y" * 10)
            return super().write(data)  # type: ignore[arg-type]

    out = Growing()
    assert logs.copy_whole(path, out)
    assert out.new() == b"x" * 10


def test_a_log_that_is_not_there_is_no_error_and_one_that_cannot_be_read_is(tmp_path: Path) -> None:
    assert not logs.copy_whole(tmp_path / "none", Out())
    with pytest.raises(NotFound, match="File name too long"):
        logs.copy_whole(tmp_path / ("x" * 300), Out())


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_instead_of_waited_for(tmp_path: Path, make: object) -> None:
    path = tmp_path / "log"
    make(path)  # type: ignore[operator]
    with pytest.raises(NotFound, match="not a file"):
        Tail(path).copy(Out())
    assert logs.last_lines(path, 3) == ()


def test_a_rank_is_followed_from_one_attempt_to_the_next(tmp_path: Path, closed: ExitStack) -> None:
    out, said, seconds = Out(), list[str](), itertools.count()
    tail = closed.enter_context(closing(RankTail(tmp_path, 3, say=said.append, clock=lambda: next(seconds))))
    assert tail.copy(out) == 0
    for attempt, line in enumerate((b"first\n", b"second\n")):
        folder = tmp_path / f"attempt-{attempt}"
        folder.mkdir()
        append(folder / "rank-00003.log", line)
        append(folder / "rank-00000.log", b"another rank\n")
        tail.copy(out)
        assert out.new() == line
    assert len(said) == 1
    assert "attempt-1" in said[0]


def test_the_log_of_a_rank_is_that_of_the_newest_attempt_that_has_one(tmp_path: Path) -> None:
    for attempt in (2, 10):
        (tmp_path / f"attempt-{attempt}").mkdir()
    (tmp_path / "attempt-2" / "rank-00000.log").touch()
    assert logs.rank_log_of(tmp_path, 0) == tmp_path / "attempt-2" / "rank-00000.log"
    (tmp_path / "attempt-10" / "rank-00000.log").touch()
    assert logs.rank_log_of(tmp_path, 0) == tmp_path / "attempt-10" / "rank-00000.log"
    assert logs.rank_log_of(tmp_path, 0, task="5") is None
