"""A small, real data-parallel training with PyTorch, to copy from.

    hpctools submit examples/train.py --nodes 4 -- --steps 100

It learns a function of random numbers, on GPUs (nccl) or without (gloo). The same number of ranks
gives the same losses every time, also when the job was interrupted: it goes on from its checkpoint. Told
that the job will be ended (preempted, or out of time), all ranks save after the same step and leave; the
job is started again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hpctools import preemption  # there in every job, also where hpctools is not installed

SAMPLES, FEATURES = 16384, 64


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on all ranks.")
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps in all (default 40)")
    parser.add_argument("--batch", type=int, default=32, help="samples a rank takes at once (default 32)")
    parser.add_argument("--accumulate", type=int, default=1, metavar="N", help="batches a step (default 1)")
    parser.add_argument("--amp", choices=("off", "bf16"), default="off", help="mixed precision (default off)")
    parser.add_argument("--lr", type=float, default=0.02, help="learning rate (default 0.02)")
    parser.add_argument("--seed", type=int, default=1, help="of data and weights (default 1)")
    parser.add_argument("--save-every", type=int, default=10, metavar="N", help="steps (default 10)")
    parser.add_argument("--step-s", type=float, default=0, metavar="S", help="slow down: a step takes S s")
    parser.add_argument("--save-s", type=float, default=0, metavar="S", help="slow down: saving takes S s")
    parser.add_argument("--log-every", type=int, default=10, metavar="N", help="steps (default 10)")
    # The run folder is the same when a job is requeued; that is how it finds its checkpoint again.
    folder = Path(os.environ.get("HPCTOOLS_RUN", "."), "checkpoints")
    parser.add_argument("--checkpoint", type=Path, default=folder, metavar="DIR", help=f"(default {folder})")
    return parser.parse_args()


@dataclass(frozen=True)
class Ranks:
    """Which rank we are, of how many, and the device it computes on."""

    rank: int
    count: int
    device: torch.device

    def say(self, text: str) -> None:
        if self.rank == 0:
            print(text, flush=True)

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all ranks."""
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers)
        return [float(number) for number in numbers]


def join() -> Ranks:
    """Meet the other ranks. torchrun sets the variables; without it we are the only one."""
    alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}
    for name, value in alone.items():
        os.environ.setdefault(name, str(value))
    device = torch.device("cpu")
    if torch.cuda.is_available():  # CUDA_VISIBLE_DEVICES alone does not say that there is a GPU
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device.type == "cpu" else "nccl")
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def prove_all_here(ranks: Ranks, step: int) -> None:
    """Stop unless every rank takes part in a sum, and all begin with the same step."""
    is_first = int(os.environ["LOCAL_RANK"]) == 0
    rank_sum, nodes, steps = ranks.total(ranks.rank, is_first, step)
    if rank_sum != ranks.count * (ranks.count - 1) / 2:
        raise SystemExit(f"the ranks sum up to {rank_sum:.0f}: some of {ranks.count} are missing")
    if steps != ranks.count * step:
        raise SystemExit(f"rank {ranks.rank} begins with step {step}, others elsewhere: is DIR shared?")
    ranks.say(f"all {ranks.count} ranks on {nodes:.0f} nodes are here ({dist.get_backend()})")


class Data:
    """Random inputs and the outputs of an unknown function; every rank makes the same."""

    def __init__(self, given: argparse.Namespace, ranks: Ranks) -> None:
        self.given, self.ranks, self.epoch, self.order = given, ranks, -1, torch.empty(0)
        self.per_step = given.batch * given.accumulate * ranks.count
        self.size = max(SAMPLES, self.per_step)
        random = torch.Generator().manual_seed(given.seed)
        inputs = torch.randn(self.size, FEATURES, generator=random)
        outputs = torch.tanh(inputs @ torch.randn(FEATURES, 4, generator=random) / 4).sum(1, keepdim=True)
        self.inputs, self.outputs = inputs.to(ranks.device), outputs.to(ranks.device)

    def step(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """This rank's batches of a step. Each epoch has its order, and each rank every count-th sample
        of it: what is taken depends on nothing but the step, so a resumed run takes the same."""
        epoch, place = divmod(step, self.size // self.per_step)
        if epoch != self.epoch:
            random = torch.Generator().manual_seed(self.given.seed + 1000 + epoch)
            self.epoch, self.order = epoch, torch.randperm(self.size, generator=random)
        start = place * self.per_step
        mine = self.order[start + self.ranks.rank : start + self.per_step : self.ranks.count]
        return [(self.inputs[part], self.outputs[part]) for part in mine.chunk(self.given.accumulate)]


def save(path: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write beside and rename: a job that is killed meanwhile still finds the checkpoint before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    with beside.open("wb") as file:
        torch.save({"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """The step to go on with: 0 without a checkpoint."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def train_step(given: argparse.Namespace, model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Add up the gradients of the batches and return their mean loss on this rank."""
    total = 0.0
    for number, (inputs, outputs) in enumerate(batches, start=1):
        # The ranks' gradients are averaged once a step, in the last batch.
        quiet = model.no_sync() if number < len(batches) else contextlib.nullcontext()
        with quiet, torch.autocast(inputs.device.type, torch.bfloat16, enabled=given.amp == "bf16"):
            loss = nn.functional.mse_loss(model(inputs).float(), outputs) / len(batches)
            loss.backward()
        total += float(loss.detach())
    return total


def main() -> None:
    given = options()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with it
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(given.seed)

    ranks = join()
    network = nn.Sequential(nn.Linear(FEATURES, 128), nn.Tanh(), nn.Linear(128, 1)).to(ranks.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=given.lr, momentum=0.9)
    checkpoint = given.checkpoint / "train.pt"
    first = load(checkpoint, network, optimizer, ranks.device)
    prove_all_here(ranks, first)
    if first:
        ranks.say(f"resumed after step {first} from {checkpoint}")
    # Else the gradients are put into another order after the first step, which is also the first one after
    # a restart: sums over more than two ranks would then differ in their last digit.
    model = DistributedDataParallel(network, find_unused_parameters=True)
    data = Data(given, ranks)

    def checkpointing(step: int) -> None:
        with watch.saving(step):
            time.sleep(given.save_s)
            if ranks.rank == 0:
                save(checkpoint, step, network, optimizer)

    watch = preemption.Watch()
    began_s, samples = time.monotonic(), 0
    for step in range(first + 1, given.steps + 1):
        optimizer.zero_grad()
        loss = train_step(given, model, data.step(step - 1))
        optimizer.step()
        time.sleep(given.step_s)
        samples += data.per_step
        if step % given.log_every == 0 or step == given.steps:
            mean = ranks.total(loss)[0] / ranks.count
            rate = samples / (time.monotonic() - began_s)
            ranks.say(f"step {step}/{given.steps}  loss {mean:.6f}  {rate:.0f} samples/s")
        if watch.should_leave() and step < given.steps:
            checkpointing(step)
            ranks.say(f"saved after step {step}, to go on from there")
            watch.leave()
        if step % given.save_every == 0 or step == given.steps:
            checkpointing(step)
    dist.barrier()  # nobody leaves before the last checkpoint is on disk
    dist.destroy_process_group()
    ranks.say(f"done: {given.steps} steps, checkpoint {checkpoint}")
    # Leave at once, while the model still holds the process group: in torch 2.13 gloo's destructor can
    # wait, with Python's lock, for a thread that waits for that lock (seen for one rank in hundreds).
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
