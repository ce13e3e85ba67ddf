"""What `torchrun` starts in test_ranks.py: … rank_jobs.py <job> <folder> <arguments>."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import mtclar
from utils import engine, pair_training, ranks
from utils.errors import UserError
from utils.runtime import make_runtime
from utils.script import run_script
from utils.settings import RuntimeSettings


def train() -> None:
    """All of mtclar.py; leaves the weights as each rank has them after its last step."""
    folder, tasks = Path(sys.argv[2]), []

    class Watched(pair_training.PairTraining):
        def __init__(self, model, *rest):
            for weights in model.parameters():
                weights.data += 0.01 * ranks.rank()  # they begin with the first one's all the same
            super().__init__(model, *rest)
            tasks.append(self)

    pair_training.PairTraining = Watched
    engine.load_model = lambda *_: None  # it would make them equal
    sys.argv[1:] = sys.argv[3:]
    mtclar.main()
    (task,) = tasks
    seen = [batch.images.float().mean().item() for batch in task.batches(0)]
    torch.save({"weights": dict(task.model.named_parameters()), "seen": seen}, folder / f"rank{ranks.rank()}.pt")


def fail() -> None:
    """The second rank has an error of the user's; the first one waits for it."""
    make_runtime(RuntimeSettings(device="cpu"))
    if ranks.rank() == 1:
        raise UserError("the second rank has no data")
    ranks.wait()


def die() -> None:
    """The second rank is killed."""
    make_runtime(RuntimeSettings(device="cpu"))
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.wait()


def gather() -> None:
    """Rows that were shared out come back in their places, of unequal shares too."""
    make_runtime(RuntimeSettings(device="cpu"))
    whole = torch.arange(14.0).reshape(7, 2)
    found = ranks.gathered(whole[ranks.rank() :: ranks.count()])
    assert torch.equal(found, whole) and ranks.from_first(ranks.rank) == 0
    assert ranks.mean(torch.tensor([float(ranks.rank())])).item() == 0.5
    print(f"heard from rank {ranks.rank()}")


if __name__ == "__main__":
    run_script({"train": train, "fail": fail, "die": die, "gather": gather}[sys.argv[1]])
