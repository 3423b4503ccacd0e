"""What hpctools runs inside a job: rendezvous, launch, the statuses of ranks and their logs.

    launch.py head              the batch host: find an address and a port, and hold the port
    launch.py node ...          srun's task on each node: start the launcher (or the program itself)
    launch.py agent MODULE ...  torchrun or accelerate, which leave Slurm's signals to us
    launch.py rank OWNER        around each rank: log, prefix, signals, status
    launch.py finish STATUS     after srun: which rank failed first, and the job's status
    launch.py local ...         all of it on this machine, without Slurm

This file is copied into the run folder, beside argv.json, and works there with any Python from 3.8
on and nothing but its standard library: neither the nodes nor an image need hpctools. Run it as
`python -I -S launch.py`, so that a user's PYTHONPATH and site-packages cannot break it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Sequence

RUN = os.path.dirname(os.path.abspath(__file__))
Record = Dict[str, Any]

# slurmstepd passes output on in messages of 1024 bytes (SLURM_IO_MAX_MSG_LEN): a longer line is
# torn, and other nodes' lines get in between. So we tear it ourselves, each piece with its prefix.
LINE_MAX = 1000
# A pipe takes this much at once (PIPE_BUF), so the ranks of a node never write into each other's lines.
WRITE_MAX = 4096
LAST_LINES = 50
LAUNCHERS = ("torchrun", "srun", "accelerate", "mpirun", "none")

# What a rank ends with to say more than "well" or "badly": preemption.py has the same numbers.
CHECKPOINTED, DO_NOT_RESTART = 75, 93
# How Slurm says that the job will be ended soon: --signal=USR1@N before the time limit (and on preemption
# where the site has send_user_signal), else SIGTERM when the grace time or KillWait begins.
WARNINGS = (signal.SIGUSR1, signal.SIGTERM)
SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
# A process's place as the mpirun of Open MPI names it, and that of MPICH and Intel. Slurm's own variables
# are those of mpirun's helper on the node.
MPI_RANK = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
MPI_LOCAL_RANK = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
# What chooses how accelerate distributes; --multi_gpu, which only means torchrun, excludes the others.
ACCELERATE_KINDS = ("--use_fsdp", "--use_deepspeed", "--use_megatron_lm", "--tpu", "--cpu", "--multi_gpu")
# How long other ranks may take to end when one has failed. Their wrappers see to it, since Slurm gives them
# KillWait, and torchrun half a minute where it does not know the variable that tells it.
SHUTDOWN_S = 10
ASKED_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON = (*ASKED_TO_STOP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
ORPHAN_GRACE_S = 5.0
DRAIN_S = 2.0
HOLD_BACK_S = 5.0
# How often processes are looked for: those that could not be warned yet, and those that are left.
WARN_S = 0.2


# --- where we are -------------------------------------------------------------------------------


def number(name: str, default: int = 0) -> int:
    """The variable as a number; Slurm leaves some unset, such as SLURM_RESTART_COUNT in the first run."""
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default


def home() -> str:
    """The folder that outlives attempts: the run's own, or one for each task of an array."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return os.path.join(RUN, "task-" + task) if task else RUN


