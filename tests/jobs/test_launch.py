"""hpctools/jobs/runtime/launch.py as it runs in a job: real processes, without Slurm."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

LAUNCH = Path(__file__).parents[2] / "hpctools" / "jobs" / "runtime" / "launch.py"
UNTIL_GO = "until [ -e go ]; do sleep 0.05; done"
SLURM_IN_RANK_3 = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURMD_NODENAME": "n2"}


@dataclass
class Run:
    """A run folder, and how launch.py is started in it."""

    folder: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"], **SLURM_IN_RANK_3})
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def attempt(self) -> Path:
        return self.folder / "attempt-0"

    @property
    def log(self) -> bytes:
        return (self.attempt / "rank-00003.log").read_bytes()

    def record(self, name: str = "rank-00003") -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.attempt / f"{name}.json").read_text())
        return loaded

    def words(self, *given: str) -> list[str]:
        return [sys.executable, "-I", "-S", str(self.folder / "launch.py"), *given]

    def start(self, *given: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self.words(*given), env=self.env, stdout=subprocess.PIPE, cwd=self.folder)
        self.started.append(process)
        return process

    def call(self, *given: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.words(*given), env=self.env, stdout=subprocess.PIPE, timeout=60, cwd=self.folder
        )

    def program(self, *argv: str) -> Run:
        (self.folder / "argv.json").write_text(json.dumps(argv))
        return self

    def python(self, code: str) -> Run:
        return self.program(sys.executable, "-I", "-S", "-c", code)

    def bash(self, code: str) -> Run:
        return self.program("bash", "-c", code)

    def rank(self) -> subprocess.CompletedProcess[bytes]:
        """Run the program as rank 3, to its end."""
        return self.call("node", "--launcher=none")

    def go(self) -> None:
        """Let a program go on that waits for it: UNTIL_GO."""
        (self.folder / "go").touch()

    def start_rank(self, until: str = "ready") -> subprocess.Popen[bytes]:
        """Start the program as rank 3, and wait until it has written until."""
        process = self.start("node", "--launcher=none")
        wait_for(lambda: (self.attempt / "rank-00003.log").exists() and until.encode() in self.log)
        return process


def output_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that waits to be reaped has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    shutil.copy(LAUNCH, tmp_path)
    run = Run(tmp_path)
    yield run
    for process in run.started:
        process.kill()
        process.wait()
        output_of(process).close()


# --- statuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_a_rank_ends_with_the_status_of_its_program(run: Run, status: int) -> None:
    assert run.bash(f"exit {status}").rank().returncode == status
    assert (run.record()["status"], run.record()["signal"]) == (status, None)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM"])
def test_a_program_that_a_signal_ends_is_recorded_with_its_name(run: Run, name: str) -> None:
    status = 128 + signal.Signals[name]
    assert run.bash(f"kill -{name} $$").rank().returncode == status
    assert (run.record()["status"], run.record()["signal"]) == (status, name)


def test_a_real_time_signal_has_no_name_but_a_number(run: Run) -> None:
    assert run.bash("kill -40 $$").rank().returncode == 168
    assert run.record()["signal"] == "signal 40"


def test_a_program_that_is_not_there_is_127_with_a_message_in_its_log(run: Run) -> None:
    assert run.program("/no/such program").rank().returncode == 127
    assert run.record()["last_lines"] == ["hpctools: cannot run /no/such program: No such file or directory"]


def test_a_program_that_cannot_be_run_is_126(run: Run) -> None:
    assert run.program(str(run.folder / "argv.json")).rank().returncode == 126
    assert "Permission denied" in run.record()["last_lines"][0]


def test_a_record_says_where_and_when_the_rank_ran(run: Run) -> None:
    began = time.time()
    run.bash("echo $$; sleep 0.2").rank()
    record = run.record()
    assert (record["rank"], record["local_rank"], record["node"], record["host"]) == (3, 1, 1, "n2")
    assert record["pid"] == int(run.log)
    assert began <= record["started_s"] <= record["ended_s"] - 0.2
    assert record["asked"] is False
    assert (run.attempt / "rank-00003.json").stat().st_mode & 0o777 == 0o600


def test_a_requeued_job_and_a_task_of_an_array_have_folders_of_their_own(run: Run) -> None:
    run.env |= {"SLURM_RESTART_COUNT": "2", "SLURM_ARRAY_TASK_ID": "7"}
    run.bash("echo $HPCTOOLS_RUN").rank()
    assert (run.folder / "task-7/attempt-2/rank-00003.log").read_text() == f"{run.folder}/task-7\n"


# --- the program's words and environment --------------------------------------------------------


def test_arguments_reach_the_program_byte_for_byte(run: Run) -> None:
    hostile = [
        "",
        " a  b ",
        "$(touch x)",
        "`id`",
        "'\"",
        ";#&|",
        "a\nb\t",
        "ä→😀",
        "\udcff\udc80",
        "-rf",
        "*",
    ]
    code = "import os, sys; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    run.program(sys.executable, "-c", code, *hostile).rank()
    assert run.log == b"\0".join(word.encode("utf-8", "surrogateescape") for word in hostile)
    assert not (run.folder / "x").exists()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "en_US.ISO-8859-1"])
def test_the_locale_of_the_job_changes_no_argument(run: Run, locale: str) -> None:
    run.env["LC_ALL"] = locale
    run.program("printf", "%s", "ä\udcff").rank()
    assert run.log == b"\xc3\xa4\xff"


def test_a_program_gets_its_share_of_the_cpus_and_unbuffered_output(run: Run) -> None:
    run.env["SLURM_CPUS_PER_TASK"] = "1"
    run.bash("echo $OMP_NUM_THREADS $PYTHONUNBUFFERED").rank()
    assert run.log == b"1 1\n"


def test_what_the_user_has_set_stays(run: Run) -> None:
    run.env |= {"OMP_NUM_THREADS": "5", "PYTHONUNBUFFERED": ""}
    run.bash("echo $OMP_NUM_THREADS [$PYTHONUNBUFFERED]").rank()
    assert run.log == b"5 []\n"


# --- output -------------------------------------------------------------------------------------


def test_lines_of_both_outputs_are_shown_with_the_rank_and_logged_as_they_are(run: Run) -> None:
    shown = run.bash("echo one; echo two >&2; echo; printf end").rank().stdout
    assert run.log == b"one\ntwo\n\nend"
    assert shown == b"[3] one\n[3] two\n[3] \n[3] end\n"


def test_bytes_that_are_no_text_pass_through(run: Run) -> None:
    assert run.program("printf", r"\377\200\0x\n").rank().stdout == b"[3] \xff\x80\0x\n"
    assert run.log == b"\xff\x80\0x\n"
    assert run.record()["last_lines"] == ["\ufffd\ufffd\0x"]


def test_a_line_is_shown_when_it_is_whole_and_logged_at_once(run: Run) -> None:
    process = run.bash(f"printf rea; printf dy; {UNTIL_GO}; echo .").start_rank("ready")
    os.set_blocking(output_of(process).fileno(), False)
    assert output_of(process).read() is None
    run.go()
    process.wait(60)
    assert output_of(process).read() == b"[3] ready.\n"


def test_of_a_progress_bar_one_state_a_second_is_shown_and_the_last(run: Run) -> None:
    began = time.monotonic()
    code = (
        r"until [ -e go ]; do printf '\rat %d' $((++i)); sleep 0.02; done; printf '\rat its end\n'; echo end"
    )
    process = run.bash(code).start("node", "--launcher=none")
    states = [output_of(process).readline() for _ in range(3)]
    run.go()
    states += output_of(process).readlines()
    assert [state for state in states[:-2] if not re.fullmatch(rb"\[3\] at \d+\n", state)] == []
    assert states[-2:] == [b"[3] at its end\n", b"[3] end\n"]
    assert len(states) <= time.monotonic() - began + 3
    assert run.log.count(b"\r") > len(states)


def test_the_last_state_of_a_progress_bar_is_shown_once(run: Run) -> None:
    assert run.program("printf", r"50%%\r100%%\r\n").rank().stdout == b"[3] 100%\n"


def test_lines_that_end_as_on_windows_are_lines(run: Run) -> None:
    assert run.program("printf", r"a\r\nb\r\n").rank().stdout == b"[3] a\n[3] b\n"


def test_a_line_too_long_for_slurm_comes_in_pieces_that_cut_no_character(run: Run) -> None:
    text = "x" + "ä→😀" * 1000
    shown = run.python(f"import os; os.write(1, {text.encode()!r} + b'\\n')").rank().stdout
    assert max(map(len, shown.splitlines(keepends=True))) <= 1024
    assert "".join(line.decode().removeprefix("[3] ") for line in shown.splitlines()) == text
    assert run.log.decode() == text + "\n"


def test_a_program_that_writes_no_newline_is_shown_in_pieces(run: Run) -> None:
    shown = run.bash("head -c 1000000 /dev/zero | tr '\\0' x").rank().stdout
    assert sum(len(line) - 4 for line in shown.splitlines()) == 1_000_000


def test_ranks_that_share_an_output_never_write_into_each_others_lines(run: Run) -> None:
    code = "import sys\nfor i in range(5000): print(sys.argv[1] * (1 + i % 900), flush=i % 3 == 0)"
    reader, writer = os.pipe()
    ranks = []
    for rank, letter in enumerate("abcd"):
        run.program(sys.executable, "-c", code, letter)
        env = {**run.env, "SLURM_PROCID": str(rank), "PYTHONUNBUFFERED": ""}
        folder = run.folder / letter
        shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("a", "b", "c", "d"))
        words = [sys.executable, "-I", "-S", str(folder / "launch.py"), "node", "--launcher=none"]
        ranks.append(subprocess.Popen(words, env=env, stdout=writer))
    os.close(writer)
    with open(reader, "rb") as output:
        lines = output.read().splitlines()
    assert [rank.wait(60) for rank in ranks] == [0, 0, 0, 0]
    assert len(lines) == 20_000
    assert {(line[:4], bytes(set(line[4:]))) for line in lines} == {
        (b"[0] ", b"a"), (b"[1] ", b"b"), (b"[2] ", b"c"), (b"[3] ", b"d"),
    }  # fmt: skip


def test_the_last_fifty_lines_are_recorded(run: Run) -> None:
    run.bash("seq 100000").rank()
    assert run.record()["last_lines"] == [str(number) for number in range(99951, 100001)]


def test_a_full_disk_ends_the_log_and_not_the_program(run: Run) -> None:
    run.attempt.mkdir()
    (run.attempt / "rank-00003.log").symlink_to("/dev/full")
    done = run.bash("echo one; sleep 0.1; echo two").rank()
    assert done.returncode == 0
    assert done.stdout == b"hpctools: the log of [3] ends here: No space left on device\n[3] one\n[3] two\n"


def test_a_program_goes_on_when_nobody_reads_what_it_shows(run: Run) -> None:
    process = run.bash("echo ready; sleep 0.5; seq 100000; exit 4").start_rank()
    output_of(process).close()
    assert process.wait(60) == 4
    assert run.log.endswith(b"\n100000\n")


def test_a_child_that_the_program_leaves_behind_is_not_waited_for(run: Run) -> None:
    run.bash("sleep 600 & echo ready; kill -KILL $$")
    for _ in range(10):  # a busy machine may not let it start at once
        assert run.rank().returncode == 137
        if run.record()["ended_s"] - run.record()["started_s"] < 0.5:  # and it ended when it ended
            return
    raise AssertionError(run.record())


def test_a_child_that_is_left_behind_and_talks_on_is_not_listened_to_for_long(run: Run) -> None:
    assert run.bash("(while sleep 0.01; do echo x; done) & exit 6").rank().returncode == 6


def test_a_program_that_closes_its_output_is_waited_for(run: Run) -> None:
    assert run.bash("exec >&- 2>&-; sleep 1; exit 5").rank().returncode == 5


# --- signals ------------------------------------------------------------------------------------

# A line of bash that says each time that it hears the signal, and waits for a second one.
HEARS = "trap 'echo heard; n=1' {}; echo ready; until [ \"$n\" ]; do sleep 0.05; done; sleep 0.5"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2"])
def test_a_signal_reaches_the_programs_handler_once(run: Run, name: str) -> None:
    """bash can only trap what was not ignored when it started."""
    process = run.bash(f"{HEARS.format(name)}; exit 3").start_rank()
    process.send_signal(signal.Signals[name])
    assert process.wait(60) == 3
    assert run.log == b"ready\nheard\n"
    assert run.record()["asked"] is (name in ("SIGTERM", "SIGINT"))


def test_a_program_that_is_told_to_stop_is_recorded_as_asked(run: Run) -> None:
    process = run.bash("echo ready; exec sleep 60").start_rank()
    process.terminate()
    assert process.wait(60) == 143
    assert (run.record()["signal"], run.record()["asked"]) == ("SIGTERM", True)


def test_who_hears_the_end_of_the_job_after_its_program_was_asked_too(run: Run) -> None:
    for _ in range(10):  # on a busy machine we may come too late
        process = run.bash("echo ready; exec sleep 60").start_rank()
        os.kill(int(children(process.pid)[0]), signal.SIGTERM)
        time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 143
        if run.record()["asked"]:
            return
        (run.attempt / "rank-00003.log").unlink()
    raise AssertionError(run.record())


HANDLES = """
import signal, sys, time
heard = []
time.sleep(float(sys.argv[2]))
signal.signal(getattr(signal, sys.argv[1]), lambda number, _: heard.append(signal.Signals(number).name))
print("handles", flush=True)
while not heard:
    time.sleep(0.02)
