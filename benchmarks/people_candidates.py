"""Measures how often the right person is among the first candidates for a track, sorted by image similarity.

    python benchmarks/people_candidates.py

Renders people with several clips, in normal and in harder scenes, and an edited film: videos of many shots, in which
faces are found and tracked as in the user's own videos. Each clip or track, on its own, is compared with all others, of
which those of the same person are joined. Prints how often the right person is among the first 1, 3 and 5 candidates,
and how often it would be by chance.

Drawn people prove nothing about real ones. The clips of a person differ in expression, pose, light, clothes and
background; the shots of the films differ in expression only.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import pandas as pd
from clips import face_images, write_video

from datasets.afewva import read_afewva
from datasets.annotations.timeline import Timeline
from datasets.columns import BOX
from datasets.demo.dataset import render_demo
from datasets.demo.people import random_person
from datasets.demo.traces import label_trace
from datasets.faces import MARGIN, crop_face, read_image
from datasets.video.image_features import FACE_SIZE, SAMPLES, image_features, track_appearances
from datasets.video.random_access import VideoFrames
from datasets.video.reading import open_video
from datasets.video.tracks import track_faces

FIRST = (1, 3, 5)  # candidates that are looked at
FRAMES = 24  # of a clip
FILMS, SHOTS, SHOT_FRAMES = 5, 8, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20, help="people of each set")
    parser.add_argument("--clips", type=int, default=5, help="clips of each person")
    parser.add_argument("--seed", type=int, default=501, help="demo seed of the people")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, hard in (("normal", False), ("harder scenes", True)):
            root = Path(folder) / name
            seed = arguments.seed + hard
            render_demo(root, seed, arguments.people, FRAMES, FRAMES, hard=hard, clips=arguments.clips)
            rows.append({"set": name} | score(*features_of_clips(read_afewva(root, None, 1.0, False))))
        rows.append({"set": f"{FILMS} edited films"} | score(*features_of_films(Path(folder), arguments.seed)))
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))


def features_of_clips(frames: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(T, F) features of the clips of a data set, of length 1, and (T,) their people."""
    features, people = [], []
    for _, rows in frames.groupby("clip"):
        sampled = rows.iloc[np.arange(SAMPLES) * len(rows) // SAMPLES]
        crops = [
            crop_face(read_image(row.path), [getattr(row, edge) for edge in BOX], FACE_SIZE, MARGIN)
            for row in sampled.itertuples()
        ]
        mean = np.mean([image_features(crop) for crop in crops], 0)
        features.append(mean / np.linalg.norm(mean))
        people.append(rows["subject"].iloc[0])
    return np.stack(features), np.array(people)


def features_of_films(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and people, as above, of the face tracks of edited films of SHOTS shots each, which share ten people."""
    rng = np.random.default_rng(seed)
    cast = [random_person(rng) for _ in range(10)]
    features, people = [], []
    for film in range(FILMS):
        shots = rng.permutation(10)[:4].repeat(2)
        rng.shuffle(shots)
        images = (
            image
            for person in shots
            for image in face_images(label_trace(rng, SHOT_FRAMES), cast[person], aspect=16 / 9)
        )
        video = open_video(write_video(folder / f"film{film}.mp4", images))
        faces = track_faces(video)
        tracks = sorted(set(faces["track"]) - {-1})
        timeline = Timeline.at_rate(count=SHOTS * SHOT_FRAMES, fps=25.0)
        appearances = track_appearances(VideoFrames(video, timeline), faces, tracks)
        for track, appearance in appearances.items():
            features.append(appearance.features)
            people.append(shots[int(faces.loc[faces["track"] == track, "frame"].median()) // SHOT_FRAMES])
    return np.stack(features), np.array(people)


def score(features: np.ndarray, people: np.ndarray) -> Mapping[str, object]:
    """How often the right person is among the first candidates, for the tracks whose person has another track."""
    similarities = features @ features.T
    np.fill_diagonal(similarities, -1)
    names = np.unique(people)
    best = np.stack([similarities[:, people == name].max(1) for name in names], 1)  # a person's most alike track
    right = np.searchsorted(names, people)
    known = np.bincount(right)[right] > 1
    ranks = (best > best[np.arange(len(best)), right][:, None]).sum(1)[known]
    shares = {f"first {count}": float(np.mean(ranks < count)) for count in FIRST}
    chance = {f"chance {count}": min(count / len(names), 1.0) for count in FIRST}
    return {"tracks": len(ranks), "people": len(names)} | shares | chance


if __name__ == "__main__":
    main()