def attempt() -> str:
    """The folder of this attempt, made if missing; restart.py counts them."""
    count = number("HPCTOOLS_ATTEMPT", number("SLURM_RESTART_COUNT"))
    folder = os.path.join(home(), f"attempt-{count}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def node_name() -> str:
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def remark(text: str) -> None:
    put(1, f"hpctools: {text}\n".encode("utf-8", "surrogateescape"))


def put(descriptor: int, data: bytes) -> None:
    """Write whole lines, as many at once as a pipe takes whole. A reader that went away is no error:
    the program shall not die because nobody looks."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + WRITE_MAX) + 1 or min(start + WRITE_MAX, len(data))
        try:
            start += os.write(descriptor, data[start:end])
        except OSError:
            return


def write_json(path: str, value: Record) -> None:
    """Write beside and rename: who reads sees all of it or nothing."""
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file)
        os.replace(beside, path)
    except OSError as error:
        remark(f"cannot write {path}: {error.strerror}")


# --- head: an address and a port ----------------------------------------------------------------


def is_here(name: str) -> bool:
    """Whether name resolves to an address of this machine (a wildcard in DNS resolves anything)."""
    try:
        found = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
            return True
    return False


def node_address(name: str) -> str:
    """Slurm's own address of a node, by which slurmctld reaches it; the name if Slurm won't say."""
    try:
        said = subprocess.run(
            ["scontrol", "show", "node", "--oneliner", name], stdout=subprocess.PIPE, timeout=60
        ).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired):
        return name
    match = re.search(r"\bNodeAddr=(\S+)", said)
    return match.group(1) if match else name


def head_address() -> str:
    """What the other nodes call this one: its name where names resolve, else Slurm's NodeAddr."""
    if "SLURM_JOB_ID" not in os.environ:
        return "127.0.0.1"
    name = node_name()
    return name if is_here(name) else node_address(name)


def is_free(port: int) -> bool:
    """Whether a server could listen on port now, on all addresses, IPv6's too where there are any."""
    families = [socket.AF_INET6, socket.AF_INET] if socket.has_ipv6 else [socket.AF_INET]
    for family in families:
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:  # no such protocol in this kernel
            continue
        with probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch's own store does
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def reserve(base: int, count: int, seed: int) -> tuple[int, socket.socket]:
    """A free port of base..base+count-1, seed first and stepping on, held as long as the socket.

    Between our probe and torch's listening, another job on this node could find the same port free.
    So a job first takes an abstract Unix socket of the port's number: like ports they belong to the
    network namespace, hold against every user, leave no file and vanish with the process.
    """
    for step in range(count):
        port = base + (seed + step) % count
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(b"\0hpctools-port-%d" % port)
        except OSError:
            claim.close()
            continue
        if is_free(port):
            return port, claim
        claim.close()
    raise SystemExit(f"hpctools: no free port between {base} and {base + count - 1}")


def head(base: int, count: int) -> int:
    """Print "ADDRESS PORT", then hold the port until the batch script is gone."""
    parent = os.getppid()
    for signum in (signal.SIGUSR1, signal.SIGUSR2):  # meant for the ranks, but may reach all processes
        signal.signal(signum, signal.SIG_IGN)
    port, claim = reserve(base, count, number("SLURM_JOB_ID", os.getpid()))
    with claim:
        print(head_address(), port, flush=True)
        reader = select.poll()
        reader.register(sys.stdout.fileno(), 0)  # POLLERR comes unasked when the last reader is gone
        while not reader.poll(5000) and os.getppid() == parent:
            pass
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


# --- the output of a program --------------------------------------------------------------------


class Output:
    """Raw bytes into a log, and the same by lines, each with a prefix, to our own output.

    Of a progress bar (text ended by carriage returns) one state a second is shown, and the last.
    """

    def __init__(self, log: str, prefix: str) -> None:
        self.prefix = prefix.encode()
        self.last: collections.deque[bytes] = collections.deque(maxlen=LAST_LINES)
        self.rest = b""  # what stands after the last newline
        self.shown = b""  # the state of a progress bar shown last
        self.shown_s = 0.0
        self.log: int | None = None
        try:
            self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            remark(f"cannot write {log}: {error.strerror}")

    def feed(self, data: bytes) -> None:
        self.keep(data)
        lines, newline, self.rest = (self.rest + data).rpartition(b"\n")
        if newline:
            self.show(lines)
        if b"\r" in self.rest:
            self.show_progress()
        elif len(self.rest) > 65536:  # no memory without bounds for a program that writes no newline
            self.show(self.rest)
            self.rest = b""

    def keep(self, data: bytes) -> None:
        """Append to the log; a full disk must not end the training, so it is said once."""
        while self.log is not None and data:
            try:
                data = data[os.write(self.log, data) :]
            except OSError as error:
                remark(f"the log of {self.prefix.decode().strip()} ends here: {error.strerror}")
                os.close(self.log)
                self.log = None

    def show(self, text: bytes) -> None:
        lines = text.split(b"\n")
        if b"\r" in text:
            lines = [overwritten(line) for line in lines]
            if self.shown and lines[0] == self.shown:
                del lines[0]
            self.shown = b""
        room = LINE_MAX - len(self.prefix) - 1
        if max(map(len, lines), default=0) > room:
            lines = [piece for line in lines for piece in torn(line, room)]
        self.last.extend(lines[-LAST_LINES:])
        if lines:
            self.emit(self.prefix + (b"\n" + self.prefix).join(lines) + b"\n")

    def emit(self, text: bytes) -> None:
        put(1, text)

    def show_progress(self) -> None:
        done, _, current = self.rest.rpartition(b"\r")
        state = overwritten(done)
        self.rest = state + b"\r" + current[-65536:]
        if state and state != self.shown and time.monotonic() - self.shown_s >= 1:
            self.show(state)
            self.shown, self.shown_s = state, time.monotonic()

    def tick(self) -> None:
        """Called once a second and more."""

    def end(self) -> None:
        if self.rest:
            self.show(self.rest)
        if self.log is not None:
            os.close(self.log)

    def last_lines(self) -> list[str]:
        return [line.decode("utf-8", "replace") for line in self.last]


class LauncherOutput(Output):
    """What a launcher says is shown some seconds later, and not at all if it has ended by then. Of any
    rank's failure torchrun on every node makes a long traceback, which buries the rank's own words, and
    also when all went well and one node leaves before another. It stands in the launcher's log, and
    finish shows its end when no rank is to blame."""

    def __init__(self, log: str, prefix: str) -> None:
        super().__init__(log, prefix)
        self.held: collections.deque[tuple[float, bytes]] = collections.deque()

    def emit(self, text: bytes) -> None:
        self.held.append((time.monotonic(), text))

    def tick(self) -> None:
        while self.held and time.monotonic() - self.held[0][0] >= HOLD_BACK_S:
            put(1, self.held.popleft()[1])


def overwritten(line: bytes) -> bytes:
    """What a terminal would leave of a line with carriage returns: the text after the last one."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def torn(line: bytes, room: int) -> list[bytes]:
    """line in pieces of at most room bytes, no UTF-8 character cut in two."""
    pieces = []
    while len(line) > room:
        cut = room
        while cut > room - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


# --- who hears a signal -------------------------------------------------------------------------


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for the signal."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signum - 1) & 1)
    return False


def children_of_all() -> dict[int, list[int]]:
    """The children of every process of this machine that we may see."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(
                f"/proc/{name}/stat", "rb"
            ) as file:
                # The name in parentheses may hold anything; the state and the parent follow it.
                parent = int(file.read().rpartition(b")")[2].split()[1])
                found.setdefault(parent, []).append(int(name))
    return found