print(*heard, flush=True)
time.sleep(0.3)
print(len(heard), flush=True)
sys.exit(75)
"""


@pytest.mark.parametrize("handled", ["SIGUSR1", "SIGTERM"])
@pytest.mark.parametrize("sent", ["SIGUSR1", "SIGTERM"])
def test_either_warning_reaches_the_handler_that_there_is(run: Run, sent: str, handled: str) -> None:
    run.program(sys.executable, "-c", HANDLES, handled, "0")
    process = run.start_rank("handles")
    process.send_signal(signal.Signals[sent])
    assert process.wait(60) == 0  # it has saved: that is no failure to srun
    assert run.log.decode() == f"handles\n{handled}\n1\n"
    assert (run.record()["status"], run.record()["heard"]) == (75, True)
    assert run.record()["warned_by"] == sent


def test_a_warning_is_kept_for_a_program_that_has_no_handler_yet(run: Run) -> None:
    run.program(sys.executable, "-c", "print('ready', flush=True)\n" + HANDLES, "SIGUSR1", "1.5")
    process = run.start_rank("ready")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert run.log == b"ready\nhandles\nSIGUSR1\n1\n"


def test_a_descendant_that_handles_it_is_warned_and_its_parents_are_not(run: Run) -> None:
    code = '"$@"; echo after $?'
    run.program(
        "bash", "-c", code, "-", "bash", "-c", code, "-", sys.executable, "-c", HANDLES, "SIGUSR1", "0"
    )
    process = run.start_rank("handles")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert run.log == b"handles\nSIGUSR1\n1\nafter 75\nafter 0\n"


def test_a_program_without_a_handler_survives_usr1_and_says_so(run: Run) -> None:
    code = "import os, time\nprint('ready', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.05)"
    process = run.python(code).start_rank()
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)  # it has time to die of it
    run.go()
    assert process.wait(60) == 0
    assert b"rank 3 was warned that the job will end, but has no handler" in output_of(process).read()


def test_a_forked_copy_of_a_rank_is_not_warned(run: Run) -> None:
    """As a data loader's worker is: it has the handler of the process that made it."""
    code = """
import os, signal, time
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(os.getpid()))
reader, writer = os.pipe()
worker = os.fork()
print("ready", flush=True) if worker else os.close(writer)
while worker and not heard:
    time.sleep(0.02)
time.sleep(0.5) if worker else None
print("rank", len(heard), flush=True) if worker else os.read(reader, 1)
print("worker", len(heard), flush=True) if not worker else os.close(writer)
os.wait() if worker else os._exit(0)
"""
    process = run.python(code).start_rank()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert sorted(run.log.split(b"\n")[1:3]) == [b"rank 1", b"worker 0"]


