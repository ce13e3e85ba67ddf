"""The sources of evidence: the Siamese network, networks that estimate valence and arousal, tables, and raters.

To add a kind of source, write a class with a name, load it in `load_absolute_sources`, and compute its evidence in
`clip_evidence`, for data sets, and in `utils.videos.face_video`, for videos.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from utils.labelling.anchors import BASELINES, RULES
from utils.labelling.ratings import RatingSource
from utils.runs.checkpoint import SupervisedCheckpoint, load_emonet, load_mtclar, load_supervised, read_kind
from utils.runs.manifest import path_input
from utils.runs.trained import log_network, refuse_known_splits, refuse_seen_people
from utils.runs.trainings import trainings_of

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")


class NetworkSource(NamedTuple):
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

    @property
    def path(self) -> Path:
        """The file of the source."""
        return self.checkpoint


class TableSource(NamedTuple):
    """Estimates of another tool.

    Attributes:
        name: name of its row in the report.
        estimates: the table.
    """

    name: str
    estimates: Estimates

    @property
    def path(self) -> Path:
        """The file of the source."""
        return self.estimates.path


AbsoluteSource = NetworkSource | TableSource


class EvidenceSources(NamedTuple):
    """What fused labels follow between labelled frames.

    Attributes:
        model: the Siamese network, on the runtime's device; None: it is not used.
        checkpoint: file of its weights; None: it is not used.
        absolute: networks and tables whose evidence is absolute.
        trained: settings that the Siamese network was trained with; None: it is not used.
        ratings: people who rated the videos continuously; they are the last sources.
    """

    model: MTCLAR | None
    checkpoint: Path | None
    absolute: tuple[AbsoluteSource, ...] = ()
    trained: Mapping[str, Any] | None = None
    ratings: tuple[RatingSource, ...] = ()

    def trainings(self) -> dict[Path, Sequence[Mapping[str, Any]]]:
        """Checkpoint → the trainings of its network, as far as they are known."""
        own = {self.checkpoint: trainings_of(self.trained)} if self.checkpoint and self.trained else {}
        return own | {one.checkpoint: one.trainings for one in self.absolute if isinstance(one, NetworkSource)}

    def refuse_seen_people(self, settings: LabelSettings, test: pd.DataFrame) -> None:
        """Raises DataError if a network was trained on people of a test set in the user's own videos."""
        for path, trainings in self.trainings().items():
            refuse_seen_people(settings, test, trainings, path)

    def only_network(self) -> Path:
        """The checkpoint of the only source. Raises SettingsError if there are several, or it is a table."""
        checkpoint, *others = self.checkpoints
        if others or checkpoint is None:
            raise SettingsError("--calibrate fits a single network; name one network, and nothing else, in evidence")
        return checkpoint

    @property
    def relative(self) -> tuple[bool, ...]:
        """For each source, whether its evidence is relative to the clip. The Siamese network comes first."""
        return (*([True] if self.model else []), *([False] * (len(self.absolute) + len(self.ratings))))

    @property
    def checkpoints(self) -> list[Path | None]:
        """For each source, the file of its weights; None for a table and a rater."""
        own = [self.checkpoint] if self.model else []
        absolute = [one.checkpoint if isinstance(one, NetworkSource) else None for one in self.absolute]
        return [*own, *absolute, *([None] * len(self.ratings))]

    def inputs(self) -> list[Input]:
        """The files of the sources, for the manifest."""
        own = [path_input("network", self.checkpoint)] if self.checkpoint else []
        own += [path_input("evidence", one.path) for one in self.absolute]
        return own + [path_input("rating", path) for one in self.ratings for path in one.paths]

    @property
    def names(self) -> list[str]:
        """The name of each source."""
        own = [MTCLAR_EVIDENCE] if self.model else []
        return [*own, *(one.name for one in self.absolute), *(one.name for one in self.ratings)]


Trained = tuple[Path, dict[str, Any]]
"""A checkpoint, and the settings that its network was trained with."""


