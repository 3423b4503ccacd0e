"""The one door to running programs.

Functions that run programs take `run` as an argument of type `Run`, so that a test passes a
function. A program is a list of words; no shell is ever between.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from hpctools.errors import CommandError, CommandTimeout, NotFound, SlurmUnavailable

# What Slurm's programs say when a daemon does not answer (slurm_errno.c, slurm_protocol_api.c).
UNAVAILABLE = (
    "Unable to contact slurm controller",
    "Unable to establish controller machine",
    "Connection refused",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Slurm backup controller in standby mode",
    "Slurm temporarily unable to accept job",
    "Unable to connect to slurmdbd",
    "Sending PersistInit msg",
    "failed to open persistent connection",
    "Could not establish a configuration source",
    "Munge encode failed",
    "Communication connection failure",
)


@dataclass(frozen=True)
class Completed:
    """A program that has ended: its words, exit status (negative: signal) and both outputs."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def unavailable(self) -> bool:
        """Whether it failed because Slurm's daemons did not answer."""
        return self.status != 0 and any(phrase in self.stderr for phrase in UNAVAILABLE)

    def check(self) -> str:
        """stdout, if it succeeded. Raises CommandError, SlurmUnavailable otherwise."""
        if self.status == 0:
            return self.stdout
        kind = SlurmUnavailable if self.unavailable else CommandError
        raise kind(self.argv, self.status, self.stderr)


class Run(Protocol):
    """What `run` is: words in, Completed out."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Completed: ...


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Completed:
    """Run a program to its end and return both outputs, undecodable bytes as surrogates.

    Raises NotFound when the program is not there, CommandTimeout after timeout_s seconds (it is
    killed then). A status other than 0 does not raise: see Completed.check.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=None if stdin is None else stdin.encode("utf-8", "surrogateescape"),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_s,
            env=env,
            cwd=cwd,
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise NotFound(f"{argv[0]}: cannot be run: {error.strerror}: {error.filename}") from error
    except subprocess.TimeoutExpired as error:
        said = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else ""
        raise CommandTimeout(argv, 128 + signal.SIGKILL, said or f"no end within {timeout_s} s") from error
    # Decoded here and not by subprocess, which would make \n of every \r.
    outputs = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return Completed(tuple(argv), done.returncode, *outputs)


def lines(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run a program and give what it says, both outputs, line by line as it comes.

    Raises NotFound, and CommandError with its last lines when it ends with an error. It is killed
    when the caller stops listening.
    """
    last: deque[str] = deque(maxlen=20)
    try:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
        )
    except (FileNotFoundError, PermissionError) as error:
        raise NotFound(f"{argv[0]}: cannot be run: {error.strerror}") from error
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker; it is a pipe
        for line in process.stdout:
            last.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
            yield last[-1]
        if process.wait():
            raise CommandError(argv, process.returncode, "\n".join(last))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    output: IO[bytes] | None = None,
) -> int:
    """Start a program that outlives us, in a session of its own; both its outputs go to output
    (nowhere without one). Returns its process id. Raises NotFound when it is not there.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise NotFound(f"{argv[0]}: cannot be run: {error.strerror}") from error
    process.returncode = 0  # it is not ours to wait for: no ResourceWarning when forgotten
    return process.pid


def foreground(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a program on our own terminal and return its status, 128+signal when a signal ended it.

    Ctrl-C goes to the program, which is in our process group; we wait for what it makes of it.
    """
    try:
        process = subprocess.Popen(list(argv), env=env)
    except (FileNotFoundError, PermissionError) as error:
        raise NotFound(f"{argv[0]}: cannot be run: {error.strerror}") from error
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            continue
        return status if status >= 0 else 128 - status
