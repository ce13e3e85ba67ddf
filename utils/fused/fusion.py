"""Fused labels: how far to trust the network's view of a clip, learnt once on people that it was not trained on.

A clip's *view* is what the network alone makes of it: how far each frame lies above the others, an axis a column. The
view is the evidence of `smoother`, whose few parameters are fitted here to the validation clips, so that the true
labels of the frames between a clip's support frames become as likely as can be. A network without value leaves a large
noise, and the labels then follow time alone. The widths of the intervals are those that hold 90 % of the frames of
clips left out of the fit: cross-conformal, over all frames of all clips and of several support-sets.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.annotations import AXES
from utils.checkpoint import digest
from utils.errors import CheckpointError
from utils.files import write_text
from utils.fused.smoother import EXACT, LEVEL, Posterior, Support, TraceModel, liveliness, smooth_rate
from utils.fused.trace import Trace
from utils.support_set import every_n, uniform_k

FILE = "fusion.json"
FORMAT = 2  # raise it whenever the same parameters would give other labels
COVERAGE = 0.90
NORMAL = 1.6449  # standard deviations on each side that hold COVERAGE of a normal distribution
NARROWEST = NORMAL / 2  # no fit is so good that its intervals may be narrower than this
FOLDS = 2  # of clips, for the widths
PIECE = 240  # frames; longer validation clips are fitted in pieces
SUPPORTS = ((every_n, 20), (every_n, 40), (uniform_k, 1), (uniform_k, 3), (uniform_k, 6), (uniform_k, 12))
START = TraceModel(wander=0.05, bend=0.7, bend_seconds=1.1, liveliness=0.5, drift=0.1, drift_seconds=0.3, offset=0.3,
                   noise=0.1, residual=0.03)  # fmt: skip
BLIND = START._replace(bend=0.5, liveliness=1e-3, noise=1e3)  # moves alike everywhere, and sees nothing
PULL = 1e-3  # towards START, in nats a frame and squared log-ratio: what few clips cannot tell stays there
LEAST, MOST = 1e-3, TraceModel(*[10.0] * 3, 2.0, *[10.0] * 5)  # of each parameter; liveliness is an exponent
JITTER = 1e-6  # of the mean variance: keeps the dense matrices positive definite


class Clip(NamedTuple):
    """A clip to fit to."""

    times: np.ndarray
    """(N,) seconds, ascending."""
    view: np.ndarray
    """(N, 2): what the network says of valence and arousal; see `labelling.view_of`."""
    labels: np.ndarray
    """(N, 2) true valence and arousal; NaN = not labelled."""


class Fusion(NamedTuple):
    """What fitting gives, an entry an axis."""

    models: tuple[TraceModel, TraceModel]
    blind: tuple[TraceModel, TraceModel]
    """Of faces that the network misreads: their views say nothing, and their labels move as most do."""
    widths: tuple[float, float]
    """Standard deviations on each side of an interval that holds 90 % of the true labels."""
    clips: int
    """How many it was fitted to; 0: not fitted, so the intervals are not calibrated."""
    source: str = ""
    """The data that it was fitted to."""

    def posteriors(self, times: np.ndarray, view: np.ndarray, supports: list[Support]) -> list[Trace]:
        """A clip's traces of valence and arousal; times (N,) in seconds, view (N, 2), a Support an axis."""
        return [
            traced(model, blind, times, evidence, support)
            for model, blind, evidence, support in zip(self.models, self.blind, view.T, supports, strict=True)
        ]

    def margins(self, posteriors: list[Trace]) -> np.ndarray:
        """(N, 2): half the widths of the 90 % intervals of the true labels of a clip's frames."""
        pairs = zip(self.widths, posteriors, strict=True)
        return np.stack([width * np.sqrt(posterior.spread) for width, posterior in pairs], 1)


def traced(model: TraceModel, blind: TraceModel, times: np.ndarray, evidence: np.ndarray, support: Support) -> Trace:
    """One axis of a clip; times (N,) in seconds, ascending, evidence (N,)."""
    return Trace(model, support, *(partial(Posterior, one, times, evidence) for one in (model, blind)))


