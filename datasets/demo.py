"""The demo set: rendered faces in AFEW-VA's layout, so that everything runs before a real data set is there.

    <root>/001/00000.png ...    frames of one clip; one person a clip
    <root>/001/001.json         video_id, actor, frames: {"00000": {"landmarks", "valence", "arousal"}}
    <root>/expressions.csv      clip, frame, expression (AffectNet's codes)
    <root>/demo.json            the parameters; written last, so that it marks a complete set

A person depends on (seed, index) alone: more people or more frames leave the identities as they are.
"""

import contextlib
import csv
import errno
import json
import math
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from datasets.demo_face import HAIR_STYLES, Person, Pose
from datasets.demo_paint import Painter, tone
from datasets.frames import DataError
from utils.errors import StorageError

FORMAT = 2  # raise it whenever the same parameters would give other bytes
LONG_EVERY = 5  # one clip in so many is a long one
NOISE_SIGMA = 6.0  # grey levels
EVENTS_IN = 240  # frames with the events of one clip: a longer one has more
IDENTITY, LABELS, POSES, PIXELS = range(4)  # random streams of a person

SKINS = [(178, 205, 240), (160, 192, 235), (140, 178, 224), (120, 160, 210), (98, 138, 190), (76, 112, 165),
         (60, 90, 138), (46, 70, 110)]
HAIRS = [(24, 22, 22), (30, 36, 44), (34, 50, 76), (44, 72, 112), (80, 130, 175), (120, 175, 212),
         (40, 72, 150), (165, 165, 165)]
IRISES = [(40, 60, 88), (48, 80, 118), (70, 120, 120), (88, 132, 96), (165, 130, 88), (140, 120, 105)]


def render_demo(root, seed=0, people=900, frames=48, short_frames=8, size=128, hard=False, workers=None):
    """Renders the demo set into the folder `root`, unless it is there already -> its Path.

    seed: another seed makes other people. people: clips, one person each. frames: of the first clip and every
    fifth one after it; short_frames: of the others, since many people teach more than many frames of each.
    size: side of the pictures in pixels. hard: stronger personal gain and offset, occluders, blur and side
    light. workers: processes, all cores when None; their number does not change a byte.
    """
    root = Path(root)
    wanted = {"made_by": "MT-CLAR demo", "format": FORMAT, "seed": seed, "people": people, "frames": frames,
              "short_frames": short_frames, "size": size, "hard": bool(hard)}
    if people < 1 or min(frames, short_frames) < 1 or size < 32:
        raise DataError(f"demo set: people ({people}), frames ({frames}, {short_frames}) must be 1 or more, "
                         f"size ({size}) 32 or more")
    if _parameters_in(root) == wanted:
        return root
    try:
        _build(root, wanted, workers)
    except OSError as error:
        raise StorageError.of(root, error) from error
    return root


def _build(root, wanted, workers):
    """Renders into a folder beside `root`, which appears under its name when all is there."""
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    building.chmod(0o755)
    try:
        _render_people(building, wanted, workers)
        (building / "demo.json").write_text(json.dumps(wanted, indent=1) + "\n")
        _move_into_place(building, root, wanted)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _parameters_in(root):
    """Parameters of the demo set in `root`; None for a new or empty folder; refuses any other content."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        parameters = json.loads((root / "demo.json").read_text())
        if parameters["made_by"] == "MT-CLAR demo":
            return parameters
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{root} holds something other than a demo set, so it is left alone: "
                     "name another folder for the demo set, or move this one away")


def _move_into_place(building, root, wanted):
    """Puts the finished folder at `root`, unless another process was quicker; an older demo set there gives way."""
    while _parameters_in(root) != wanted:
        try:
            os.rename(building, root)  # succeeds where there is nothing, or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        old = Path(tempfile.mkdtemp(prefix=f".{root.name}-old-", dir=root.parent))
        with contextlib.suppress(FileNotFoundError):  # the other one moves it away, too
            os.rename(root, old / "demo")
        shutil.rmtree(old)


def _render_people(folder, parameters, workers):
    """Renders every clip, by several processes where that pays, then the expressions' table."""
    people = parameters["people"]
    digits = max(3, len(str(people)))
    jobs = [(folder, parameters, index, f"{index + 1:0{digits}d}") for index in range(people)]
    workers = min(workers or os.cpu_count() or 1, people)
    if workers == 1:
        tables = [_render_person(job) for job in jobs]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads,
                                 initargs=(1,)) as pool:
            try:
                tables = list(pool.map(_render_person, jobs, chunksize=4))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    with open(folder / "expressions.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip", "frame", "expression"))
        writer.writerows(row for table in tables for row in table)


