"""A minute of video, labelled by clicks alone, or rated once while it plays and then labelled by fewer clicks.

    python benchmarks/rating_pass.py --checkpoint runs/mtclar/<run>/best.pt

The clips last 60 s and show rendered people that the network was not trained on. A rating takes 60 s; a click takes
5 s. A rating is the true label, 2 s late, with a gain of 0.8, an offset of 0.1, and an error that is an
Ornstein-Uhlenbeck process of standard deviation 0.15 and time scale 5 s. A click labels the frame that the page
suggests with a normal error of standard deviation CLICK_ERROR. Neither lag nor errors are told to the program.

All changes go through the session of the annotation page, without a browser. The errors are of all frames.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
import pandas as pd
from own_data import refuse_known_seeds
from ratings import SimulatedRater, make_labeller, read_clips

from datasets.columns import AXES, BOX
from utils.annotate.label_file import LabelFile
from utils.annotate.rating_file import RatingFile
from utils.annotate.session import Session
from utils.labelling.clips import DatasetClip
from utils.labelling.labeller import Labeller
from utils.videos.face_video import FaceVideo, Track

RATER = SimulatedRater(lag=2.0, gain=0.8, bias=0.1)
CLICK_ERROR = 0.1
RATING_SECONDS, CLICK_SECONDS = 60, 5
RATING_RATE = 40  # samples a second


class Way(NamedTuple):
    """A way to label a clip: rated first, or not, then labelled by clicks."""

    rated: bool
    clicks: int

    @property
    def seconds(self) -> int:
        return RATING_SECONDS * self.rated + CLICK_SECONDS * self.clicks


WAYS = (Way(False, 10), Way(True, 0), Way(True, 5), Way(False, 17), Way(True, 10), Way(False, 22))


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a mtclar.py run on the demo set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[311], help="demo seeds of the people")
    parser.add_argument("--folder", type=Path, default=Path("data/ratings"), help="for rendered clips and caches")
    arguments = parser.parse_args()
    refuse_known_seeds(arguments.checkpoint, arguments.seeds)
    labeller = make_labeller(arguments.checkpoint, 0)
    clips = [clip for seed in arguments.seeds for clip in read_clips(arguments.checkpoint, arguments.folder, seed)]
    rows = []
    for way in WAYS:
        rng = np.random.default_rng(0)
        squares = np.array([squared_errors(clip, labeller, way, rng) for clip in clips])
        worst = np.sqrt(squares.mean(1).max())
        valence, arousal = np.sqrt(squares.mean(0))
        name = f"{'rating, ' if way.rated else ''}{way.clicks} clicks"
        rows.append((name, way.seconds, valence, arousal, np.sqrt(squares.mean()), worst))
    columns = ["way", "seconds", "valence", "arousal", "both", "worst clip"]
    print(f"{len(clips)} clips, RMSE")
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.3f}".format))


def squared_errors(clip: DatasetClip, labeller: Labeller, way: Way, rng: np.random.Generator) -> np.ndarray:
    """(2,) mean squared error of valence and arousal after a clip was labelled in this way."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(clip, labeller, Path(folder))
        if way.rated:
            rate(session, clip, rng)
        for _ in range(way.clicks):
            suggestion = session.estimate(0).suggestion
            assert suggestion is not None, "there are more frames than clicks"
            index = suggestion.frame_index
            label = clip.labels[index] + rng.normal(0, CLICK_ERROR, len(AXES))
            session.label(0, int(session.tracks[0].frames[index]), *label)
        return ((session.estimate(0).values - clip.labels) ** 2).mean(0)


def open_session(clip: DatasetClip, labeller: Labeller, folder: Path) -> Session:
    """The session of a clip, as if it were a video with one track."""
    times = clip.encoded.times
    faces = pd.DataFrame({"frame": np.arange(len(times)), "time": times, "track": 0, "score": 1.0})
    faces = faces.assign(**dict.fromkeys(BOX, 0.0))
    track = Track(0, faces, clip.encoded.embeddings, np.empty((len(times), 0, len(AXES))))
    face_video = FaceVideo(SimpleNamespace(name="clip", path=folder / "clip.mp4"), faces, [track])
    file = LabelFile(folder / "clip_labels.csv", face_video.timeline, "")
    return Session(face_video, labeller, file, RatingFile(folder / "clip_rating.csv", ""), "auto")


def rate(session: Session, clip: DatasetClip, rng: np.random.Generator) -> None:
    """Rate a clip from its beginning to its end."""
    times = np.arange(clip.encoded.times[0], clip.encoded.times[-1], 1 / RATING_RATE)
    labels = np.stack([np.interp(times, clip.encoded.times, column) for column in clip.labels.T], 1)
    rating = RATER.rate(times, labels, rng)
    session.rate(times[0], np.column_stack((times, rating.at(times))).tolist())
    session.use_rating()


if __name__ == "__main__":
    main()