def test_a_script_of_a_shell_may_trap_usr1(run: Run) -> None:
    script = run.folder / "train.sh"
    script.write_text(
        "#!/usr/bin/env bash\ntrap 'echo heard; exit 75' USR1\necho ready\nwhile sleep 0.1; do :; done\n"
    )
    script.chmod(0o700)
    process = run.program(str(script)).start_rank()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert run.record()["status"] == 75


def test_a_program_dies_with_a_wrapper_that_is_killed(run: Run) -> None:
    process = run.bash("echo ready; exec sleep 60").start_rank()
    (pid,) = children(process.pid)
    process.kill()
    process.wait(60)
    wait_for(lambda: not is_running(pid))


def test_a_wrapper_whose_parent_dies_ends_its_program(run: Run) -> None:
    run.bash("trap 'echo told; exit 9' TERM; echo ready; while sleep 0.1; do :; done")
    parent = subprocess.Popen(
        ["bash", "-c", '"$@" & wait', "-", *run.words("node", "--launcher=none")], env=run.env
    )
    wait_for(lambda: (run.attempt / "rank-00003.log").exists() and b"ready" in run.log)
    parent.kill()
    parent.wait(60)
    wait_for((run.attempt / "rank-00003.json").exists)
    assert (run.record()["status"], run.record()["asked"]) == (9, True)