def words_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def listeners(root: int, signum: int, first_only: bool) -> list[int]:
    """root and its descendants that handle the signal, from the top.

    A forked copy of its parent, such as a data loader's worker, has inherited the handler but does not
    train: it is left out. first_only: nothing below a process that handles it.
    """
    children, found, waiting = children_of_all(), [], [(root, b"")]
    while waiting:
        pid, above = waiting.pop(0)
        words = words_of(pid)
        hears = catches(pid, signum)
        if hears and words != above:
            found.append(pid)
        if not (hears and first_only):
            waiting += [(child, words) for child in children.get(pid, [])]
    return found


def descendants(root: int) -> list[int]:
    """All processes below root, from the top."""
    children, found = children_of_all(), [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def adopt() -> None:
    """Become the parent of all orphans below us, instead of init: so they can be found, and ended."""
    with contextlib.suppress(Exception):  # no ctypes or no prctl: then Slurm alone looks for them
        import ctypes

        pr_set_child_subreaper = 36  # linux/prctl.h
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def send(pids: Sequence[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def is_shell(argv: Sequence[str]) -> bool:
    """Whether a shell runs, by its name or by the first line of a script."""
    name = os.path.basename(argv[0])
    if "/" in argv[0]:
        with contextlib.suppress(OSError), open(argv[0], "rb") as file:
            first = file.readline(256)
            if first.startswith(b"#!"):
                words = first[2:].decode("utf-8", "replace").split()
                return any(os.path.basename(word) in SHELLS for word in words[:2])
    return name in SHELLS


# --- a program under our eyes -------------------------------------------------------------------


def before_exec(ignored: Sequence[int], parent: int) -> None:
    """In the new process: die with the wrapper, and take signals as any program does."""
    with contextlib.suppress(Exception):  # no ctypes or no prctl: then only the orphan's check is left
        import ctypes

        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGKILL)
    for signum in {signal.SIGUSR1, signal.SIGUSR2, *ignored}:
        signal.signal(signum, signal.SIG_IGN if signum in ignored else signal.SIG_DFL)


def ignored_by(argv: Sequence[str], launcher: bool) -> Sequence[int]:
    """The signals that a program starts with as ignored.

    proctrack/linuxproc gives every process of a step what Slurm signals. torchrun shall hear nothing
    of it; a program without a handler shall not die of a warning. A handler takes the place of
    ignoring, but not in a shell: it cannot trap what was ignored when it started.
    """
    if launcher:
        return (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    return () if is_shell(argv) else (signal.SIGUSR1,)


class Watched:
    """A program that runs as our child: its output shown, our signals passed on, its end recorded."""

    def __init__(self, name: str, record: Record, output: Output) -> None:
        self.path = os.path.join(attempt(), name + ".json")
        self.record = record
        self.output = output
        self.child: subprocess.Popen[bytes] | None = None
        self.asked_s, self.asked_by = 0.0, 0  # when we were first told to stop, and by which signal
        self.ended_s = 0.0
        self.parent = os.getppid()
        self.orphan_s = 0.0  # when we saw that our parent had died
        self.waiting: list[int] = []  # signals that were not delivered yet: there may be no child
        self.is_delivering = False
        self.warned_s, self.warned_by = 0.0, 0  # when we first heard that the job will end, and by what
        self.is_heard = False  # whether a handler of the program's was told of it
        self.under_launcher = False  # torchrun's SIGTERM is no warning: another rank has failed
        self.under_srun = False  # srun's is one, unless another rank has failed
        self.kill_at_s = 0.0  # when patience with the program ends, because another rank has failed

    def pass_on(self, signum: int, frame: object = None) -> None:
        if signum in ASKED_TO_STOP:
            self.asked_s = self.asked_s or time.time()
            self.asked_by = self.asked_by or signum
            self.notice_failure()
        if signum == signal.SIGUSR1 or (signum in WARNINGS and not self.under_launcher):
            self.warned_s = self.warned_s or time.time()
            self.warned_by = self.warned_by or signum
        self.waiting.append(signum)
        self.deliver_waiting()

    def notice_failure(self) -> None:
        """Whether a SIGTERM, of srun's --kill-on-bad-exit or of torchrun, comes because another rank has
        failed. Then this one cannot save any more, since that takes all of them: it is not waited for. An
        older torchrun would wait for half a minute, and Slurm for its KillWait."""
        is_one_of_many = self.under_srun or self.under_launcher
        failed_s = first_failure_s() if is_one_of_many and not self.kill_at_s else 0.0
        if failed_s:
            self.under_launcher = True
            # Other nodes hear of it late: srun waits for the whole node of the one that failed.
            now = time.time()
            self.kill_at_s = min(now + SHUTDOWN_S, max(now + DRAIN_S, failed_s + SHUTDOWN_S))

    def deliver_waiting(self) -> None:
        """Deliver signals in their order. Python lets one handler interrupt another: the first works for
        all, and what slips in at its very end is found by the next look of follow."""
        if self.is_delivering or self.child is None:
            return
        self.is_delivering = True
        while self.waiting:
            signum = self.waiting.pop(0)
            if self.child.poll() is None:
                self.deliver(signum)
        self.is_delivering = False

    def deliver(self, signum: int) -> None:
        if self.child is None:
            return
        if signum == signal.SIGUSR1:
            self.is_heard = self.warn(signum) or self.is_heard
        elif signum == signal.SIGTERM:
            if self.under_launcher and self.is_heard:
                return  # it was told by SIGUSR1
            heard = self.warn(signum)
            self.is_heard = self.is_heard or heard
            if not heard:
                send([self.child.pid], signum)
        else:
            send([self.child.pid], signum)

    def warn(self, signum: int) -> bool:
        """Tell those that handle this signal, else those that handle the other one of WARNINGS."""
        assert self.child is not None  # noqa: S101 - for the type checker
        is_term = signum == signal.SIGTERM
        other = signal.SIGUSR1 if is_term else signal.SIGTERM
        for way in (signum,) if self.under_launcher and is_term else (signum, other):
            # SIGTERM would end a data loader's own processes, which have a handler for it.
            found = listeners(self.child.pid, way, first_only=way == signal.SIGTERM)
            if found:
                send(found, way)
                return True
        return False

    def late_warning(self) -> bool:
        """Warn a program that had no handler when the warning came: it may have just been starting.
        Returns whether it has to be looked at again."""
        if self.warned_by != signal.SIGUSR1 or self.is_heard or self.child is None:
            return False
        self.is_heard = self.warn(signal.SIGUSR1)
        return not self.is_heard

    def notice_end(self, signum: int = 0, frame: object = None) -> bool:
        """Whether the program has ended. Its time is taken at once, on SIGCHLD: the first rank to
        fail is found by it, and a data loader may keep the pipe open for seconds more."""
        if self.child is None or self.child.poll() is None:
            return False
        self.ended_s = self.ended_s or time.time()
        return True

    def start(self, argv: Sequence[str], launcher: bool) -> int:
        """Start argv and return the descriptor of its output: of a launcher, whose ranks write to
        our own stdout by themselves, stderr; of a program both."""
        adopt()
        for signum in PASSED_ON:
            signal.signal(signum, self.pass_on)
        signal.signal(signal.SIGCHLD, self.notice_end)
        reading, writing = os.pipe()
        parent = os.getpid()
        try:
            self.child = subprocess.Popen(
                [word.encode("utf-8", "surrogateescape") for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=None if launcher else writing,
                stderr=writing,
                # A group of its own: torchrun signals its workers' groups, and we pass that on.
                start_new_session=True,
                preexec_fn=lambda: before_exec(ignored_by(argv, launcher), parent),
            )
        finally:
            os.close(writing)
        self.record["pid"] = self.child.pid
        self.deliver_waiting()
        return reading

    def follow(self, reading: int) -> None:
        """Show the output until the program has ended and said all. What it left running may hold
        the pipe for ever: after its end we wait for no more than a second of silence."""
        is_open = True
        while is_open or not self.notice_end():
            self.deliver_waiting()
            pause_s = WARN_S if self.late_warning() else 1.0
            # A program may close its output and run on: then there is only its end to look for.
            if select.select([reading] if is_open else [], [], [], pause_s if is_open else 0.05)[0]:
                data = os.read(reading, 65536)
                self.output.feed(data)
                is_open = bool(data) and not (self.notice_end() and time.time() > self.ended_s + DRAIN_S)
            elif self.notice_end():
                break
            self.output.tick()
            self.reap_adopted()
            if self.asked_s:
                self.notice_failure()  # again: on NFS it may be seen late
            if self.kill_at_s and time.time() > self.kill_at_s:
                self.deliver(signal.SIGKILL)
            if os.getppid() != self.parent:
                self.end_orphan()
        os.close(reading)

    def end_orphan(self) -> None:
        """Nobody waits for us any more: end the program, gently first."""
        if not self.orphan_s:
            self.orphan_s = time.time()
            self.pass_on(signal.SIGTERM)
        elif time.time() > self.orphan_s + ORPHAN_GRACE_S:
            self.deliver(signal.SIGKILL)

    def reap_adopted(self) -> None:
        """Let orphans go that have ended; our own child's status is left to be asked for."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or (self.child is not None and ended.si_pid == self.child.pid):
                    return
                os.waitpid(ended.si_pid, 0)

    def end_rest(self) -> None:
        """End what the program has left running, if it does not end soon. Slurm does it with
        proctrack/cgroup; with linuxproc, which goes by parents, orphans would outlive the job."""
        began_s = time.monotonic()
        while "SLURM_JOB_ID" in os.environ and time.monotonic() < began_s + 2 * DRAIN_S:
            rest = descendants(os.getpid())
            if not rest:
                return
            if time.monotonic() > began_s + DRAIN_S:
                send(rest, signal.SIGKILL)
            time.sleep(WARN_S)
            self.reap_adopted()

    def run(self, argv: Sequence[str], launcher: bool = False) -> int:
        """Run argv to its end, write its record and return its status, 128+signal for a signal."""
        self.record["started_s"] = time.time()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        try:
            reading = self.start(argv, launcher)
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126  # as a shell says it
            self.ended_s = time.time()
            reason = f"hpctools: cannot run {argv[0]}: {error.strerror}\n"
            self.output.feed(reason.encode("utf-8", "replace"))
        else:
            self.follow(reading)
            code = self.code()
            self.end_rest()
        self.output.end()
        return self.write_record(code)

    def code(self) -> int:
        """The program's status as Python gives it, a signal negative."""
        code = self.child.wait() if self.child else 0
        if -code in ASKED_TO_STOP and not self.asked_s:
            time.sleep(0.3)  # who signals all of the job may reach the program before us
        return code

    def write_record(self, code: int) -> int:
        asked = bool(self.asked_s) and (self.asked_s <= self.ended_s or -code in ASKED_TO_STOP)
        status = code if code >= 0 else 128 - code
        self.record.update(
            ended_s=self.ended_s,
            status=status,
            signal=signal_name(-code) if code < 0 else None,
            asked=asked,
            warned_s=self.warned_s or None,
            warned_by=signal_name(self.warned_by) if self.warned_by else None,
            heard=self.is_heard,
            last_lines=self.output.last_lines(),
        )
        write_json(self.path, self.record)
        if (self.under_srun or self.under_launcher) and not asked and status not in (0, CHECKPOINTED):
            with contextlib.suppress(OSError), open(failure_mark(), "w"):
                pass  # before srun hears of it from us
        return status


def failure_mark() -> str:
    """A file that is there when a rank has failed."""
    return os.path.join(attempt(), "failed")


def first_failure_s() -> float:
    """When a rank of this attempt failed, by the clock of the file system; 0 if none did."""
    with contextlib.suppress(OSError):
        return os.path.getmtime(failure_mark())
    return 0.0


def new_record(rank: int | None, local_rank: int | None) -> Record:
    """What is known before the start. node counts the job's nodes, host is Slurm's name of it; what
    the machine calls itself is mostly the same."""
    where = {"node": number("SLURM_NODEID"), "host": node_name(), "hostname": socket.gethostname()}
    return {"rank": rank, "local_rank": local_rank, **where, "pid": None}


def signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # a real-time signal
        return f"signal {signum}"


# --- node and rank ------------------------------------------------------------------------------


def load_secrets() -> None:
    """Variables that stand in no script, into our own environment, which the program inherits."""
    try:
        with open(os.path.join(RUN, "secrets.json"), encoding="utf-8") as file:
            os.environ.update(json.load(file))
    except FileNotFoundError:
        if os.path.exists(os.path.join(RUN, "secrets.removed")):
            remark("this job's secrets went when it ended before; submit it again to have them")


def set_defaults(ranks: int) -> None:
    """The environment of the program, ranks of which share the CPUs of a task of Slurm's; what the user has
    set stays."""
    load_secrets()
    cpus = len(os.sched_getaffinity(0))  # what this step may really use
    granted = number("SLURM_CPUS_PER_TASK") or number("SLURM_CPUS_ON_NODE") or cpus
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, min(cpus, granted) // ranks)))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.environ["HPCTOOLS_RUN"] = home()
    # Where `from hpctools import preemption` finds it when hpctools is not installed.
    path = [os.environ.get("PYTHONPATH", ""), os.path.join(RUN, "python")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))


def run_program(rank: int, local_rank: int, above: str = "") -> int:
    """Run argv.json as it stands, as rank. That it left a checkpoint is no failure to those who wait
    for us: torchrun and srun would end the ranks that still save. above: what started us, and would end
    the other ranks."""
    with open(os.path.join(RUN, "argv.json"), encoding="utf-8") as file:
        argv = json.load(file)
    name = f"rank-{rank:05d}"
    output = Output(os.path.join(attempt(), name + ".log"), f"[{rank}] ")
    watched = Watched(name, new_record(rank, local_rank), output)
    watched.under_launcher, watched.under_srun = above in ("torchrun", "mpirun"), above == "srun"
    status = watched.run(argv)
    if watched.warned_s and not watched.is_heard:
        how = "was warned that the job will end, but has no handler for SIGUSR1 or SIGTERM"
        remark(f"rank {rank} {how}: nothing was saved then")
    return 0 if status == CHECKPOINTED else status


class Launcher(Watched):
    """torchrun or accelerate: what Slurm signals goes to the ranks, and is kept for those that are not
    there yet."""

    def __init__(self, name: str, record: Record, output: Output, ranks: int) -> None:
        super().__init__(name, record, output)
        self.ranks = ranks
        self.told: dict[int, set[int]] = {}  # the ranks that have got each signal

    def deliver(self, signum: int) -> None:
        if signum == signal.SIGUSR2:
            send(rank_wrappers(os.getpid()), signum)
        elif signum in WARNINGS:
            # SIGUSR1 first: a rank's SIGTERM without it comes from torchrun, when another has failed.
            self.told.setdefault(signal.SIGUSR1, set())
            self.told.setdefault(signum, set())
            self.late_warning()
        elif self.child is not None:
            send([self.child.pid], signum)

    def late_warning(self) -> bool:
        for signum in (one for one in (signal.SIGUSR1, signal.SIGTERM) if one in self.told):
            told = self.told[signum]
            new = [pid for pid in rank_wrappers(os.getpid()) if pid not in told and catches(pid, signum)]
            send(new, signum)
            told.update(new)
        self.is_heard = bool(self.told) and all(map(len, self.told.values()))
        return any(len(told) < self.ranks for told in self.told.values())

    def end_rest(self) -> None:
        """Where torchrun was killed, the wrappers of its ranks end them, gently first."""
        until_s = time.monotonic() + ORPHAN_GRACE_S + DRAIN_S
        while rank_wrappers(os.getpid()) and time.monotonic() < until_s:
            self.reap_adopted()
            time.sleep(0.1)
        super().end_rest()

    def run(self, argv: Sequence[str], launcher: bool = True) -> int:
        """torchrun's status; where it was told to stop, 143 for SIGTERM as of any program: it says 1."""
        status = super().run(argv, launcher)
        return 128 + self.asked_by if status and self.asked_by else status


def rank_wrappers(owner: int) -> list[int]:
    """The processes `launch.py rank OWNER`, found by their words in /proc."""
    words = b"\0rank\0%d\0" % owner
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and words_of(int(name)).endswith(words):
            found.append(int(name))
    return found


def agent(module: str, words: Sequence[str]) -> None:
    """Run torchrun in this process, with SIGTERM ignored as it was at our start. Its own handler would
    kill ranks that save: after 30 s, and on linuxproc at once. Newer ones have an option for it.
    accelerate is torchrun with other words."""
    import runpy

    set_handler: Callable[..., Any] = signal.signal

    def keep(signum: int, handler: Any) -> Any:
        return signal.getsignal(signum) if signum == signal.SIGTERM else set_handler(signum, handler)

    signal.signal = keep  # type: ignore[assignment]
    sys.path[0] = os.getcwd()  # as with `python -m`, not the run folder
    sys.argv = [module, *words]
    if module.startswith("accelerate.") and not has_accelerator():
        # Without it each rank would train alone.
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def has_accelerator() -> bool:
    """Whether torch finds a GPU, or what stands for one."""
    import importlib

    torch: Any = importlib.import_module("torch")
    newer = getattr(torch, "accelerator", None)  # from 2.6 on
    return bool(newer.is_available() if newer else torch.cuda.is_available())


def torchrun_words(ranks: int, address: str, port: int) -> list[str]:
    """Words that every torch from 1.9 on knows: underscores, and the static rendezvous, which numbers
    ranks in Slurm's order of nodes."""
    words = [f"--nnodes={number('SLURM_JOB_NUM_NODES', 1)}", f"--nproc_per_node={ranks}"]
    words += ["--rdzv_backend=static", f"--node_rank={number('SLURM_NODEID')}"]
    return [*words, f"--master_addr={address}", f"--master_port={port}"]


def accelerate_words(ranks: int, address: str, port: int, options: Sequence[str]) -> list[str]:
    """accelerate's. A configuration file (the user's own is read unasked) decides what no word does, so
    then we say no more than where the nodes are."""
    nodes = number("SLURM_JOB_NUM_NODES", 1)
    words = [f"--num_machines={nodes}", f"--num_processes={nodes * ranks}", "--same_network"]
    words += [f"--machine_rank={number('SLURM_NODEID')}"]
    words += [f"--main_process_ip={address}", f"--main_process_port={port}"]
    names = [word.partition("=")[0] for word in options]
    if "--config_file" in names or os.path.isfile(accelerate_config()):
        return words
    words += ["--mixed_precision=no", "--dynamo_backend=no"]
    is_chosen = any(name in ACCELERATE_KINDS for name in names)
    return words if nodes * ranks == 1 or is_chosen else [*words, "--multi_gpu"]


def accelerate_config() -> str:
    """Where `accelerate config` puts what it was told."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return os.path.join(os.path.expanduser(home), "accelerate", "default_config.yaml")


def start_ranks(launcher: str, ranks: int, address: str, port: int, options: Sequence[str]) -> int:
    """Start torchrun or accelerate on this node and wait for it; options are the user's words for it."""
    name = f"node-{number('SLURM_NODEID'):03d}"
    output = LauncherOutput(os.path.join(attempt(), name + ".log"), f"[{node_name()}] ")
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_S))
    os.environ["HPCTOOLS_RANKS"] = str(number("SLURM_JOB_NUM_NODES", 1) * ranks)
    words = [sys.executable, os.path.join(RUN, "launch.py"), "agent"]
    if launcher == "accelerate":
        words += ["accelerate.commands.launch", *accelerate_words(ranks, address, port, options)]
    else:
        words += ["torch.distributed.run", *torchrun_words(ranks, address, port)]
    words += [*options, "--no_python", sys.executable, "-I", "-S", os.path.join(RUN, "launch.py")]
    words += ["rank", str(os.getpid())]
    return Launcher(name, new_record(None, None), output, ranks).run(words)


def name_rank(ranks: int, address: str, port: int) -> None:
    """What torchrun would tell a rank, from what srun tells a task."""
    named = {"RANK": number("SLURM_PROCID"), "WORLD_SIZE": number("SLURM_NTASKS", 1)}
    named.update(LOCAL_RANK=number("SLURM_LOCALID"), LOCAL_WORLD_SIZE=ranks)
    named.update(GROUP_RANK=number("SLURM_NODEID"))
    os.environ.update({name: str(value) for name, value in named.items()})
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))


