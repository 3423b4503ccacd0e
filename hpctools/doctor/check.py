"""What a check is, and how many of them run at once without ever hanging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hpctools.errors import HpctoolsError
from hpctools.process import Run

OK, WARNING, PROBLEM = "ok", "warning", "problem"

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One thing looked at. verdict: ok, warning (works, but), problem (jobs need it and it is broken).

    found: what is there. advice: what to do about it; empty when nothing is.
    """

    name: str
    verdict: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Answer:
    """What a program printed (text), or why it gave none (error)."""

    text: str = ""
    error: str = ""


def ask(run: Run, argv: Sequence[str], timeout_s: float, stdin: str | None = None) -> Answer:
    """Run a program for at most timeout_s seconds; whatever goes wrong becomes the answer's error."""
    try:
        done = run(argv, timeout_s=timeout_s, stdin=stdin)
    except HpctoolsError as error:
        return Answer(error=str(error))
    if done.status != 0:
        return Answer(done.stdout, done.stderr.strip() or f"{argv[0]} ended with status {done.status}")
    return Answer(done.stdout)


def at_once(
    probes: Mapping[str, Callable[[], T]], limit_s: float, otherwise: Callable[[str, str], T]
) -> list[T]:
    """What each probe returns, in order; otherwise(name, why) for one that fails or takes too long.

    Each runs in a thread that is left behind when its time is over: a look at a dead file server
    cannot be interrupted from inside of the process.
    """
    import threading
    import time

    results: dict[str, T] = {}

    def look(name: str, probe: Callable[[], T]) -> None:
        try:
            results[name] = probe()
        except (HpctoolsError, OSError, ValueError) as error:
            results[name] = otherwise(name, str(error))

    threads = [threading.Thread(target=look, args=item, daemon=True) for item in probes.items()]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    ended = dict(results)  # a late one may still write into results
    return [
        ended[name] if name in ended else otherwise(name, f"no answer within {limit_s:g} s")
        for name in probes
    ]
