"""SlurmctldParameters that slurmctld stops at (conmgr.c, rate_limit.c, threadpool.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, number
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.slurm.releases import at_least

_CONNECTIONS_SINCE = "24.11"
# Only there; later numbers out of range are brought into it.
_THREADS_IN = ("24.11",)
_THREADS = range(2, 1025)
_RATES = ("rl_table_size", "rl_bucket_size", "rl_refill_rate", "rl_refill_period")
_RATES_SINCE = "25.11"
_THREADPOOL_SINCE = "26.05"


@rule("slurmctld-parameter", "fatal")
def slurmctld_parameter(candidate: Candidate) -> Iterator[Problem]:
    pair = candidate.slurm.get("SlurmctldParameters") if candidate.slurm else None
    if not pair:
        return
    words = dict(word.partition("=")[::2] for word in pair.value.split(",") if "=" in word)
    lower = {key.lower(): value for key, value in words.items()}
    text = lower.get("conmgr_max_connections")
    if text is not None and not _count(text) and at_least(candidate.release, _CONNECTIONS_SINCE):
        yield Problem(pair, f"conmgr_max_connections={text} leaves no connection", "150, or leave it out")
    text = lower.get("conmgr_threads")
    if text is not None and candidate.release in _THREADS_IN and _count(text) not in (0, *_THREADS):
        yield Problem(pair, f"conmgr_threads={text} is out of range", "2 to 1024, or leave it out")
    if "rl_enable" in pair.value.lower() and at_least(candidate.release, _RATES_SINCE):
        # conf_get_opt_str looks at the case of these.
        for key in _RATES:
            if words.get(key) and number(words[key]) in (None, 0):
                yield Problem(pair, f"{key}={words[key]} is refused", "a number above 0")
    text = lower.get("threadpool")
    if text is not None and at_least(candidate.release, _THREADPOOL_SINCE):
        if text.lower() not in ("enabled", "disabled"):
            yield Problem(pair, f"threadpool={text} is refused", "enabled or disabled")


def _count(text: str) -> int:
    """strtoul: what is no number is 0."""
    match = re.match(r"\s*[-+]?([0-9]{1,18})", text, re.ASCII)
    return int(match[1]) if match else 0