def launched_rank() -> int:
    """Run the program as the rank that torchrun made of us."""
    if "RANK" not in os.environ and number("HPCTOOLS_RANKS", 1) > 1:
        # accelerate with a configuration for one process: each would be a training of its own.
        remark("the launcher started one process alone: does its configuration say distributed_type: NO?")
        return 1
    return run_program(number("RANK"), number("LOCAL_RANK"), "torchrun")


def mpi_rank(ranks: int) -> int:
    """Run the program as the rank that mpirun made of us. We are no part of MPI ourselves: the program
    finds its variables as if it had been started without us."""
    rank, local_rank = (
        next(map(number, filter(os.environ.get, names)), 0) for names in (MPI_RANK, MPI_LOCAL_RANK)
    )
    # Of the helpers that mpirun starts, the first may be on the second node. It fills node by node.
    os.environ["SLURM_NODEID"] = str(rank // ranks)
    return run_program(rank, local_rank, "mpirun")


def sharing(launcher: str, ranks: int) -> int:
    """How many ranks share the CPUs of a task. A task of srun's is a rank. mpirun's helper is alone on its
    node, but SLURM_CPUS_PER_TASK is what the job has asked for each rank."""
    if launcher in ("srun", "none") or (launcher == "mpirun" and number("SLURM_CPUS_PER_TASK")):
        return 1
    return ranks


def node(launcher: str, ranks: int, address: str, port: int, options: Sequence[str]) -> int:
    set_defaults(sharing(launcher, ranks))
    if launcher == "mpirun":
        return mpi_rank(ranks)
    if launcher == "srun":
        name_rank(ranks, address, port)
    if launcher in ("srun", "none"):
        return run_program(number("SLURM_PROCID"), number("SLURM_LOCALID"), launcher)
    return start_ranks(launcher, ranks, address, port, options)


# --- finish: whose fault it was -----------------------------------------------------------------


def read_records(folder: str, kind: str) -> list[Record]:
    """The records of all ranks or nodes; one that cannot be read is as good as none."""
    found = []
    for name in sorted(os.listdir(folder)):
        if re.fullmatch(kind + r"-\d+\.json", name):
            with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, name)) as file:
                found.append({**json.load(file), "log": name[: -len("json")] + "log"})
    return found


