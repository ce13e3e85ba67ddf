"""What `torchrun` starts in test_ranks.py: … rank_jobs.py <job> <folder> <arguments>."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from models.mtclar import MTCLAR
from utils import engine, ranks
from utils.config import load_settings
from utils.data import CropReader, read_splits
from utils.errors import UserError
from utils.pair_training import PairTraining
from utils.run_folder import RunFolder, shared_run
from utils.runtime import make_runtime, seed_step
from utils.script import run_script
from utils.settings import RuntimeSettings, Settings


def train() -> None:
    """Leaves the weights as each rank has them after its last step."""
    settings = load_settings(Settings, "mtclar", "config.yaml", "", sys.argv[3:])
    runtime = make_runtime(settings.runtime)
    run = shared_run(lambda: RunFolder.create(settings, "mtclar"))
    seed_step(settings.seed + ranks.rank())  # they begin with the first one's weights all the same
    model = runtime.place(MTCLAR(settings.model.width, settings.model.fusion, settings.model.dropout))
    task = PairTraining(model, read_splits(settings), CropReader(settings), settings, runtime)
    seen = [batch.images.float().mean().item() for batch in task.batches(0)]
    engine.load_model = lambda *_: None  # it would make them equal
    engine.fit(task, run, settings)
    weights = dict(model.named_parameters())
    torch.save({"weights": weights, "seen": seen}, Path(sys.argv[2]) / f"rank{ranks.rank()}.pt")


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
