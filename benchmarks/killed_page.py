"""Kills a process that labels and rates at random moments, and checks that nothing reported as saved is lost.

    python benchmarks/killed_page.py --checkpoint runs/mtclar/<run>/best.pt

Each process opens the session of a video from the files on disk, as the annotation page does, and makes random changes
of labels, notes and ratings, undone and redone, as fast as it can. It reports the beginning and the end of each change
until it is killed (SIGKILL). The files must then hold the state after the last reported change, or after the one that
was in progress, to the byte. Processes are forked from one that has read the video; no browser takes part.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import torch
from clips import render_clip
from killed_sessions import kill_sessions

from datasets.demo.traces import label_trace
from utils.annotate.label_file import LabelFile
from utils.annotate.project import Project
from utils.annotate.rating_file import RatingFile
from utils.annotate.session import Session
from utils.compute.runtime import make_runtime
from utils.config.labelling import LabelSettings
from utils.labelling.sources import load_siamese, load_sources

FRAMES = 100


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--kills", type=int, default=200, help="number of processes")
    parser.add_argument("--seed", type=int, default=0, help="of the changes and of the moments of the kills")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # threads do not survive a fork
    with tempfile.TemporaryDirectory() as folder:
        video = render_clip(Path(folder) / "clip.mp4", label_trace(np.random.default_rng(0), FRAMES))
        settings = LabelSettings(annotate=video, checkpoint=arguments.checkpoint)
        runtime = make_runtime(settings.runtime)
        project = Project(load_sources(load_siamese(arguments.checkpoint), settings, runtime), settings, runtime)
        prepared = project.videos[0].session
        assert prepared is not None

        def open_session(session_folder: Path) -> Session:
            file = LabelFile(session_folder / "clip_labels.csv", prepared.timeline, "Ada")
            return Session(
                prepared.face_video,
                project.labeller,
                file,
                RatingFile(session_folder / "clip_rating.csv", "Ada"),
                "auto",
            )

        outcome = kill_sessions(open_session, Path(folder), arguments.kills, arguments.seed)
    print(
        f"{arguments.kills} processes killed, {outcome.interrupted} of them during a change; "
        f"{outcome.acknowledged} changes reported as saved; lost or damaged: {len(outcome.problems)}",
        *outcome.problems,
        sep="\n",
    )
    sys.exit(bool(outcome.problems))


if __name__ == "__main__":
    main()