def _render_person(job):
    """Writes one clip -> its rows (clip, frame id, expression)."""
    folder, parameters, index, clip = job
    seed, size, hard = (parameters[key] for key in ("seed", "size", "hard"))
    frames = parameters["short_frames" if index % LONG_EVERY else "frames"]
    rng = [np.random.default_rng([seed, index, stream]) for stream in range(4)]
    painter = Painter(random_person(rng[IDENTITY], hard), size)
    camera = Camera(rng[PIXELS], size, hard)
    trace, poses = label_trace(rng[LABELS], frames), pose_trace(rng[POSES], frames)
    (folder / clip).mkdir()
    records, rows = {}, []
    for number, ((valence, arousal), pose) in enumerate(zip(trace, poses, strict=True)):
        name = f"{number:05d}"
        picture, points = painter.draw(valence, arousal, pose)
        _write_png(folder / clip / f"{name}.png", camera.shoot(picture))
        v, a = round(10 * valence), round(10 * arousal)
        records[name] = {"landmarks": np.round(points, 2).tolist(), "valence": v, "arousal": a}
        rows.append((clip, name, expression_of(v / 10, a / 10)))
    content = {"video_id": clip, "actor": f"person {seed}-{clip}", "frames": records}
    (folder / clip / f"{clip}.json").write_text(json.dumps(content, separators=(",", ":")))
    return rows


# Noise hardly compresses, so only the quickest way of packing it pays. Older OpenCVs cannot name the filter.
PNG_SETTINGS = [cv2.IMWRITE_PNG_COMPRESSION, 1,
                cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    PNG_SETTINGS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG]


def _write_png(path, picture):
    if not cv2.imwrite(str(path), picture, PNG_SETTINGS):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def expression_of(valence, arousal):
    """AffectNet's expression code for a (valence, arousal) in [-1, 1], by region of the plane.

    Within a radius of 0.2: Neutral. Beyond, by angle from the valence axis towards arousal: Happy up to 60
    degrees (and down to -90), Surprise to 100, Fear to 128, Anger to 160, then to 205 Contempt where the
    intensity is 0.45 or less and Disgust where it is more, Sad to 270. The classes agree with the rule that
    cleans AffectNet. Two places fit none of its classes and are called Neutral here: an intensity of exactly
    0.2, and a valence of exactly 0 with an arousal below.
    """
    intensity = math.hypot(valence, arousal)
    if intensity <= 0.2 + 1e-9 or (valence == 0 and arousal < 0):
        return 0
    angle = math.degrees(math.atan2(arousal, valence))
    if angle < -90:
        angle += 360
    if angle < 60:
        return 1
    if angle < 100:
        return 3
    if angle < 128:
        return 4
    if angle < 160:
        return 6
    if angle <= 205:
        return 7 if intensity <= 0.45 else 5
    return 2


def label_trace(rng, frames):
    """Valence and arousal of a clip, (frames, 2) in [-1, 1], not rounded.

    A base level in +-0.4 plus, in each EVENTS_IN frames, one to three bells per axis, 6 to 25 frames wide at half their
    height.
    """
    time = np.arange(frames)
    trace = np.empty((frames, 2))
    for axis in range(2):
        trace[:, axis] = rng.uniform(-0.4, 0.4)
        bells = sum(rng.integers(1, 4) for _ in range(math.ceil(frames / EVENTS_IN)))
        for _ in range(bells):
            width, peak = rng.uniform(6, 25), rng.uniform(-1, 1)
            trace[:, axis] += peak * np.exp(-4 * math.log(2) * ((time - rng.uniform(0, frames)) / width) ** 2)
    return np.clip(trace, -1, 1)


def pose_trace(rng, frames):
    """A swaying head: `frames` poses with yaw and roll within 10 degrees and scale within 6 %."""
    def sway(reach):
        periods, phases = rng.uniform((40, 14), (90, 35)), rng.uniform(0, 2 * np.pi, 2)
        waves = np.sin(2 * np.pi * np.arange(frames)[:, None] / periods + phases)
        return waves @ (0.7 * reach, 0.3 * reach)

    traces = sway(10), sway(10), sway(0.06), sway(0.02), sway(0.015)
    return [Pose(yaw, roll, 1 + scale, (x, y)) for yaw, roll, scale, x, y in zip(*traces, strict=True)]


