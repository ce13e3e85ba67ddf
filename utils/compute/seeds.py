"""Seeding of NumPy's and PyTorch's random numbers."""

import numpy as np
import torch

# Seed streams make random numbers of different purposes independent: each NumPy generator is seeded with the run's
# seed, one of these streams and, where needed, the number of an epoch or of a clip.
VALIDATION_SEED_STREAM = 1  # validation pairs of the Siamese network
TEST_SEED_STREAM = 2  # test pairs of the Siamese network
PAIR_TRAINING_SEED_STREAM = 3  # training batches of the Siamese network
SUPPORT_SEED_STREAM = 11  # support frames drawn from a clip or a person
BIN_SEED_STREAM = 12  # anchors drawn from the training set
PERSON_SEED_STREAM = 13  # which other person a clip is labelled from
HEAD_TRAINING_SEED_STREAM = 21  # order of the training rows of a supervised head


def seed_torch(*numbers: int) -> None:
    """Seed PyTorch's global generator from a tuple of integers, such as (seed,) or (seed, epoch, step).

    Training calls this before every step, so the random numbers of a step do not depend on what was computed before
    it, and a run resumed from a checkpoint draws the same numbers as an uninterrupted one.
    """
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))