def load_siamese(checkpoint: Path) -> tuple[MTCLAR, Trained]:
    """Loads the Siamese network, and logs which one it is.

    Raises:
        CheckpointError: the file cannot be read, or its network cannot predict differences.
    """
    log_network(checkpoint, "mtclar")
    model, settings = load_mtclar(checkpoint)
    if not model.predicts_differences:
        raise CheckpointError(
            f"{checkpoint}: model.fusion {model.fusion} is symmetric, so this network cannot predict differences of "
            "valence and arousal, and no rule can label with it; train one with model.fusion concat"
        )
    return model, (checkpoint, settings)


def trained_settings(evidence_files: list[Path]) -> Trained | None:
    """The first supervised head that the setting `evidence` names, with its settings; None: there is none.

    Raises:
        CheckpointError: a file of weights cannot be read.
    """
    for path in evidence_files:
        if path.suffix.lower() not in TABLE_SUFFIXES and read_kind(path) == "supervised":
            return path, load_head(path).settings
    return None


def load_absolute_sources(settings: LabelSettings, runtime: Runtime) -> tuple[AbsoluteSource, ...]:
    """Loads all files that the setting `evidence` names.

    Raises:
        CheckpointError: a file holds neither EmoNet nor a supervised head for valence and arousal.
        DataError: a table cannot be read.
        SettingsError: a network was trained on people whose clips are to be labelled.
    """
    sources: list[AbsoluteSource] = []
    for path in settings.evidence_files:
        source: AbsoluteSource
        if path.suffix.lower() in TABLE_SUFFIXES:
            source = TableSource(path.stem, read_estimates(path))
        else:
            source = _load_network(path, settings, runtime)
        # The name is that of a row in the report, beside the rules and baselines.
        taken = {*RULES, *BASELINES, *(one.name for one in sources)}
        sources.append(source._replace(name=str(path)) if source.name in taken else source)
    return tuple(sources)


def _load_network(path: Path, settings: LabelSettings, runtime: Runtime) -> NetworkSource:
    kind = read_kind(path)
    if kind == "mtclar":
        raise CheckpointError(f"{path}: holds MT-CLAR; name it by --checkpoint, and add {MTCLAR_EVIDENCE} to evidence")
    trainings: list[Mapping[str, Any]] = []
    if kind == "supervised":
        name, head = "MT-CLAR + SL", load_head(path)
        for one in filter(None, (head.settings, head.encoder_settings)):
            trainings += trainings_of(one)
        if not (settings.video or settings.annotate or settings.calibrate):
            refuse_known_splits(settings, trainings, path)
        estimator, image_size = AffectEstimator(head.model), head.settings["data"]["image_size"]
    else:
        name, estimator, image_size = "EmoNet", AffectEstimator(load_emonet(path)), IMAGE_SIZE
    cache = EmbeddingCache.of_network(path, settings.runs, runtime, "estimates")
    return NetworkSource(name, runtime.to_device(estimator), path, image_size, cache, trainings)


def load_head(path: Path) -> SupervisedCheckpoint:
    """Loads a supervised head for valence and arousal. Raises CheckpointError."""
    checkpoint = load_supervised(path)
    if checkpoint.settings["task"] != "valence_arousal":
        raise CheckpointError(f"{path}: was trained for expressions; name a head for valence and arousal")
    return checkpoint


def clip_evidence(
    sources: tuple[AbsoluteSource, ...],
    clips: list[tuple[str, pd.DataFrame, np.ndarray]],
    crops: CropReader,
    workers: int,
) -> list[np.ndarray]:
    """Evidence of clips of a data set by absolute sources.

    Args:
        sources: E sources; at least one.
        clips: name, frame table and times in seconds of each clip.
        crops: gives the settings of the crops.
        workers: number of worker processes that load images.

    Returns:
        (N, E, 2) evidence of each clip's N frames; NaN = no value.
    """
    by_source = []
    for source in sources:
        if isinstance(source, TableSource):
            by_source.append(
                [
                    without_frozen(source.estimates.of_clip(name, table["frame"].to_numpy()), times)
                    for name, table, times in clips
                ]
            )
        else:
            images = [crops.with_image_size(source.image_size)(table) for _, table, _ in clips]
            estimates = encode_clips(source.network, images, source.cache, workers)
            by_source.append([one.cpu().numpy().astype(np.float64) for one in estimates])
    return [np.stack(of_clip, 1) for of_clip in zip(*by_source, strict=True)]
