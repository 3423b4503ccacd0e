"""Reading logs while they grow: raw bytes, never decoded, never held whole in memory."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from hpctools.errors import NotFound
from hpctools.jobs import run_folder

BLOCK = 1 << 18
# At most so much is copied before the caller gets to look at the job again.
PORTION = 16 * BLOCK
# A file on NFS shows what other nodes added only after it has been opened again, or its
# attributes' time is over (nfs(5): close-to-open consistency, acregmin 3 s).
REOPEN_S = 2.0


class Writer(Protocol):
    """Where bytes go: a binary file."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class Tail:
    """One log, followed.

    >>> tail = Tail(Path("slurm.out"))
    >>> tail.copy(sys.stdout.buffer)    # what was added since the last call; 0 when nothing was
    """

    def __init__(
        self,
        path: Path,
        last_lines: int | None = None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow path from its beginning, or from its last_lines on; say tells what befell it."""
        self.path = path
        self._last_lines = last_lines
        self._say = say
        self._clock = clock
        self._file: BinaryIO | None = None
        self._opened_s = 0.0

    def copy(self, out: Writer) -> int:
        """Write what was added to out, at most PORTION bytes, and return how many they were.

        A file that is not there yet gives 0. Raises NotFound when it cannot be read.
        """
        file = self._file or self._open()
        if file is None:
            return 0
        copied = _copy(file, out)
        if copied == 0 and (changed := self._changed(file)):
            copied = _copy(changed, out)
        return copied

    def drain(self, out: Writer) -> int:
        """Write all that is there now, looking with fresh eyes. Returns how many bytes."""
        self._opened_s = float("-inf")
        total = 0
        while copied := self.copy(out):
            total += copied
        return total

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO | None:
        file = open_log(self.path)
        if file is not None and self._last_lines is not None:
            file.seek(last_lines_offset(file, self._last_lines))
        if file is not None:
            self._last_lines = None  # what replaces it is wanted whole
            self._file, self._opened_s = file, self._clock()
        return file

    def _changed(self, file: BinaryIO) -> BinaryIO | None:
        """The file to read again, if there is reason to: cut short, replaced, or opened anew."""
        mine, position = os.fstat(file.fileno()), file.tell()
        if mine.st_size < position:
            self._say(f"{self.path} was cut short; it follows from its beginning")
            file.seek(0)
            return file
        try:
            there = os.stat(self.path)
        except OSError:  # moved away; the next one may come
            return None
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            self._say(f"{self.path} was replaced; the new one follows from its beginning")
            position = 0
        elif self._clock() - self._opened_s < REOPEN_S:
            return None
        self.close()
        if (file_again := self._open()) is not None:
            file_again.seek(position)
        return file_again


class RankTail:
    """The log of one rank, followed from attempt to attempt of a job that is requeued."""

    def __init__(
        self,
        run: Path,
        rank: int,
        task: str | None = None,
        last_lines: int | None = None,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow a rank of the newest attempt in the run folder; task is the task's id in an array."""
        self._run, self._rank, self._task = run, rank, task
        self._last_lines, self._say = last_lines, say
        self._tail: Tail | None = None
        self._clock, self._due_s = clock, clock()

    def copy(self, out: Writer) -> int:
        """As Tail.copy."""
        copied = self._tail.copy(out) if self._tail is not None else 0
        if copied == 0 and (newer := self._newer()):
            if self._tail is not None:
                self._say(f"the job was started again; from here on {newer}")
                self._tail.close()
            self._tail = Tail(newer, self._last_lines, self._say)
            self._last_lines = None
            copied = self._tail.copy(out)
        return copied

    def drain(self, out: Writer) -> int:
        """As Tail.drain."""
        self._due_s = self._clock()
        total = self._tail.drain(out) if self._tail is not None else 0
        while copied := self.copy(out):
            total += copied
        return total

    def close(self) -> None:
        """Let go of the file."""
        if self._tail is not None:
            self._tail.close()

    def _newer(self) -> Path | None:
        if self._clock() < self._due_s:  # a file server is asked for new attempts once a second
            return None
        self._due_s = self._clock() + 1.0
        found = rank_log_of(self._run, self._rank, self._task)
        return None if found is None or (self._tail is not None and self._tail.path == found) else found


def rank_log_of(run: Path, rank: int, task: str | None = None) -> Path | None:
    """The log of a rank in the newest attempt that has one."""
    for attempt in reversed(run_folder.attempts(run, task)):
        path = run_folder.rank_log(attempt, rank)
        if path.exists():
            return path
    return None


def _copy(file: BinaryIO, out: Writer) -> int:
    copied = 0
    while copied < PORTION and (block := file.read(BLOCK)):
        out.write(block)
        copied += len(block)
    if copied:
        out.flush()
    return copied


def open_log(path: Path) -> BinaryIO | None:
    """The file opened for reading, None when it is not there. Raises NotFound if it cannot be read.

    A job's output may be a pipe or a device by its owner's wish: reading one could wait for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NotFound(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotFound(f"{path}: not a file whose content is kept")
    return open(descriptor, "rb", buffering=0)


def last_lines_offset(file: BinaryIO, count: int) -> int:
    """Where the last count lines of a file begin, in bytes; reads backwards only as far as needed.

    A last line without its newline counts as a line.
    """
    position = end = file.seek(0, os.SEEK_END)
    left = count
    while position > 0 and count > 0:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        index = len(block) - (position + size == end and block.endswith(b"\n"))
        while (index := block.rfind(b"\n", 0, index)) >= 0:
            left -= 1
            if left == 0:
                return position + index + 1
    return 0 if count > 0 else end


def copy_whole(path: Path, out: Writer, last_lines: int | None = None) -> bool:
    """Write a log, or its last lines, to out; False when it is not there.

    Ends at the size that the file has at the start, so that a log that grows faster than it is
    written out ends, too. Raises NotFound when it cannot be read.
    """
    file = open_log(path)
    if file is None:
        return False
    with file:
        left = os.fstat(file.fileno()).st_size
        if last_lines is not None:
            left -= file.seek(last_lines_offset(file, last_lines))
        else:
            file.seek(0)
        while left > 0 and (block := file.read(min(BLOCK, left))):
            out.write(block)
            left -= len(block)
    out.flush()
    return True


def last_lines(path: Path, count: int, longest: int = 4096) -> tuple[str, ...]:
    """The last lines of a log as text, at most count * longest bytes; none if it cannot be read."""
    try:
        file = open_log(path)
    except NotFound:
        return ()
    if file is None:
        return ()
    with file:
        # From the end alone: one line may be a terabyte, and progress bars end theirs with \r.
        file.seek(max(0, file.seek(0, os.SEEK_END) - count * longest))
        lines = file.read(count * longest).splitlines()
    return tuple(line.decode("utf-8", "replace") for line in lines[-count:])