class Camera:
    """What lies between a face and its file: a clip's brightness and blur, and fresh noise in every frame."""

    def __init__(self, rng, size, hard):
        self.rng, self.size = rng, size
        self.brightness = rng.uniform(0.75, 1.2)
        self.blur = rng.uniform(0.3, 1.4) * size / 128 if hard else 0.0
        side = size + 64
        self.noise = np.rint(NOISE_SIGMA * rng.standard_normal((side, side, 3), np.float32)).astype(np.int16)

    def shoot(self, picture):
        """(size, size, 3) uint8 -> the same, as the camera sees it. Noise is a random window of one sheet."""
        if self.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        y, x = self.rng.integers(0, 65, 2)
        noise = self.noise[y:y + self.size, x:x + self.size]
        return cv2.add(cv2.convertScaleAbs(picture, alpha=self.brightness), noise, dtype=cv2.CV_8U)


def random_person(rng, hard=False):
    """Draws an identity -> Person. `hard`: see `render_demo`."""
    span, sigma = ((0.5, 1.5), 0.2) if hard else ((0.7, 1.2), 0.12)
    shift = rng.normal(0, sigma, 2)
    look = _features(rng) | _style(rng) | _setting(rng, hard)
    if hard:
        fringe = "scarf" if look["hair"] in ("bald", "buzz") else "fringe"
        occluder = str(rng.choice(["", "", "sunglasses", "hand", "scarf", fringe]))
        look |= {"glasses": "dark"} if occluder == "sunglasses" else {"occluder": occluder}
    return Person(gain=tuple(rng.uniform(*span, 2).tolist()), offset=tuple(shift.tolist()), **look)


def _features(rng):
    """The bones: lengths in head units."""
    ranges = {"width": (0.90, 1.08), "chin": (1.38, 1.60), "jaw": (0.68, 0.98), "taper": (0.0, 0.14),
              "eye_gap": (0.39, 0.46), "eye_width": (0.21, 0.27), "eye_tilt": (-0.12, 0.22),
              "brow_height": (0.32, 0.42), "brow_width": (0.035, 0.085), "brow_arch": (0.0, 0.12),
              "nose_width": (0.17, 0.28), "nose_length": (0.55, 0.68), "mouth_width": (0.32, 0.46),
              "lips": (0.055, 0.13)}
    features = {name: float(rng.uniform(*span)) for name, span in ranges.items()}
    features["mouth_height"] = 0.42 * features["nose_length"] + 0.48 * features["chin"] + 0.02
    return features


def _style(rng):
    """Skin, hair and what is worn. Dark skin goes with dark hair; beards with short hair."""
    shade = rng.uniform(0, len(SKINS) - 1.001)
    skin = tone(SKINS[int(shade)], shade % 1, SKINS[int(shade) + 1])
    hair = str(rng.choice(HAIR_STYLES, p=(0.05, 0.10, 0.21, 0.14, 0.15, 0.14, 0.11, 0.10)))
    hair_colour = HAIRS[rng.integers(0, 3 if shade > 4.5 else len(HAIRS))]
    beards = ("stubble", "full", "moustache") if hair in ("bald", "buzz", "side", "fringe", "curls") else ()
    beard = str(rng.choice(beards)) if beards and rng.random() < 0.45 else ""
    lipstick = rng.random() < 0.3 and not beard
    lips = tone(skin, 0.35, (70, 50, 185)) if lipstick else tone(skin, 0.28, (85, 75, 150))
    return {"skin": skin, "hair": hair, "hair_colour": tone(hair_colour, float(rng.uniform(0.8, 1.15))),
            "lip_colour": tone(lips, 0.88), "beard": beard,
            "iris": IRISES[rng.integers(0, 3 if shade > 4 else len(IRISES))],
            "glasses": str(rng.choice(["", "round", "square"], p=[0.8, 0.1, 0.1])),
            "parting": float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.8)),
            "volume": float(rng.uniform(0.04, 0.2)), "blush": float(rng.uniform(0.2, 1.0))}


def _setting(rng, hard):
    """Light, clothes and background."""
    angle = rng.uniform(-1.1, 1.1)
    light = (math.sin(angle), -0.5 * math.cos(angle))
    contrast = rng.uniform(0.25, 0.6)
    if hard and rng.random() < 0.6:
        light, contrast = (float(rng.choice([-1.6, 1.6])), -0.1), rng.uniform(0.6, 0.9)
    return {"clothes": _colour(rng, (0.1, 0.6), (50, 180)), "light": light, "contrast": float(contrast),
            "backdrop": (_colour(rng, (0.05, 0.4), (110, 235)), _colour(rng, (0.05, 0.5), (70, 190))),
            "texture": int(rng.integers(2**31))}


def _colour(rng, saturation, value):
    """A random BGR colour with saturation in [0, 1] and value in [0, 255] from these ranges."""
    hsv = [rng.uniform(0, 180), 255 * rng.uniform(*saturation), rng.uniform(*value)]
    return tuple(float(c) for c in cv2.cvtColor(np.uint8([[hsv]]), cv2.COLOR_HSV2BGR)[0, 0])

