"""Seeding of PyTorch's random numbers."""

import numpy as np
import torch


def seed_step(*numbers: int) -> None:
    """Seed PyTorch's global generator from a tuple of integers, such as (seed, epoch, step).

    Training calls this before every step, so the random numbers of a step do not depend on what was computed before
    it, and a run resumed from a checkpoint draws the same numbers as an uninterrupted one.
    """
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
