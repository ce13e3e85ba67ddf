"""The model card of an exported network, written from the files of its run."""

from collections.abc import Mapping
from typing import Any

from utils.config.command_line import as_command
from utils.config.mtclar import MtclarTrainingSettings
from utils.training.report import delta_table

LABEL_SCALES = {
    "demo": "numbers in [-1, 1], as rendered",
    "afewva": "whole numbers from -10 to 10, divided by 10",
    "affectnet": "numbers in [-1, 1], as published",
}
"""Data set → its own label scale, and how it becomes [-1, 1]."""
DATA_SETS = {
    "demo": "rendered faces that this project draws; no real person",
    "afewva": "AFEW-VA: faces from films, with valence and arousal of each frame",
    "affectnet": "AffectNet: photographs from the internet",
}
EMONET_LICENCE = (
    "The weights started from the published weights of EmoNet, whose licence is CC BY-NC-ND 4.0, and inherit it: no "
    "commercial use, and no distribution of adapted weights without permission of the authors of EmoNet."
)
DATA_LICENCE = (
    "The data set has an agreement of its own, which you accepted to obtain it. Check whether it allows weights that "
    "were trained on it to be shared, and for which use."
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

{data_set}. Labels are in [-1, 1]; scale of the data set: {label_scale}.

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
) -> str:
    """Return the model card of a run as Markdown.

    Args:
        settings: the settings that the network was trained with.
        splits: content of splits.json.
        scores: content of scores.json.
        calibration: content of the calibration; None: there is none.
    """
    licence_id, licence = _licence(settings)
    people = splits["people"]
    return CARD.format(
        licence_id=licence_id,
        licence=licence,
        dataset=settings.dataset,
        image_size=settings.data.image_size,
        data_set=DATA_SETS[settings.dataset][0].upper() + DATA_SETS[settings.dataset][1:],
        label_scale=LABEL_SCALES[settings.dataset],
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


def _licence(settings: MtclarTrainingSettings) -> tuple[str, str]:
    """Return the identifier of the licence, and the text on it."""
    data_licence = DEMO_LICENCE if settings.dataset == "demo" else DATA_LICENCE
    if settings.model.emonet:
        return "cc-by-nc-nd-4.0", EMONET_LICENCE if settings.dataset == "demo" else f"{EMONET_LICENCE} {data_licence}"
    return ("mit" if settings.dataset == "demo" else "other"), data_licence