def first_failure(folder: str) -> Record | None:
    """The rank that failed first of its own, without one the node's task that did. What was asked to
    stop (by Slurm, or because another had failed) did not fail."""
    for kind in ("rank", "node"):
        everyone = read_records(folder, kind)
        failed = [one for one in everyone if one["status"] not in (0, CHECKPOINTED) and not one["asked"]]
        if failed:
            return min(failed, key=lambda one: float(one["ended_s"]))
    return None


def settled_failure(folder: str) -> Record | None:
    """first_failure, when srun has failed. On NFS our list of the folder may be seconds old: a file
    made by ourselves makes the client look again."""
    for _ in range(6):
        write_result(folder, 1, None)
        failure = first_failure(folder)
        everyone = read_records(folder, "node") + read_records(folder, "rank")
        if failure or any(one["asked"] for one in everyone):
            return failure
        time.sleep(0.5)
    return None


def has_checkpointed(folder: str) -> bool:
    """Whether all ranks ended well, and some of them to be started again. srun's status does not tell:
    of a step that Slurm has signalled, newer releases say that it was cancelled."""
    everyone = read_records(folder, "rank") + read_records(folder, "node")
    nodes = {one.get("node") for one in everyone}
    statuses = {one["status"] for one in everyone}
    all_here = len(nodes) >= number("SLURM_JOB_NUM_NODES", 1)
    return all_here and statuses <= {0, CHECKPOINTED} and CHECKPOINTED in statuses