def test_an_orphan_that_does_not_listen_is_killed(run: Run) -> None:
    run.bash("trap '' TERM; echo ready; while sleep 0.1; do :; done")
    parent = subprocess.Popen(
        ["bash", "-c", '"$@" & wait', "-", *run.words("node", "--launcher=none")], env=run.env
    )
    wait_for(lambda: (run.attempt / "rank-00003.log").exists() and b"ready" in run.log)
    parent.kill()
    parent.wait(60)
    wait_for((run.attempt / "rank-00003.json").exists)
    assert run.record()["signal"] == "SIGKILL"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- head ---------------------------------------------------------------------------------------


def start_head(run: Run, *given: str) -> tuple[subprocess.Popen[bytes], int]:
    process = run.start("head", *given)
    return process, int(output_of(process).readline().split()[1])


def end_head(process: subprocess.Popen[bytes]) -> None:
    """Close the reader's end, as the batch script does by ending."""
    output_of(process).close()
    assert process.wait(60) == 0


@pytest.fixture
def block() -> int:
    """The first of ten ports that nobody uses."""
    first = os.getpid() % 150
    for number in range(150):
        block = 31_000 + (first + number) % 150 * 10
        if all(is_unused(block + port) for port in range(10)):
            return block
    raise AssertionError("no ten ports are free")


