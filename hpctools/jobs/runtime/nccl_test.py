"""An all-reduce of more and more bytes among all ranks, in the table that nccl-tests prints.

    hpctools submit --template nccl-test --nodes 2 -- --max 1G

Each rank runs this file. Where HPCTOOLS_NCCL_TESTS names nccl-tests' all_reduce_perf it takes our place;
else torch reduces, by nccl on GPUs, by gloo without. algbw is bytes by time; busbw is what each link had to
carry, algbw * 2(n-1)/n for n ranks (nccl-tests, doc/PERFORMANCE.md), so it compares with the hardware's
speed. The file is copied into the run folder: Python 3.8, its standard library, and torch.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
import time
from typing import Any, Dict, Sequence

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Of float32.
ITEM_BYTES = 4
HEAD = "{:>14} {:>12} {:>8} {:>12} {:>9} {:>9} {:>7}"
LINE = "{bytes:>14} {count:>12} {type:>8} {time_us:>12.1f} {algbw:>9.4g} {busbw:>9.4g} {wrong:>7}"
Row = Dict[str, Any]


def size(text: str) -> int:
    """Bytes: 512, 8K, 64M, 1G."""
    match = re.fullmatch(r"([0-9]+)([KMG]?)", text)
    if not match or int(match.group(1)) * UNITS[match.group(2)] < ITEM_BYTES:
        raise argparse.ArgumentTypeError(
            f"{text} is no size from {ITEM_BYTES} on, such as 512, 8K, 64M or 1G"
        )
    return int(match.group(1)) * UNITS[match.group(2)]


def count(text: str) -> int:
    """A number from 1 on."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def factor(text: str) -> int:
    """A number from 2 on."""
    if count(text) < 2:
        raise argparse.ArgumentTypeError("1 would never come to an end")
    return int(text)


def options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nccl-test", description="All-reduce among all ranks.")
    parser.add_argument("--min", type=size, default=size("1K"), help="fewest bytes (default 1K)")
    parser.add_argument("--max", type=size, help="most bytes (default 1G, without GPUs 16M)")
    parser.add_argument("--factor", type=factor, default=4, help="between sizes (default 4)")
    parser.add_argument("--iterations", type=count, default=20, metavar="N", help="timed ones (default 20)")
    parser.add_argument("--warmup", type=count, default=5, metavar="N", help="not timed ones (default 5)")
    given = parser.parse_args(words)
    if given.max is not None and given.max < given.min:
        parser.error("--max is less than --min")
    return given


def nccl_tests_words(program: str, given: argparse.Namespace) -> list[str]:
    """nccl-tests' own words for the same: one GPU a process, the next free one."""
    words = [program, "-b", str(given.min), "-e", str(given.max or size("1G")), "-f", str(given.factor)]
    return [*words, "-g", "1", "-n", str(given.iterations), "-w", str(given.warmup)]


def sizes(least: int, most: int, step: int) -> list[int]:
    found = [least]
    while found[-1] * step <= most:
        found.append(found[-1] * step)
    return found


def row(byte_count: int, seconds: float, ranks: int, wrong: int) -> Row:
    """One line of the table; speeds in GB/s of 10^9 bytes."""
    algbw = byte_count / seconds / 1e9
    return {
        "bytes": byte_count,
        "count": byte_count // ITEM_BYTES,
        "type": "float",
        "time_us": seconds * 1e6,
        "algbw": algbw,
        "busbw": algbw * 2 * (ranks - 1) / ranks,
        "wrong": wrong,
    }


def measure(torch: Any, device: Any, elements: int, given: argparse.Namespace) -> Row:
    """The time of one all-reduce, which all ranks see alike: the slowest rank's mean."""
    dist = torch.distributed
    ranks = dist.get_world_size()

    def repeat(times: int) -> float:
        dist.barrier()
        began_s = time.perf_counter()
        for _ in range(times):
            dist.all_reduce(values)
        if device.type != "cpu":
            torch.cuda.synchronize()
        return (time.perf_counter() - began_s) / times

    values = torch.ones(elements, device=device)
    dist.all_reduce(values)
    wrong = int((values != ranks).sum().item())
    values.zero_()  # what is added up again and again would overflow
    repeat(given.warmup)
    worst = torch.tensor([repeat(given.iterations), float(wrong)], dtype=torch.float64, device=device)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    return row(elements * ITEM_BYTES, float(worst[0]), ranks, int(worst[1]))


def by_torch(given: argparse.Namespace) -> int:
    """Measure all sizes, and print and keep the table on rank 0. 1 where a sum was wrong."""
    torch: Any = importlib.import_module("torch")
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "gloo" if device.type == "cpu" else "nccl"
    torch.distributed.init_process_group(backend)
    is_first, ranks = torch.distributed.get_rank() == 0, torch.distributed.get_world_size()
    most = given.max or size("16M" if device.type == "cpu" else "1G")
    if is_first:
        nodes = os.environ.get("SLURM_JOB_NUM_NODES", "1")
        where = f"{nodes} node{'s' * (nodes != '1')}"
        print(f"all-reduce of {ranks} ranks on {where} by torch {torch.__version__}, {backend}; GB/s")
        print(HEAD.format("bytes", "count", "type", "time us", "algbw", "busbw", "wrong"))
    rows = []
    for byte_count in sizes(given.min, max(given.min, most), given.factor):
        rows.append(measure(torch, device, byte_count // ITEM_BYTES, given))
        if is_first:
            print(LINE.format(**rows[-1]), flush=True)
    if is_first:
        tell(rows, backend, ranks)
    torch.distributed.destroy_process_group()
    return 1 if any(one["wrong"] for one in rows) else 0


def tell(rows: Sequence[Row], backend: str, ranks: int) -> None:
    """The end of the table; the same as JSON into the run folder."""
    average, best = sum(one["busbw"] for one in rows) / len(rows), max(one["busbw"] for one in rows)
    print(f"average busbw {average:.4g} GB/s, best {best:.4g} GB/s", flush=True)
    found = {"backend": backend, "ranks": ranks, "average_busbw": average, "best_busbw": best, "rows": rows}
    with open(os.path.join(os.environ.get("HPCTOOLS_RUN", "."), "nccl-test.json"), "w") as file:
        json.dump(found, file, indent=1)


def main(words: Sequence[str]) -> int:
    given = options(words)
    program = os.environ.get("HPCTOOLS_NCCL_TESTS")
    if program:
        sys.stdout.flush()
        os.execvp(program, nccl_tests_words(program, given))  # noqa: S606 - there is none to be had
    return by_torch(given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