def end_state(folder: str, status: int, failure: Record | None) -> str:
    """How the attempt ended, in a word: docs/preemption.md."""
    if failure:
        return "do not restart" if failure["status"] == DO_NOT_RESTART else "failed"
    if has_checkpointed(folder):
        return "checkpointed"
    if not status:
        return "finished"
    everyone = read_records(folder, "rank") + read_records(folder, "node")
    return "stopped" if any(one["asked"] for one in everyone) else "failed"


def checkpoint(folder: str) -> Record | None:
    """The newest checkpoint that ranks told of, and how long it took the slowest."""
    marks = read_records(folder, "checkpoint")
    if not marks:
        return None
    step = max(int(one["step"]) for one in marks)
    seconds = [float(one["longest_s"]) for one in marks]
    return {"step": step, "seconds": round(max(seconds), 3)}


def write_result(folder: str, status: int, failure: Record | None) -> None:
    result = {
        "status": status,
        "state": end_state(folder, status, failure),
        "first_failure": failure,
        "checkpoint": checkpoint(folder),
        "ended_s": time.time(),
    }
    write_json(os.path.join(folder, "result.json"), result)


def describe(failure: Record, folder: str) -> str:
    """The failure in words."""
    rank = failure["rank"]
    who = "the launcher" if rank is None else f"rank {rank}"
    if failure.get("preflight"):
        who = "the preflight"
    if failure.get("container"):
        who = "the container"
    how = f"status {failure['status']}"
    if failure["signal"]:
        how = f"{failure['signal']} ({how})"
    if failure["signal"] == "SIGKILL":
        how += ", from outside: often the kernel, out of memory"
    also = f" (hostname {failure['hostname']})" if failure["hostname"] != failure["host"] else ""
    lines = [f"{who} on {failure['host']}{also} failed first: {how}"]
    lines += ["  | " + line for line in failure["last_lines"][-20:]]
    lines += [f"all it said: {os.path.join(folder, failure['log'])}"]
    return "\n".join("hpctools: " + line for line in lines) + "\n"