def is_unused(port: int) -> bool:
    with socket.socket() as probe, socket.socket(socket.AF_UNIX) as claim:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104
            claim.bind(f"\0hpctools-port-{port}")
        except OSError:
            return False
    return True


def test_the_port_follows_from_the_job_within_the_sites_range(run: Run, block: int) -> None:
    run.env["SLURM_JOB_ID"] = "12345"
    process, port = start_head(run, f"--port-base={block}", "--port-count=10")
    end_head(process)
    assert port == block + 5


def test_two_jobs_on_one_node_never_share_a_port(run: Run, block: int) -> None:
    run.env["SLURM_JOB_ID"] = "10"
    started = [start_head(run, f"--port-base={block}", "--port-count=3") for _ in range(3)]
    assert [port - block for _, port in started] == [1, 2, 0]
    for process, _ in started:
        end_head(process)


def test_a_port_is_free_again_when_its_job_has_ended(run: Run, block: int) -> None:
    for _ in range(2):
        process, port = start_head(run, f"--port-base={block}", "--port-count=1")
        assert port == block
        end_head(process)


def test_a_port_is_held_while_any_process_of_the_script_reads_on(run: Run, block: int) -> None:
    process, _ = start_head(run, f"--port-base={block}", "--port-count=1")
    time.sleep(0.5)
    assert process.poll() is None
    assert run.call("head", f"--port-base={block}", "--port-count=1").returncode == 1
    end_head(process)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_port_that_another_program_listens_on_is_stepped_over(run: Run, block: int, address: str) -> None:
    with socket.socket() as other:
        other.bind((address, block))
        other.listen()
        run.env["SLURM_JOB_ID"] = "0"
        process, port = start_head(run, f"--port-base={block}", "--port-count=10")
        end_head(process)
    assert port == block + 1


def test_no_free_port_is_a_message_and_an_error(run: Run, block: int) -> None:
    with socket.create_server(("127.0.0.1", block)):
        words = run.words("head", f"--port-base={block}", "--port-count=1")
        done = subprocess.run(words, env=run.env, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"hpctools: no free port between {block} and {block}\n"


def fake_scontrol(run: Run, answer: str) -> None:
    program = run.folder / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'show node --oneliner gpu-17.invalid' ] && echo '{answer}'\n")
    program.chmod(0o755)
    run.env |= {"PATH": f"{program.parent}:{run.env['PATH']}", "SLURM_JOB_ID": "1"}


def head_address(run: Run, name: str) -> str:
    run.env |= {"SLURM_JOB_ID": "1", "SLURMD_NODENAME": name}
    process = run.start("head")
    address = output_of(process).readline().decode().split()[0]
    end_head(process)
    return address


def test_the_address_is_the_nodes_name_where_it_resolves_to_this_machine(run: Run) -> None:
    assert head_address(run, "localhost") == "localhost"


def test_the_address_is_slurms_own_where_the_name_does_not_resolve(run: Run) -> None:
    fake_scontrol(run, "NodeName=gpu-17.invalid Arch=x86_64 NodeAddr=10.1.2.17 NodeHostName=gpu-17 Port=6818")
    assert head_address(run, "gpu-17.invalid") == "10.1.2.17"


def test_the_address_is_the_name_where_slurm_does_not_say(run: Run) -> None:
    run.env["PATH"] = "/nonexistent"
    assert head_address(run, "gpu-17.invalid") == "gpu-17.invalid"


# --- srun ---------------------------------------------------------------------------------------

SRUN = ("node", "--launcher=srun", "--ranks-per-node=2", "--master-addr=n1", "--master-port=20012")


def test_a_rank_of_srun_is_told_what_torchrun_would_tell_it(run: Run) -> None:
    run.env |= {"SLURM_NTASKS": "8", "SLURM_CPUS_PER_TASK": "1", "RANK": "of another launch"}
    names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK MASTER_ADDR MASTER_PORT OMP_NUM_THREADS"
    assert run.bash(f"for name in {names}; do echo ${{!name}}; done").call(*SRUN).returncode == 0
    assert run.log.split() == b"3 8 1 2 1 n1 20012 1".split()


