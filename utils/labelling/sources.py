"""The sources of evidence: the Siamese network, networks that estimate valence and arousal, tables, and raters.

To add a kind of source, write a class like `TableSource`, load it in `load_estimators`, and compute its evidence in
`clip_evidence`, for data sets, and in `utils.videos.face_video`, for videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from datasets.annotations.estimates import Estimates, read_estimates, without_frozen
from models.emonet import IMAGE_SIZE
from models.estimator import AffectEstimator
from models.mtclar import MTCLAR
from utils.base.errors import CheckpointError, SettingsError
from utils.compute.data import CropReader
from utils.compute.embedding_cache import EmbeddingCache, encode_clips
from utils.compute.runtime import Runtime
from utils.config.labelling import MTCLAR_EVIDENCE, LabelSettings
from utils.config.manifest import Input
from utils.config.supervised import HEAD
from utils.labelling.anchors import BASELINES, RULES
from utils.labelling.raters.ratings import RatingSource, load_ratings
from utils.runs.checkpoint import (
    SupervisedCheckpoint,
    load_emonet,
    load_mtclar,
    load_supervised,
    read_checkpoint,
    read_kind,
)
from utils.runs.manifest import path_input
from utils.runs.trained import log_network, refuse_other_splits, refuse_trained_people
from utils.runs.trainings import trainings_of

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class SiameseSource:
    """The Siamese network of MT-CLAR. Its evidence is relative to the clip.

    Attributes:
        model: the network.
        checkpoint: file of its weights.
        settings: settings that it was trained with, as far as they are known.
    """

    model: MTCLAR
    checkpoint: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: ClassVar[str] = MTCLAR_EVIDENCE
    relative: ClassVar[bool] = True

    @property
    def trainings(self) -> Sequence[Mapping[str, Any]]:
        """Descriptions of its trainings, see `utils.runs.trainings`."""
        return trainings_of(self.settings) if self.settings else ()

    @property
    def inputs(self) -> list[Input]:
        """Its file, for the manifest."""
        return [path_input("network", self.checkpoint)]


@dataclass(frozen=True)
class NetworkSource:
    """A network that estimates valence and arousal of each face: EmoNet, or a supervised head.

    Attributes:
        name: name of its row in the report.
        network: the network, on the runtime's device.
        checkpoint: file of its weights.
        image_size: side in pixels of the images that it takes.
        cache: its estimates on disk.
        trainings: descriptions of its trainings, see `utils.runs.trainings`; empty for published EmoNet.
    """

    name: str
    network: AffectEstimator
    checkpoint: Path
    image_size: int
    cache: EmbeddingCache
    trainings: Sequence[Mapping[str, Any]] = ()
    relative: ClassVar[bool] = False

    @property
    def inputs(self) -> list[Input]:
        """Its file, for the manifest."""
        return [path_input("evidence", self.checkpoint)]


@dataclass(frozen=True)
class TableSource:
    """Estimates of another tool.

    Attributes:
        name: name of its row in the report.
        estimates: the table.
    """

    name: str
    estimates: Estimates
    checkpoint: ClassVar[None] = None
    relative: ClassVar[bool] = False

    @property
    def inputs(self) -> list[Input]:
        """Its file, for the manifest."""
        return [path_input("evidence", self.estimates.path)]


Estimator = NetworkSource | TableSource
EvidenceSource = SiameseSource | Estimator | RatingSource
"""Every source has a `name`; `checkpoint`, the file of its weights, None for a table or a rater; `relative`, whether
its evidence is relative to the clip; and `inputs`, its files for the manifest."""


class EvidenceSources(NamedTuple):
    """The sources of evidence: what fused labels follow between labelled frames.

    Attributes:
        siamese: the Siamese network; None: it is not used.
        estimators: networks and tables that estimate valence and arousal of each frame.
        raters: people who rated the videos continuously.
    """

    siamese: SiameseSource | None = None
    estimators: tuple[Estimator, ...] = ()
    raters: tuple[RatingSource, ...] = ()

    @property
    def all(self) -> list[EvidenceSource]:
        """All sources, in the order of their columns in `EncodedClip.evidence`."""
        return [*([self.siamese] if self.siamese else []), *self.estimators, *self.raters]

    @property
    def model(self) -> MTCLAR | None:
        """The Siamese network; None: it is not used."""
        return self.siamese.model if self.siamese else None

    @property
    def names(self) -> list[str]:
        """The name of each source."""
        return [source.name for source in self.all]

    @property
    def inputs(self) -> list[Input]:
        """The files of all sources, for the manifest."""
        return [source_input for source in self.all for source_input in source.inputs]

    def refuse_trained_people(self, settings: LabelSettings, test: pd.DataFrame) -> None:
        """Raise DataError if a network was trained on people of a test set in the user's own videos."""
        for source in self.all:
            if isinstance(source, SiameseSource | NetworkSource):
                refuse_trained_people(settings, test, source.trainings, source.checkpoint)

    @property
    def only_checkpoint(self) -> Path | None:
        """The file of the only network; None: there are several sources, or a table or a rater."""
        source, *others = self.all
        return None if others else source.checkpoint

    def only_network(self) -> SiameseSource | NetworkSource:
        """The only source. Raises SettingsError if there are several, or it is no network."""
        source, *others = self.all
        if others or not isinstance(source, SiameseSource | NetworkSource):
            raise SettingsError("--calibrate fits a single network; name one network, and nothing else, in evidence")
        return source