def finish(status: int) -> int:
    """Record and tell how the job ended; its status is that of the first failure, else srun's."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a job that is cancelled shall leave its result
    folder = attempt()
    is_saved = has_checkpointed(folder)
    failure = settled_failure(folder) if status and not is_saved else None
    if is_saved:
        status = CHECKPOINTED
        saved = checkpoint(folder)
        remark("all ranks have saved and left" + (f" at step {saved['step']}" if saved else ""))
    elif failure:
        put(1, describe(failure, folder).encode("utf-8", "surrogateescape"))
        status = int(failure["status"])
    elif status and not read_records(folder, "rank") + read_records(folder, "node"):
        remark(f"no node came as far as starting the ranks: why stands above (status {status})")
    elif status:
        remark(f"no rank failed by itself: Slurm or a user ended the job (status {status})")
    write_result(folder, status, failure)
    return status


def local(launcher: str, ranks: int, options: Sequence[str]) -> int:
    """The same job on this machine, without Slurm."""
    os.environ["HPCTOOLS_ATTEMPT"] = "0"  # not that of a job that we may be in
    for name in ("PROCID", "LOCALID", "NODEID", "NTASKS", "JOB_NUM_NODES", "CPUS_PER_TASK"):
        os.environ.pop("SLURM_" + name, None)
    port, claim = reserve(20000, 10000, os.getpid())
    with claim:
        return finish(node(launcher, ranks, "127.0.0.1", port, options))


def main(words: Sequence[str]) -> int:
    if words[:1] == ["agent"]:
        agent(words[1], words[2:])
        return 0
    parser = argparse.ArgumentParser(prog="launch.py", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("head", "node", "rank", "finish", "local"):
        command = commands.add_parser(name, allow_abbrev=False)
        if name == "head":
            command.add_argument("--port-base", type=int, default=20000)
            command.add_argument("--port-count", type=int, default=10000)
        if name in ("node", "local"):
            command.add_argument("--launcher", choices=LAUNCHERS, required=True)
            command.add_argument("--ranks-per-node", type=int, default=1)
            command.add_argument("--options", type=shlex.split, default=[], help="the launcher's own")
        if name == "node":
            command.add_argument("--master-addr", default="127.0.0.1")
            command.add_argument("--master-port", type=int, default=29500)
        if name == "rank":
            command.add_argument("owner", type=int)
        if name == "finish":
            command.add_argument("status", type=int)
    given = parser.parse_args(words)
    if given.command == "head":
        return head(given.port_base, given.port_count)
    if given.command == "node":
        where = (given.master_addr, given.master_port)
        return node(given.launcher, given.ranks_per_node, *where, given.options)
    if given.command == "rank":
        return launched_rank()
    if given.command == "finish":
        return finish(given.status)
    return local(given.launcher, given.ranks_per_node, given.options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