def test_a_rank_of_srun_that_fails_tells_the_others(run: Run) -> None:
    for status, failed in ((0, False), (75, False), (7, True)):
        run.bash(f"exit {status}").call(*SRUN)
        assert (run.attempt / "failed").exists() == failed


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
print("ready", flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_rank_is_not_waited_for_when_another_has_failed(run: Run, has_failed: bool) -> None:
    """srun's SIGTERM is a warning otherwise, and the rank may save for as long as Slurm lets it."""
    launch = run.folder / "launch.py"
    text = launch.read_text()
    assert "SHUTDOWN_S = 10\n" in text
    launch.write_text(text.replace("SHUTDOWN_S = 10\n", "SHUTDOWN_S = 0.5\n"))
    process = run.python(DEAF).start(*SRUN)
    wait_for(lambda: (run.attempt / "rank-00003.log").exists() and b"ready" in run.log)
    if has_failed:
        (run.attempt / "failed").touch()
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: b"heard" in run.log)
    if not has_failed:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        return
    assert process.wait(20) == 137
    assert (run.record()["asked"], run.record()["warned_s"]) == (True, None)


@pytest.mark.parametrize("in_job", [True, False])
def test_what_a_program_leaves_running_ends_with_a_job(run: Run, in_job: bool) -> None:
    """Also what has made itself independent; without Slurm nobody else would end it."""
    if in_job:
        run.env["SLURM_JOB_ID"] = "12"
    assert run.bash("(setsid sleep 1000 >/dev/null 2>&1 & echo $!)").rank().returncode == 0
    left = int(run.log)
    try:
        assert is_running(left) != in_job
    finally:
        if is_running(left):
            os.kill(left, signal.SIGKILL)


# --- torchrun -----------------------------------------------------------------------------------

# Stands for torch.distributed.run: writes its words down, starts the ranks, and makes a noise.
TORCHRUN = """
import json, os, subprocess, sys
words = sys.argv[1:]
json.dump(words, open(os.environ["WORDS"], "w"))
def say(when):
    if when == os.environ["SAYS"]:
        print("NOISE", file=sys.stderr, flush=True)
say("early")
program = words[words.index("--no_python") + 1:]
envs = [{**os.environ, "RANK": str(6 + n), "LOCAL_RANK": str(n)} for n in range(2)]
ranks = [subprocess.Popen(program, env=env) for env in envs]
status = int(any([rank.wait() for rank in ranks]))
say("late")
sys.exit(status)
"""


@pytest.fixture
def torchrun(run: Run) -> Run:
    package = run.folder / "lib" / "torch" / "distributed"
    package.mkdir(parents=True)
    for folder in (package, package.parent):  # a torch that is installed would win over a namespace
        (folder / "__init__.py").touch()
    (package / "run.py").write_text(TORCHRUN)
    run.env |= {"PYTHONPATH": str(run.folder / "lib"), "WORDS": str(run.folder / "words.json")}
    run.env["SAYS"] = "early"
    run.env |= {"SLURM_NODEID": "3", "SLURM_JOB_NUM_NODES": "4", "SLURMD_NODENAME": "n4"}
    return run


NODE = ("node", "--launcher=torchrun", "--ranks-per-node=2", "--master-addr=n1", "--master-port=20012")


def test_torchrun_gets_slurms_numbers_in_words_that_old_ones_know(torchrun: Run) -> None:
    assert torchrun.bash("exit 0").call(*NODE).returncode == 0
    assert json.loads((torchrun.folder / "words.json").read_text())[:7] == [
        "--nnodes=4", "--nproc_per_node=2", "--rdzv_backend=static", "--node_rank=3",
        "--master_addr=n1", "--master_port=20012", "--no_python",
    ]  # fmt: skip


def test_each_rank_of_torchrun_has_its_log_and_record(torchrun: Run) -> None:
    shown = torchrun.bash("echo $RANK on $SLURMD_NODENAME").call(*NODE).stdout
    assert sorted(shown.splitlines()) == [b"[6] 6 on n4", b"[7] 7 on n4"]
    assert (torchrun.attempt / "rank-00007.log").read_text() == "7 on n4\n"
    assert torchrun.record("rank-00007")["local_rank"] == 1
    node = torchrun.record("node-003")
    assert (node["rank"], node["node"], node["host"], node["status"]) == (None, 3, "n4", 0)


def test_what_a_launcher_says_is_shown_while_it_runs(torchrun: Run) -> None:
    process = torchrun.bash(UNTIL_GO).start(*NODE)
    assert output_of(process).readline() == b"[n4] NOISE\n"
    torchrun.go()
    assert process.wait(60) == 0
    assert output_of(process).read() == b""


@pytest.mark.parametrize(("status", "node_status"), [(0, 0), (7, 1)])
def test_what_a_launcher_says_at_its_end_stands_in_its_log_and_record_only(
    torchrun: Run, status: int, node_status: int
) -> None:
    torchrun.env["SAYS"] = "late"
    done = torchrun.bash(f"exit {status}").call(*NODE)
    assert (done.returncode, done.stdout) == (node_status, b"")
    assert (torchrun.attempt / "node-003.log").read_text() == "NOISE\n"
    assert torchrun.record("node-003")["last_lines"] == ["NOISE"]


