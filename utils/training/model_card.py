"""The model card of an exported network, written from the files of its run."""

from collections.abc import Mapping, Sequence
from typing import Any

from utils.config.command_line import as_command
from utils.config.mtclar import MtclarTrainingSettings
from utils.training.report import delta_table

LABEL_SCALES = {
    "demo": "numbers in [-1, 1], as rendered",
    "afewva": "whole numbers from -10 to 10, divided by 10",
    "affectnet": "numbers in [-1, 1], as published",
    "videos": "numbers in [-1, 1], as labelled",
}
"""Data set → its own label scale, and how it becomes [-1, 1]."""
DATA_SETS = {
    "demo": "rendered faces that this project draws; no real person",
    "afewva": "AFEW-VA: faces from films, with valence and arousal of each frame",
    "affectnet": "AffectNet: photographs from the internet",
    "videos": "a private collection of videos, with valence and arousal of some of their frames",
}
"""Data set → what it shows."""
EMONET_LICENCE = (
    "The weights started from the published weights of EmoNet, whose licence is CC BY-NC-ND 4.0, and inherit it: no "
    "commercial use, and no distribution of adapted weights without permission of the authors of EmoNet."
)
PUBLISHED_LICENCE = (
    "The weights started from published weights of MT-CLAR, which name neither their training data nor a licence. Ask "
    "their authors whether adapted weights may be shared."
)
DATA_LICENCE = (
    "The data set has an agreement of its own, which you accepted to obtain it. Check whether it allows weights that "
    "were trained on it to be shared, and for which use."
)
VIDEOS_LICENCE = (
    "Check whether the people in the videos have agreed that weights trained on them are shared, and for which use."
)
DEMO_LICENCE = (
    "The training data are rendered by the project, so the licence of the project (MIT) holds for the weights."
)

CARD = """\
---
library_name: pytorch
license: {licence_id}
tags: [affect, valence-arousal, siamese-network, mt-clar]
---

# MT-CLAR trained on {dataset}

A Siamese network that compares two faces: whether their expressions are similar, and how far apart their valence and
arousal are. With it, MT-CLAR labels all frames of a video from a few labelled frames. This file was written by
`mtclar.py --export`.

## Use

In a clone of the project:

```bash
python fsl_mtclar.py --checkpoint <this folder> --video clip.mp4 --labels clip_labels.csv
```

```python
from models.mtclar import MTCLAR

model = MTCLAR.from_pretrained("<this folder>")  # images (B, 3, {image_size}, {image_size}), RGB in [0, 1]
```

## Data

{data_set}. Labels are in [-1, 1]; scale of the data set: {label_scale}.{earlier}

{split_table}

No person is in two parts{unnamed}. SHA-256 of the split: `{split_sha256}`.

## Training

```bash
{command}
```

## Scores

On {pairs} pairs of test images, by the command above. Differences of valence and arousal:

```
{scores}
```

Accuracy of similarity: {similarity:.3f}. {calibration}

## Limits

- The scores hold for people and images like those of the test set. Other cameras, ages, cultures or poses may give
  larger errors.
- Valence and arousal are impressions that observers have of a face, not what a person feels.
- Not for decisions about people, such as hiring, policing, health or education.

## Licence

{licence}
"""


def model_card(
    settings: MtclarTrainingSettings,
    splits: Mapping[str, Any],
    scores: Mapping[str, float],
    calibration: Mapping[str, Any] | None,
    trainings: Sequence[Mapping[str, Any]],
) -> str:
    """Return the model card of a run as Markdown.

    Args:
        settings: the settings that the network was trained with.
        splits: content of splits.json.
        scores: content of scores.json.
        calibration: content of the calibration; None: there is none.
        trainings: descriptions of all trainings of the network, the latest first, see `utils.runs.trainings`.
    """
    licence_id, licence = _licence(trainings)
    earlier = ", ".join(training["dataset"] for training in trainings[:0:-1])
    people = splits["people"]
    return CARD.format(
        licence_id=licence_id,
        licence=licence,
        dataset=settings.dataset,
        image_size=settings.data.image_size,
        data_set=DATA_SETS[settings.dataset][0].upper() + DATA_SETS[settings.dataset][1:],
        label_scale=LABEL_SCALES[settings.dataset],
        earlier=f" The weights had been trained before, on: {earlier}." if earlier else "",
        split_table=_split_table(splits["images"], people),
        unnamed="" if people else ", as far as is known: the data set does not name the people",
        split_sha256=splits["sha256"],
        command=as_command(settings, "mtclar.py"),
        pairs=settings.pairs.test,
        scores=delta_table(dict(scores)),
        similarity=scores["similarity_accuracy"],
        calibration=(
            f"Intervals of fused labels are calibrated on {calibration['clips']} validation clips."
            if calibration
            else "The network is not calibrated, so intervals of fused labels are not reliable."
        ),
    )


def _split_table(images: Mapping[str, int], people: Mapping[str, int] | None) -> str:
    rows = [f"| {part} | {count} | {people[part] if people else 'unknown'} |" for part, count in images.items()]
    return "\n".join(["| part | images | people |", "|---|---|---|", *rows])


def _licence(trainings: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the identifier of the licence, and the text on it: weights inherit from all of their trainings."""
    from_emonet = any(training["emonet"] for training in trainings)
    # A checkpoint lists the trainings of the network that it started from, unless that was a published one.
    from_published = bool(trainings[-1].get("init"))
    datasets = {training["dataset"] for training in trainings}
    reasons = {
        EMONET_LICENCE: from_emonet,
        PUBLISHED_LICENCE: from_published,
        VIDEOS_LICENCE: "videos" in datasets,
        DATA_LICENCE: bool(datasets - {"demo", "videos"}),
    }
    text = " ".join(reason for reason, applies in reasons.items() if applies)
    if not text:
        return "mit", DEMO_LICENCE
    return "cc-by-nc-nd-4.0" if from_emonet else "other", text