def load_siamese(checkpoint: Path) -> SiameseSource:
    """Load the Siamese network on the CPU, and log which one it is.

    Raises:
        CheckpointError: the file cannot be read, or its network cannot predict differences.
    """
    content = read_checkpoint(checkpoint, "mtclar")
    log_network(checkpoint, content)
    model, settings = load_mtclar(checkpoint, content)
    if not model.predicts_differences:
        raise CheckpointError(
            f"{checkpoint}: model.fusion {model.fusion} is symmetric, so this network cannot predict differences of "
            "valence and arousal, and no rule can label with it; train one with model.fusion concat"
        )
    return SiameseSource(model, checkpoint, settings)


def find_head(evidence_files: list[Path]) -> tuple[Path, dict[str, Any]] | None:
    """The first supervised head that the setting `evidence` names, with its settings; None: there is none.

    Raises:
        CheckpointError: a file of weights cannot be read.
    """
    for path in evidence_files:
        if path.suffix.lower() not in TABLE_SUFFIXES and read_kind(path) == "supervised":
            return path, load_head(path).settings
    return None


def load_sources(siamese: SiameseSource | None, settings: LabelSettings, runtime: Runtime) -> EvidenceSources:
    """All sources of evidence that the settings name; moves the networks to the runtime's device.

    Args:
        siamese: as `load_siamese` returns it; None: it is not used.
        settings: name the other sources. Errors are raised as by `load_estimators` and `load_ratings`.
        runtime: device and precision.
    """
    if siamese:
        siamese = replace(siamese, model=runtime.to_device(siamese.model))
    return EvidenceSources(siamese, load_estimators(settings, runtime), load_ratings(settings))


def load_estimators(settings: LabelSettings, runtime: Runtime) -> tuple[Estimator, ...]:
    """Load all files that the setting `evidence` names.

    Raises:
        CheckpointError: a file holds neither EmoNet nor a supervised head for valence and arousal.
        DataError: a table cannot be read.
        SettingsError: a network was trained on people whose clips are to be labelled.
    """
    estimators: dict[str, Estimator] = {}
    for path in settings.evidence_files:
        estimator: Estimator
        if path.suffix.lower() in TABLE_SUFFIXES:
            estimator = TableSource(path.stem, read_estimates(path))
        else:
            estimator = _load_network(path, settings, runtime)
        # The name is that of a row in the report, beside the rules and baselines.
        if estimator.name in {*RULES, *BASELINES, *estimators}:
            estimator = replace(estimator, name=str(path))
        estimators[estimator.name] = estimator
    return tuple(estimators.values())


def _load_network(path: Path, settings: LabelSettings, runtime: Runtime) -> NetworkSource:
    kind = read_kind(path)
    if kind == "mtclar":
        raise CheckpointError(f"{path}: holds MT-CLAR; name it by --checkpoint, and add {MTCLAR_EVIDENCE} to evidence")
    trainings: list[Mapping[str, Any]] = []
    if kind == "supervised":
        name, head = HEAD, load_head(path)
        for trained_with in filter(None, (head.settings, head.encoder_settings)):
            trainings += trainings_of(trained_with)
        if not (settings.video or settings.annotate or settings.calibrate):
            refuse_other_splits(settings, trainings, path)
        estimator, image_size = AffectEstimator(head.model), head.settings["data"]["image_size"]
    else:
        name, estimator, image_size = "EmoNet", AffectEstimator(load_emonet(path)), IMAGE_SIZE
    cache = EmbeddingCache.of_network(path, settings.runs, runtime, "estimates")
    return NetworkSource(name, runtime.to_device(estimator), path, image_size, cache, trainings)


def load_head(path: Path) -> SupervisedCheckpoint:
    """Load a supervised head for valence and arousal. Raises CheckpointError."""
    checkpoint = load_supervised(path)
    if checkpoint.settings["task"] != "valence_arousal":
        raise CheckpointError(f"{path}: was trained for expressions; name a head for valence and arousal")
    return checkpoint


def clip_evidence(
    estimators: tuple[Estimator, ...],
    clips: list[tuple[str, pd.DataFrame, np.ndarray]],
    crops: CropReader,
    workers: int,
) -> list[np.ndarray]:
    """Evidence of clips of a data set by estimators.

    Args:
        estimators: E estimators; at least one.
        clips: name, frame table and times in seconds of each clip.
        crops: gives the settings of the crops.
        workers: number of worker processes that load images.

    Returns:
        (N, E, 2) evidence of each clip's N frames; NaN = no value.
    """
    by_estimator = []
    for estimator in estimators:
        if isinstance(estimator, TableSource):
            by_estimator.append(
                [
                    without_frozen(estimator.estimates.of_clip(name, table["frame"].to_numpy()), times)
                    for name, table, times in clips
                ]
            )
        else:
            images = [crops.with_image_size(estimator.image_size)(table) for _, table, _ in clips]
            estimates = encode_clips(estimator.network, images, estimator.cache, workers)
            by_estimator.append([values.cpu().numpy().astype(np.float64) for values in estimates])
    return [np.stack(values, 1) for values in zip(*by_estimator, strict=True)]