def start_ranks(torchrun: Run) -> subprocess.Popen[bytes]:
    process = torchrun.start(*NODE)
    logs = [torchrun.attempt / f"rank-0000{rank}.log" for rank in (6, 7)]
    wait_for(lambda: all(log.exists() and b"ready" in log.read_bytes() for log in logs))
    return process


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_a_warning_goes_to_the_ranks_and_not_to_torchrun(torchrun: Run, name: str) -> None:
    process = start_ranks(torchrun.bash(HEARS.format(name)))
    process.send_signal(signal.Signals[name])
    assert process.wait(60) == 0
    assert (torchrun.attempt / "rank-00006.log").read_text() == "ready\nheard\n"
    assert (torchrun.attempt / "rank-00007.log").read_text() == "ready\nheard\n"


def test_a_node_that_is_told_to_stop_ends_with_the_signals_status(torchrun: Run) -> None:
    process = start_ranks(torchrun.bash("echo ready; exec sleep 60"))
    process.terminate()
    assert process.wait(60) == 143
    assert torchrun.record("node-003")["asked"] is True


@pytest.mark.parametrize("sent", ["SIGUSR1", "SIGTERM"])
def test_ranks_of_torchrun_are_warned_once_and_torchrun_is_not_told(torchrun: Run, sent: str) -> None:
    both = HANDLES.replace(
        'print("handles"', 'signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGUSR1))\nprint("ready"'
    )
    process = start_ranks(torchrun.program(sys.executable, "-c", both, "SIGUSR1", "0"))
    process.send_signal(signal.Signals[sent])
    assert process.wait(60) == 0
    for rank in ("6", "7"):
        assert (torchrun.attempt / f"rank-0000{rank}.log").read_text() == "ready\nSIGUSR1\n1\n"
    assert torchrun.record("node-003")["heard"] is True


def test_a_warning_is_kept_until_torchrun_has_started_its_ranks(torchrun: Run) -> None:
    late = TORCHRUN.replace("ranks = [", "import time; time.sleep(1.5)\nranks = [")
    (torchrun.folder / "lib" / "torch" / "distributed" / "run.py").write_text(late)
    torchrun.program(sys.executable, "-c", HANDLES, "SIGUSR1", "0")
    process = torchrun.start(*NODE)
    wait_for((torchrun.folder / "words.json").exists)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 0
    assert (torchrun.attempt / "rank-00006.log").read_text() == "handles\nSIGUSR1\n1\n"


