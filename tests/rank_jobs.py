"""The jobs that test_ranks.py starts with torchrun: rank_jobs.py <job> <folder> <arguments>."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import mtclar
from utils.base.errors import UserError
from utils.compute import ranks
from utils.compute.runtime import make_runtime
from utils.config.sections import RuntimeSettings
from utils.runs.script import run_script
from utils.training import loop, pair_training


def train() -> None:
    """Run mtclar.py, then save the weights of each rank after its last step and the mean of each of its batches."""
    folder, trainings = Path(sys.argv[2]), []

    class WatchedTraining(pair_training.PairTraining):
        def __init__(self, model, *rest):
            for weights in model.parameters():
                weights.data += 0.01 * ranks.rank()  # DistributedDataParallel must start from rank 0's weights
            super().__init__(model, *rest)
            trainings.append(self)

    pair_training.PairTraining = WatchedTraining
    loop.load_model = lambda *_: None  # loading best.pt would make the weights equal
    sys.argv[1:] = sys.argv[3:]
    mtclar.main()
    (training,) = trainings
    means = [batch.images.float().mean().item() for batch in training.batches(0)]
    torch.save(
        {"weights": dict(training.model.named_parameters()), "batch_means": means}, folder / f"rank{ranks.rank()}.pt"
    )


def fail() -> None:
    """Rank 1 raises a UserError while rank 0 waits for it."""
    make_runtime(RuntimeSettings(device="cpu"))
    if ranks.rank() == 1:
        raise UserError("rank 1 has no data")
    ranks.barrier()


def die() -> None:
    """Rank 1 is killed while rank 0 waits for it."""
    make_runtime(RuntimeSettings(device="cpu"))
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.barrier()


def gather() -> None:
    """Rows that were distributed unequally are gathered in their original order."""
    make_runtime(RuntimeSettings(device="cpu"))
    whole = torch.arange(14.0).reshape(7, 2)
    gathered = ranks.gather_rows(whole[ranks.rank() :: ranks.world_size()])
    assert torch.equal(gathered, whole) and ranks.broadcast_from_rank_zero(ranks.rank) == 0
    assert ranks.mean(torch.tensor([float(ranks.rank())])).item() == 0.5
    print(f"printed by rank {ranks.rank()}")


if __name__ == "__main__":
    run_script({"train": train, "fail": fail, "die": die, "gather": gather}[sys.argv[1]])