UNFITTED = Fusion((START, START), (BLIND, BLIND), (NORMAL, NORMAL), 0)


def fit_fusion(clips: list[Clip]) -> Fusion:
    """The parameters and interval widths for a network, from its views of clips whose true labels are known."""
    fitted = [_fit_axis(clips, axis) for axis in range(len(AXES))]
    models, blind, widths = zip(*fitted, strict=True)
    return Fusion(models, blind, widths, len(clips))


def read_fusion(checkpoint: Path) -> Fusion | None:
    """What was fitted for these weights, from the file beside the checkpoint; None where it is of others.

    Raises CheckpointError for a file that is none of ours.
    """
    path = checkpoint.parent / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["weights"], content["format"]) != (digest(checkpoint), FORMAT):
            return None
        models, blind = (tuple(TraceModel(**content[axis][name]) for axis in AXES) for name in ("model", "blind"))
        widths = tuple(float(content[axis]["width"]) for axis in AXES)
        if not all(np.isfinite(value) and value > 0 for model in (*models, *blind) for value in (*model, *widths)):
            raise ValueError("its numbers must be positive")
        return Fusion(models, blind, widths, int(content["clips"]), str(content["source"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be used ({error}); delete it, and it is fitted again") from None


def save_fusion(checkpoint: Path, fusion: Fusion) -> None:
    """Writes what `read_fusion` reads."""
    axes = {
        axis: {"model": model._asdict(), "blind": blind._asdict(), "width": width}
        for axis, model, blind, width in zip(AXES, fusion.models, fusion.blind, fusion.widths, strict=True)
    }
    content = {"weights": digest(checkpoint), "format": FORMAT, "source": fusion.source, "clips": fusion.clips, **axes}
    write_text(checkpoint.parent / FILE, json.dumps(content, indent=2) + "\n")


# Fitting ----------------------------------------------------------------------------------------------------------


class _Task(NamedTuple):
    """A clip with one of SUPPORTS, as tensors of one axis; `open`: frames to predict."""

    distances: Tensor
    earlier: Tensor
    times: np.ndarray
    lively: Tensor
    view: Tensor
    labels: Tensor
    support: Tensor
    open: Tensor


def _fit_axis(clips: list[Clip], axis: int) -> tuple[TraceModel, TraceModel, float]:
    """Reading and blind parameters from all clips; the width from errors on clips that those were not fitted to."""
    tasks = [list(_tasks(clip, axis)) for clip in clips]
    model, blind = _fit_model(sum(tasks, []), START), _fit_blind(clips, axis)
    ratios = []
    for part in range(FOLDS):
        others = sum((found for number, found in enumerate(tasks) if number % FOLDS != part), [])
        apart = _fit_model(others, model)
        ratios += [_error_ratios(apart, blind, task) for found in tasks[part::FOLDS] for task in found]
    width = float(np.quantile(np.concatenate(ratios), COVERAGE)) if ratios else NORMAL
    return model, blind, max(width, NARROWEST)


def _fit_blind(clips: list[Clip], axis: int) -> TraceModel:
    """BLIND with spread and speed of the clips' labels: slopes of a Matérn-3/2 process are √3 · spread / reach."""
    moves, slopes = [], []
    for times, labels in ((clip.times, clip.labels[:, axis]) for clip in clips):
        known = np.isfinite(labels)
        if known.sum() > 1:
            moves.append(labels[known] - labels[known].mean())
            slopes.append(smooth_rate(times[known], labels[known]))
    spread, slope = (np.sqrt(np.mean(np.square(np.concatenate(parts)))) if parts else 0 for parts in (moves, slopes))
    if min(spread, slope) < LEAST:
        return BLIND
    return BLIND._replace(bend=float(spread), bend_seconds=float(np.sqrt(3) * spread / slope))



def _fit_model(tasks: list["_Task"], start: TraceModel) -> TraceModel:
    """Makes the true labels of the open frames likely, by gradient; START where nothing can be fitted."""
    first, pulled, most = (torch.tensor(model, dtype=torch.float64).log() for model in (start, START, MOST))
    least, logs = torch.full_like(first, np.log(LEAST)), first.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([logs], max_iter=40, line_search_fn="strong_wolfe")
    frames = max(1, sum(len(task.open) for task in tasks))

    def closure() -> Tensor:
        optimizer.zero_grad()
        model = TraceModel(*logs.clamp(least, most).exp())
        loss = sum(_surprise(model, task) for task in tasks) / frames + PULL * (logs - pulled).square().sum()
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except torch.linalg.LinAlgError:  # of clips that say nothing, or of parameters that are no numbers any more
        return START
    found = logs.detach().clamp(least, most).exp()
    return TraceModel(*found.tolist()) if found.isfinite().all() else START


def _tasks(clip: Clip, axis: int) -> Iterator[_Task]:
    known = np.flatnonzero(np.isfinite(clip.labels[:, axis]))
    for rows in np.array_split(known, -(-len(known) // PIECE) or 1):
        for choose, amount in SUPPORTS:
            support = choose(rows, amount, None)
            if len(support) < len(rows):
                yield _task(clip, rows, support, axis)


def _task(clip: Clip, rows: np.ndarray, support: np.ndarray, axis: int) -> _Task:
    times = torch.from_numpy(clip.times[rows] - clip.times[rows[0]])
    is_open = np.setdiff1d(np.arange(len(rows)), support)
    return _Task(
        (times[:, None] - times).abs(), torch.minimum(times[:, None], times),
        times.numpy(), torch.from_numpy(liveliness(clip.times[rows], clip.view[rows, axis])),
        *(torch.from_numpy(values[rows, axis].astype(np.float64)) for values in (clip.view, clip.labels)),
        torch.from_numpy(support), torch.from_numpy(is_open),
    )  # fmt: skip


def _surprise(model: TraceModel, task: _Task) -> Tensor:
    """Negative log-density of the true labels of the open frames, given view and support; but for a constant."""
    mean, variance = _predict(model, task)
    error = task.labels[task.open] - mean
    return (error.square() / variance + variance.log()).sum() / 2


def _error_ratios(model: TraceModel, blind: TraceModel, task: _Task) -> np.ndarray:
    """|error| / standard deviation of the open frames, as labelling has them."""
    view, labels, places = task.view.numpy(), task.labels.numpy(), task.support.numpy()
    trace = traced(model, blind, task.times, view, Support(places, labels[places], np.zeros(len(places))))
    return (np.abs(trace.mean - labels) / np.sqrt(trace.spread))[task.open.numpy()]


def _predict(model: TraceModel, task: _Task) -> tuple[Tensor, Tensor]:
    """Mean and variance of the true labels of the open frames, by the dense form of `smoother`'s process."""
    rate = np.sqrt(3) * task.distances / model.bend_seconds
    amplitude = model.bend * task.lively**model.liveliness
    bend = torch.outer(amplitude, amplitude) * (1 + rate) * torch.exp(-rate)
    label = LEVEL**2 + model.wander**2 * task.earlier + bend
    drift = model.drift**2 * torch.exp(-task.distances / model.drift_seconds)
    eye = torch.eye(len(label), dtype=torch.float64)
    of_view, of_support = label + drift + model.offset**2 + model.noise**2 * eye, label[task.support]
    inside = of_support[:, task.support] + EXACT**2 * eye[: len(task.support), : len(task.support)]
    whole = torch.cat((torch.cat((of_view, of_support.T), 1), torch.cat((of_support, inside), 1)))
    whole = whole + JITTER * whole.diagonal().mean() * torch.eye(len(whole), dtype=torch.float64)
    factor = torch.linalg.cholesky(whole)
    shared = torch.cat((label, of_support))[:, task.open]
    half = torch.linalg.solve_triangular(factor, shared, upper=False)
    seen = torch.cat((task.view, task.labels[task.support]))[:, None]
    mean = half.T @ torch.linalg.solve_triangular(factor, seen, upper=False)
    variance = label.diagonal()[task.open] - half.square().sum(0)
    return mean.squeeze(1), variance.clamp(min=0) + model.residual**2