def test_a_signal_to_all_processes_does_not_end_torchrun(torchrun: Run) -> None:
    """As proctrack/linuxproc sends it."""
    both = HANDLES.replace(
        'print("handles"', 'signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGUSR1))\nprint("ready"'
    )
    process = start_ranks(torchrun.program(sys.executable, "-c", both, "SIGUSR1", "0"))
    (launcher,) = children(process.pid)
    everyone = [
        process.pid,
        launcher,
        *children(launcher),
        *(p for w in children(launcher) for p in children(w)),
    ]
    for pid in everyone:
        os.kill(pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert len(everyone) == 6
    assert torchrun.record("rank-00006")["status"] == 75


def test_no_rank_outlives_a_torchrun_that_is_killed(torchrun: Run) -> None:
    process = start_ranks(torchrun.bash("echo ready; exec sleep 60"))
    (launcher,) = children(process.pid)
    os.kill(launcher, signal.SIGKILL)
    assert process.wait(60) == 137
    for rank in ("rank-00006", "rank-00007"):
        wait_for((torchrun.attempt / f"{rank}.json").exists)
        assert not is_running(torchrun.record(rank)["pid"])


# --- finish -------------------------------------------------------------------------------------


def write_records(run: Run, records: Mapping[str, Mapping[str, Any]]) -> None:
    run.attempt.mkdir()
    for name, given in records.items():
        rank = int(name[5:]) if name.startswith("rank") else None
        usual: dict[str, Any] = {
            "rank": rank,
            "node": 1,
            "host": "n2",
            "hostname": "n2",
            "signal": None,
            "asked": False,
            "last_lines": [],
        }
        (run.attempt / f"{name}.json").write_text(json.dumps({**usual, **given}))


def finish(run: Run, status: int, records: Mapping[str, Mapping[str, Any]]) -> tuple[int, str]:
    """The job's status, and the name of the log of who failed first."""
    write_records(run, records)
    done = run.call("finish", str(status))
    result = run.record("result")
    assert result["status"] == done.returncode
    return done.returncode, (result["first_failure"] or {"log": ""})["log"]


def test_the_job_ends_as_the_rank_that_failed_first(run: Run) -> None:
    later, first = {"status": 1, "ended_s": 100.5}, {"status": 7, "ended_s": 100.4}
    assert finish(run, 143, {"rank-00000": later, "rank-00005": first}) == (7, "rank-00005.log")


def test_a_rank_that_was_told_to_stop_has_not_failed(run: Run) -> None:
    asked = {"status": 143, "ended_s": 100.0, "asked": True}
    failed = {"status": 9, "ended_s": 100.1}
    assert finish(run, 143, {"rank-00000": asked, "rank-00001": failed}) == (9, "rank-00001.log")


def test_a_job_that_slurm_ended_is_nobodys_failure(run: Run) -> None:
    asked = {"status": 143, "ended_s": 100.0, "asked": True}
    assert finish(run, 143, {"rank-00000": asked, "node-000": asked}) == (143, "")


def test_without_a_failed_rank_it_is_the_launcher_that_failed(run: Run) -> None:
    records = {"rank-00000": {"status": 0, "ended_s": 1.0}, "node-001": {"status": 1, "ended_s": 2.0}}
    assert finish(run, 143, records) == (1, "node-001.log")


def test_without_any_record_the_job_ends_as_srun(run: Run) -> None:
    assert finish(run, 5, {}) == (5, "")


def test_a_job_is_done_when_srun_says_so(run: Run) -> None:
    """A launcher may start a failed rank again."""
    assert finish(run, 0, {"rank-00000": {"status": 1, "ended_s": 1.0}}) == (0, "")


def test_ranks_that_have_saved_are_to_be_started_again_whatever_srun_says(run: Run) -> None:
    saved = {"status": 75, "ended_s": 1.0, "asked": True}
    assert finish(
        run, 143, {"rank-00000": saved, "rank-00001": saved, "node-001": {**saved, "status": 0}}
    ) == (75, "")
    assert run.record("result")["state"] == "checkpointed"


def test_a_node_without_a_record_has_not_saved(run: Run) -> None:
    run.env["SLURM_JOB_NUM_NODES"] = "2"
    saved = {"status": 75, "ended_s": 1.0, "asked": True}
    assert finish(run, 143, {"rank-00000": saved}) == (143, "")
    assert run.record("result")["state"] == "stopped"


@pytest.mark.parametrize(
    ("status", "asked", "state"),
    [(0, False, "finished"), (7, False, "failed"), (93, False, "do not restart"), (143, True, "stopped")],
)
def test_a_result_says_in_a_word_how_it_ended(run: Run, status: int, asked: bool, state: str) -> None:
    finish(run, status, {"rank-00000": {"status": status, "ended_s": 1.0, "asked": asked}})
    assert run.record("result")["state"] == state


def test_a_result_tells_of_the_newest_checkpoint_and_the_slowest_rank(run: Run) -> None:
    write_records(run, {"rank-00000": {"status": 0, "ended_s": 1.0}})
    for rank, longest_s in ((0, 1.5), (1, 9.25)):
        (run.attempt / f"checkpoint-0000{rank}.json").write_text(
            json.dumps({"step": 40, "longest_s": longest_s})
        )
    run.call("finish", "0")
    assert run.record("result")["checkpoint"] == {"step": 40, "seconds": 9.25}


def test_half_a_record_is_none(run: Run) -> None:
    run.attempt.mkdir()
    (run.attempt / "rank-00000.json").write_text('{"rank": 0, "sta')
    assert run.call("finish", "3").returncode == 3


def test_a_failure_is_told_in_words(run: Run) -> None:
    failed = {"status": 137, "signal": "SIGKILL", "ended_s": 1.0, "last_lines": ["loading", "ä 100%"]}
    write_records(run, {"rank-00002": failed})
    lines = run.call("finish", "1").stdout.decode().splitlines()
    assert lines[0].startswith("hpctools: rank 2 on n2 failed first: SIGKILL (status 137), from outside")
    assert lines[1:] == [
        "hpctools:   | loading",
        "hpctools:   | ä 100%",
        f"hpctools: all it said: {run.attempt}/rank-00002.log",
    ]


# --- local --------------------------------------------------------------------------------------


def test_a_job_runs_without_slurm(run: Run) -> None:
    for name in SLURM_IN_RANK_3:
        del run.env[name]
    done = run.bash("echo hello; exit 7").call("local", "--launcher=none")
    assert done.returncode == 7
    assert done.stdout.startswith(b"[0] hello\nhpctools: rank 0 on ")
    assert run.record("result")["first_failure"]["status"] == 7


@pytest.mark.parametrize("words", [(), ("nod",), ("finish",), ("finish", "x"), ("node", "--laun=none")])
def test_wrong_words_are_refused(run: Run, words: Sequence[str]) -> None:
    assert subprocess.run(run.words(*words), env=run.env, stderr=subprocess.DEVNULL).returncode == 2
